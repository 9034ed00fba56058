"""The search for what must not be logged finds it, wherever in a line it stands, and nothing else."""

from __future__ import annotations

import pytest

from tests.faults.logs import kinds_in

KNOWN = {
    "code": {"FAULT-2345-6789", "FAULT23456789"},
    "player": {"p12"},
    "address": {"p12@example.com", "+35690000012", "35690000012", "7000000012"},
    "secret": {"0123456789abcdef"},
}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('{"event": "sent", "code": "FAULT-2345-6789"}', "code"),
        ("GET /v1/codes/FAULT23456789 HTTP/1.1", "code"),
        ("issue_codes({'player_id': 'p12', 'attributes': {}})", "player"),
        ("player=p12, channel=sms", "player"),
        ("RCPT TO:<p12@example.com>", "address"),
        ("To=%2B35690000012&Body=", "address"),
        ("chat_id=7000000012", "address"),
        ("redis://:0123456789abcdef@127.0.0.1:6399/0", "secret"),
    ],
)
def test_what_was_used_is_found(line: str, kind: str) -> None:
    assert kinds_in(f"before\n{line}\nafter", KNOWN) == [kind]


def test_other_words_are_not() -> None:
    text = '{"rows": 12, "queue": "issue", "id": "sp12", "at": "2026-11-24T10:00:00.700012Z", "ref": "p123"}'

    assert kinds_in(text, KNOWN) == []
