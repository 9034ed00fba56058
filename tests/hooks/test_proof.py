"""Proof: bearer, basic and Standard Webhooks signatures; several secrets while they rotate, and nothing else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from promocast import signing
from promocast.hooks.proof import proven
from promocast.model import MINUTE, SECOND
from promocast.settings import HookSettings
from tests.conftest import NOW

KEYS = [signing.new_webhook_secret(bytes([i]) * 32) for i in range(3)]
BODY = '{"amount": 5, "note": "café"}'.encode()


def settings(auth: str, *secrets: str) -> HookSettings:
    return HookSettings.model_validate({"preset": "fasttrack", "auth": auth, "secrets": list(secrets)})


def basic(text: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@pytest.mark.parametrize(
    ("authorization", "let_in"),
    [
        ("Bearer new", True),
        ("bearer old", True),
        ("Bearer older", False),
        ("Bearer ne", False),
        ("Bearer neww", False),
        ("Bearer ", False),
        ("Bearer", False),
        ("", False),
        ("new", False),
        ("Basic new", False),
        ("Bearer n\xe9w", False),
    ],
)
def test_a_bearer_token_is_one_of_the_secrets(authorization: str, let_in: bool) -> None:
    assert proven(settings("bearer", "new", "old"), {"authorization": authorization}, BODY, NOW) is let_in


def test_without_a_header_nobody_is_let_in() -> None:
    for each in (settings("bearer", "s"), settings("basic", "u:p"), settings("webhook", KEYS[0])):
        assert not proven(each, {}, BODY, NOW)


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        (basic("u:new"), True),
        (basic("u:old:with:colons"), True),
        (basic("u:né"), True),
        (basic("u:other"), False),
        (basic("v:new"), False),
        (basic(""), False),
        ({"authorization": "Basic %%%"}, False),
        ({"authorization": "Basic \xff"}, False),
        ({"authorization": "Bearer u:new"}, False),
    ],
)
def test_basic_is_one_of_the_names_with_its_password(headers: dict[str, str], let_in: bool) -> None:
    assert proven(settings("basic", "u:new", "u:old:with:colons", "u:né"), headers, BODY, NOW) is let_in


def signed(key: str, at: int = NOW, body: bytes = BODY) -> dict[str, str]:
    """By the reference library, as a sender does."""
    moment = datetime.fromtimestamp(at / SECOND, UTC)
    signature = Webhook(key).sign("msg_1", moment, body.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(at // SECOND), "webhook-signature": signature}


def test_a_signature_of_the_reference_library_with_any_of_the_secrets() -> None:
    rotating = settings("webhook", KEYS[0], KEYS[1])

    assert [proven(rotating, signed(key), BODY, NOW) for key in KEYS] == [True, True, False]


def test_one_of_several_signatures_is_enough() -> None:
    headers = signed(KEYS[2])
    headers["webhook-signature"] = f"v1a,x {headers['webhook-signature']} {signed(KEYS[0])['webhook-signature']}"

    assert proven(settings("webhook", KEYS[0]), headers, BODY, NOW)


@pytest.mark.parametrize(("off", "let_in"), [(0, True), (5 * MINUTE, True), (5 * MINUTE + SECOND, False)])
def test_a_signature_holds_for_five_minutes_either_way(off: int, let_in: bool) -> None:
    for at in (NOW - off, NOW + off):
        assert proven(settings("webhook", KEYS[0]), signed(KEYS[0], at), BODY, NOW) is let_in


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW // SECOND + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": f"{NOW // SECOND}.0"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,\xff"},
    ],
)
def test_what_was_signed_is_all_of_it(change: dict[str, str]) -> None:
    assert not proven(settings("webhook", KEYS[0]), signed(KEYS[0]) | change, BODY, NOW)
    assert not proven(settings("webhook", KEYS[0]), signed(KEYS[0]), BODY + b" ", NOW)
