"""Addresses as their networks know them, and what cannot be one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from promocast import addresses, jobs
from promocast.recipients import Recipient


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann.B+promo@Example.COM", "Ann.B+promo@example.com"),
        ("o'neil@example.com", "o'neil@example.com"),
        ("ann@mail.test", "ann@mail.test"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("änn@bücher.example", "änn@xn--bcher-kva.example"),
    ],
)
def test_a_mailbox_has_its_domain_as_dns_knows_it(text: str, mailbox: str) -> None:
    assert addresses.mailbox(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann..b@example.com",
        ".ann@example.com",
        "a b@example.com",
        "a@b@example.com",
        "ann@-example.com",
        "ann@example.com.",
        "ann@[127.0.0.1]",
        '"a b"@example.com',
        "Ann <ann@example.com>",
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com\n",
        "x" * 65 + "@example.com",
        "ann@" + "x" * 64 + ".com",
    ],
)
def test_what_is_no_mailbox(text: str) -> None:
    assert addresses.mailbox(text) is None


@pytest.mark.parametrize("text", ["+35699123456", "+356 9912-3456", " +356 (99) 12 34 56", "tel:+35699123456"])
def test_a_phone_number_is_one_in_any_spelling(text: str) -> None:
    assert addresses.phone_number(text) == "+35699123456"


@pytest.mark.parametrize("text", ["", "99123456", "0035699123456", "+999123", "+356991234567890", "+356", "ann"])
def test_what_is_no_phone_number(text: str) -> None:
    assert addresses.phone_number(text) is None


@pytest.mark.parametrize("text", ["1001", "-1001234567890", "@casino_news"])
def test_a_telegram_chat_is_a_number_or_a_public_name(text: str) -> None:
    assert addresses.telegram_chat(text) == text


@pytest.mark.parametrize("text", ["", "ann", "@", "1001 ", "+35699123456", "1001\n", "@no spaces"])
def test_what_is_no_telegram_chat(text: str) -> None:
    assert addresses.telegram_chat(text) is None


def ann(**given: Any) -> dict[str, Any]:
    return {"player_id": "ann", "addresses": given}


def test_a_recipient_is_kept_with_addresses_as_their_networks_know_them() -> None:
    read = Recipient.model_validate(ann(email="Ann@EXAMPLE.com", sms="+356 9912 3456", telegram=1001))

    kept = orjson.loads(read.stored())["addresses"]
    del kept["push"]

    assert kept == {"popup": "ann", "email": "Ann@example.com", "sms": "+35699123456", "telegram": "1001"}


def test_a_bad_address_is_warned_of_and_kept_as_it_came() -> None:
    """Its delivery is refused and recorded; the recipient's other channels are none the worse."""
    good, bad = ann(email="ann@example.com"), ann(email="ann", sms="99123456") | {"player_id": "bob"}

    job = jobs.read_issue_job({"request_id": "r", "campaign": "welcome", "recipients": [good, "?", bad]})

    assert [recipient.player_id for recipient in job.recipients] == ["ann", "bob"]
    assert [warned.as_json() for warned in job.warned] == [
        {"index": 2, "player_id": "bob", "channel": "email", "reason": "no_such_address"},
        {"index": 2, "player_id": "bob", "channel": "sms", "reason": "no_such_address"},
    ]
    kept = orjson.loads(job.recipients[1].stored())["addresses"]
    assert (kept["email"], kept["sms"]) == ("ann", "99123456")
