"""Journeys: what an event causes, and what stops it on the way."""

from __future__ import annotations

from typing import Any

import pytest

from promocast.campaign.journey import Cause, CodeFacts, Planned, dead, expiry, plan, withheld
from promocast.campaign.rule import Rule
from promocast.model import DAY, HOUR, MINUTE, Instant, rfc3339
from tests.conftest import NOW
from tests.unit.makers import campaign

JOURNEY = [
    {"on": "code.issued", "send": ["popup", "push"], "when_shown": "CODE_IS_SHOWN"},
    {"on": "client_action", "action": "CODE_IS_SHOWN", "call": "crm"},
    {"on": "client_action", "action": "CODE_IS_CLOSED", "send": ["sms"]},
    {"on": "code.issued", "after": "1h", "unless": ["code.shown"], "send": ["email"]},
    {"on": "code.redeemed", "call": "bonus-engine"},
]
EVERYWHERE = {"popup": 1, "email": 1, "push": 1, "telegram": 1, "sms": 1}


def planned(event: str, addresses: dict[str, int], action: str | None = None) -> list[Planned]:
    return list(plan(campaign(journey=JOURNEY), Cause(event, action), addresses))


def facts(**changes: Any) -> CodeFacts:
    """An issued code that nobody saw, good for an hour and for one redemption."""
    ordinary = {"shown_at": None, "revoked_at": None, "expires_at": NOW + HOUR, "redeemed": 0, "max_redemptions": 1}
    return CodeFacts(**ordinary | changes)


def test_an_event_causes_the_deliveries_of_its_rules_in_their_order() -> None:
    assert planned("code.issued", EVERYWHERE) == [
        Planned(rule=0, channel="popup", slot=0, after=0),
        Planned(rule=0, channel="push", slot=0, after=0),
        Planned(rule=3, channel="email", slot=0, after=HOUR),
    ]


def test_every_address_of_a_channel_gets_a_delivery_of_its_own() -> None:
    assert planned("code.issued", {"push": 3}) == [
        Planned(rule=0, channel="push", slot=slot, after=0) for slot in range(3)
    ]


def test_a_recipient_without_addresses_is_sent_nothing() -> None:
    assert planned("code.issued", {}) == []


def test_a_call_needs_no_address_of_the_recipient() -> None:
    assert planned("code.redeemed", {}) == [Planned(rule=4, channel="call", slot=0, after=0)]


@pytest.mark.parametrize(
    ("action", "rules"), [("CODE_IS_SHOWN", [1]), ("CODE_IS_CLOSED", [2]), ("code_is_shown", []), (None, [])]
)
def test_a_client_action_fires_only_the_rules_that_wait_for_it(action: str | None, rules: list[int]) -> None:
    assert [p.rule for p in planned("client_action", EVERYWHERE, action)] == rules


def test_an_event_that_no_rule_waits_for_causes_nothing() -> None:
    assert list(plan(campaign(), Cause("code.issued"), EVERYWHERE)) == []


@pytest.mark.parametrize(
    ("unless", "code", "why"),
    [
        (["code.shown"], facts(shown_at=NOW), "unless code.shown"),
        (["code.redeemed"], facts(redeemed=1), "unless code.redeemed"),
        (["code.shown", "code.redeemed"], facts(redeemed=1), "unless code.redeemed"),
        (["code.shown", "code.redeemed"], facts(), None),
        (["code.shown"], facts(redeemed=1), None),
        (["code.redeemed"], facts(shown_at=NOW), None),
        ([], facts(shown_at=NOW, redeemed=1), None),
    ],
)
def test_a_rule_is_withheld_by_what_its_unless_names_and_nothing_else(
    unless: list[str], code: CodeFacts, why: str | None
) -> None:
    rule = Rule.model_validate({"on": "code.issued", "send": ["email"], "unless": unless})

    assert withheld(rule, code) == why


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (facts(), None),
        (facts(revoked_at=NOW - 1), "revoked"),
        (facts(redeemed=1), "redeemed"),
        (facts(redeemed=1, max_redemptions=2), None),
        (facts(redeemed=1_000, max_redemptions=None), None),
        (facts(expires_at=None), None),
        (facts(expires_at=NOW), "expired"),
        (facts(expires_at=NOW + 1), "min_ttl"),
        (facts(expires_at=NOW + 10 * MINUTE - 1), "min_ttl"),
        (facts(expires_at=NOW + 10 * MINUTE), None),
        (facts(revoked_at=NOW, redeemed=1, expires_at=NOW), "revoked"),
    ],
)
def test_a_code_is_not_sent_that_is_dead_or_too_near_its_end(code: CodeFacts, why: str | None) -> None:
    assert dead(code, NOW, min_ttl=10 * MINUTE) == why


@pytest.mark.parametrize(
    ("valid_for", "ends_at", "anchor", "ends"),
    [
        ("7d", None, NOW, NOW + 7 * DAY),
        ("7d", NOW + DAY, NOW, NOW + DAY),
        ("7d", NOW + 30 * DAY, NOW, NOW + 7 * DAY),
        ("7d", NOW + DAY, None, NOW + DAY),
        ("7d", None, None, None),
        (None, NOW + DAY, NOW, NOW + DAY),
        (None, None, NOW, None),
    ],
    ids=[
        "anchor and valid_for",
        "ends_at is earlier",
        "ends_at is later",
        "the anchor has not happened",
        "the anchor has not happened and nothing else ends it",
        "only ends_at",
        "for ever",
    ],
)
def test_a_code_ends_at_the_earlier_of_its_validity_and_its_campaign(
    valid_for: str | None, ends_at: Instant | None, anchor: Instant | None, ends: Instant | None
) -> None:
    sections: dict[str, Any] = {"code": {"label_tag": "promo_code", "valid_for": valid_for}}
    if ends_at is not None:
        sections["ends_at"] = rfc3339(ends_at)

    assert expiry(campaign(**sections), anchor) == ends
