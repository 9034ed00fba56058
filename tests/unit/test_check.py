"""The lint of a campaign: an error for what cannot work, a warning for what will be left out here."""

from __future__ import annotations

from typing import Any

import pytest

from promocast.campaign.check import Finding, check
from promocast.model import PLAYER_CHANNELS
from tests.unit.makers import campaign

POPUP = {"popup": {"title": "Hi", "body": "{{ label.promo_code }}"}}


def findings(*, configured: Any = PLAYER_CHANNELS, endpoints: Any = ("crm",), **sections: Any) -> list[Finding]:
    return check(campaign(**sections), configured, endpoints)


def test_a_campaign_that_hangs_together_has_no_findings() -> None:
    journey = [
        {"on": "code.issued", "send": ["popup"], "when_shown": "CODE_IS_SHOWN"},
        {"on": "client_action", "action": "CODE_IS_SHOWN", "call": "crm"},
    ]

    assert findings(templates=POPUP, journey=journey) == []


@pytest.mark.parametrize(
    ("sections", "pointer", "reason"),
    [
        (
            {"label_tags": {"promo_code": {"type": "random", "alphabet": "AAB"}}},
            "/label_tags/promo_code",
            "stands twice",
        ),
        (
            {"label_tags": {"promo_code": {"type": "random", "length": 2, "expected_codes": 1_000}}},
            "/label_tags/promo_code",
            "961 codes are possible",
        ),
        ({"templates": {"sms": {"body": "Hi"}}}, "/templates/sms/body", "a sms template has no 'body'"),
        ({"templates": {"sms": {"text": "{{ user }}"}}}, "/templates/sms/text", "is nothing that a template has"),
        ({"templates": {"sms": {"text": "{{ label.x }}"}}}, "/templates/sms/text", "there is no label tag 'x'"),
        ({"journey": [{"on": "code.issued", "send": ["sms"]}]}, "/journey/0/send", "nothing to say on sms"),
        (
            {"journey": [{"on": "code.issued", "call": "crm", "body": "{"}]},
            "/journey/0/body",
            "does not make JSON",
        ),
        (
            {"redemption": {"min_deposit": {"EUR": "20.00"}, "max_deposit": {"EUR": "19.99"}}},
            "/redemption/max_deposit/EUR",
            "no deposit could pass",
        ),
    ],
    ids=[
        "alphabet",
        "codes run out",
        "key of a template",
        "root of a template",
        "label tag of a template",
        "channel without words",
        "body",
        "bounds",
    ],
)
def test_what_cannot_work_is_an_error(sections: dict[str, Any], pointer: str, reason: str) -> None:
    [finding] = findings(**sections)

    assert (finding.level, finding.pointer) == ("error", pointer)
    assert reason in finding.reason


def test_a_channel_may_borrow_the_words_of_the_popup() -> None:
    assert findings(templates=POPUP, journey=[{"on": "code.issued", "send": ["sms"]}]) == []


def test_bounds_that_leave_a_single_amount_are_allowed() -> None:
    assert findings(redemption={"min_deposit": {"EUR": "20.0"}, "max_deposit": {"EUR": "20.00"}}) == []


@pytest.mark.parametrize(
    ("rule", "key", "reason"),
    [
        ({"on": "code.issued", "send": ["popup", "sms"]}, "send", "sms is not configured here: it will be skipped"),
        ({"on": "code.issued", "call": "erp"}, "call", "no [endpoints.erp] in promocast.toml: it will be skipped"),
        (
            {"on": "code.issued", "send": ["popup"], "when_shown": "SEEN"},
            "when_shown",
            "no rule waits for the client action 'SEEN'",
        ),
    ],
    ids=["channel", "endpoint", "client action"],
)
def test_what_will_be_left_out_here_is_a_warning(rule: dict[str, Any], key: str, reason: str) -> None:
    found = findings(configured=["popup"], templates=POPUP, journey=[rule])

    assert found == [Finding("warning", f"/journey/0/{key}", reason)]


def test_a_rule_that_waits_for_another_action_is_not_the_one_that_is_missing() -> None:
    journey = [
        {"on": "code.issued", "send": ["popup"], "when_shown": "SEEN"},
        {"on": "client_action", "action": "CLOSED", "call": "crm"},
    ]

    found = findings(templates=POPUP, journey=journey)

    assert found[0] == Finding("warning", "/journey/0/when_shown", "no rule waits for the client action 'SEEN'")
    assert [finding.pointer for finding in found[1:]] == ["/journey/1/action"], "no popup reports it"


def test_every_finding_is_told_not_only_the_first() -> None:
    found = findings(
        configured=[],
        label_tags={"promo_code": {"type": "random", "alphabet": "A"}},
        journey=[{"on": "code.issued", "send": ["sms"]}],
    )

    assert [(finding.level, finding.pointer) for finding in found] == [
        ("error", "/label_tags/promo_code"),
        ("error", "/journey/0/send"),
        ("warning", "/journey/0/send"),
    ]
