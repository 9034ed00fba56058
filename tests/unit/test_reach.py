"""What of a journey can never happen is told when it is checked, and nothing is told of what can."""

from __future__ import annotations

from typing import Any

import pytest

from promocast.campaign.check import Finding, check
from promocast.errors import CampaignError
from promocast.model import PLAYER_CHANNELS
from tests.unit.makers import campaign

POPUP = {"popup": {"title": "Hi", "body": "{{ label.promo_code }}"}}
FIRST = {"on": "code.issued", "send": ["popup"]}
NIGHT = {"from": "21:00", "to": "09:00"}


def findings(*journey: dict[str, Any], **sections: Any) -> list[Finding]:
    made = campaign(templates=POPUP, journey=journey, **sections)
    return check(made, PLAYER_CHANNELS, ["crm"])


def on(event: str, **more: Any) -> dict[str, Any]:
    return {"on": event, **more}


@pytest.mark.parametrize(
    ("rule", "sections"),
    [
        (on("code.shown", send=["sms"]), {}),
        (on("code.rolled_back", send=["sms"]), {}),
        (on("code.expired", call="crm"), {}),
        (on("code.revoked", call="crm"), {}),
        (on("code.redeemed", call="crm"), {}),
        (on("code.redeemed", send=["sms"]), {"code": {"label_tag": "promo_code", "max_redemptions": 2}}),
        (on("delivery.sent", of="popup", send=["sms"]), {}),
        (on("delivery.sent", call="crm"), {}),
        (on("delivery.delivered", of="popup", after="1d", unless=["code.shown"], send=["sms"]), {}),
        (on("delivery.failed", of="popup", send=["sms"]), {}),
        (on("deposit.refused", reason="below_minimum", send=["sms"]), {}),
        (on("code.issued", after="6d 23h 50m", send=["sms"]), {}),
        (on("code.issued", after="8d", call="crm"), {}),
        (
            on("code.issued", after="8d", send=["sms"]),
            {"code": {"label_tag": "promo_code", "valid_for": "7d", "valid_from": "shown"}},
        ),
        (on("code.issued", at="10:00", send=["sms"]), {"quiet_hours": NIGHT}),
        (on("code.issued", at="22:00", send=["sms"], quiet_hours=False), {"quiet_hours": NIGHT}),
        (on("code.issued", at="22:00", call="crm"), {"quiet_hours": NIGHT}),
        (on("code.issued", unless=["code.shown"], send=["sms"]), {"control_group": 10}),
    ],
)
def test_of_what_can_happen_nothing_is_said(rule: dict[str, Any], sections: dict[str, Any]) -> None:
    assert findings(FIRST, rule, **sections) == []


@pytest.mark.parametrize(
    ("rule", "key", "told"),
    [
        (on("code.expired", send=["sms"]), "send", "can never be sent: the code has ended by then"),
        (on("code.revoked", send=["sms"]), "send", "can never be sent: the code is revoked by then"),
        (on("code.redeemed", send=["sms"]), "send", "can never be sent: the code is used up by then"),
        (on("deposit.refused", reason="expired", send=["sms"]), "send", "can never be sent: the code has ended"),
        (on("deposit.refused", reason="other_player", call="crm"), "reason", "it never fires"),
        (on("code.issued", after="6d 23h 51m", send=["sms"]), "after", "too near its end"),
        (on("client_action", action="CLOSED", call="crm"), "action", "no popup has when_shown = 'CLOSED'"),
        (on("delivery.sent", of="email", call="crm"), "of", "no rule sends email: it never fires"),
        (on("delivery.failed", of="email", send=["sms"]), "of", "no rule sends email: it never fires"),
        (on("code.shown", unless=["code.shown"], call="crm"), "unless", "code.shown is true whenever code.shown"),
        (on("delivery.sent", of="popup", unless=["delivery.sent"], send=["sms"]), "unless", "never does anything"),
        (on("code.redeemed", unless=["code.redeemed"], call="crm"), "unless", "never does anything"),
        (
            on("code.issued", send=["sms"], quiet_hours={"from": "00:00", "to": "23:59", "spread": "0s"}),
            "quiet_hours",
            "only 1 minutes of the day are left",
        ),
        (
            on("code.issued", send=["sms"], quiet_hours={"from": "10:00", "to": "08:00", "spread": "3h"}),
            "quiet_hours",
            "spread over 180 minutes, and the day has only 120",
        ),
    ],
)
def test_what_can_never_happen_is_a_warning(rule: dict[str, Any], key: str, told: str) -> None:
    [finding] = findings(FIRST, rule)

    assert (finding.level, finding.pointer) == ("warning", f"/journey/1/{key}")
    assert told in finding.reason


def test_a_night_that_outlasts_the_codes_is_a_warning() -> None:
    short = {"label_tag": "promo_code", "valid_for": "12h"}

    [finding] = findings(FIRST, quiet_hours=NIGHT, code=short)

    assert finding.pointer == "/quiet_hours"
    assert "has ended when they end" in finding.reason


def test_a_code_without_an_end_never_expires() -> None:
    [finding] = findings(FIRST, on("code.expired", call="crm"), code={"label_tag": "promo_code"})

    assert (finding.pointer, finding.level) == ("/journey/1/on", "warning")


def test_a_control_group_of_all_is_a_warning() -> None:
    assert [finding.pointer for finding in findings(FIRST, control_group=100)] == ["/control_group"]


def test_a_time_of_day_within_quiet_hours_is_an_error() -> None:
    [finding] = findings(on("code.issued", at="22:00", send=["popup"]), quiet_hours=NIGHT)

    assert (finding.level, finding.pointer) == ("error", "/journey/0/at")
    assert "quiet hours from 21:00 to 09:00" in finding.reason


def test_rules_that_set_each_other_off_are_an_error() -> None:
    found = findings(
        on("code.issued", send=["email"]),
        on("delivery.sent", of="email", send=["sms"]),
        on("delivery.delivered", of="sms", send=["email"]),
        on("delivery.sent", of="sms", send=["push"]),
    )

    assert [(finding.level, finding.pointer) for finding in found] == [
        ("error", "/journey/1/on"),
        ("error", "/journey/2/on"),
    ]
    assert "rules 2, 3 set each other off" in found[0].reason


def test_fallbacks_in_a_circle_are_a_warning() -> None:
    found = findings(
        on("code.issued", send=["email"]),
        on("delivery.failed", of="email", send=["sms"]),
        on("delivery.failed", of="sms", send=["email"]),
    )

    assert [(finding.level, finding.pointer) for finding in found] == [
        ("warning", "/journey/1/on"),
        ("warning", "/journey/2/on"),
    ]


@pytest.mark.parametrize(
    ("rule", "pointer", "told"),
    [
        (on("delivery.sent", of="sms", send=["sms"]), "/journey/0", "would set itself off"),
        (on("delivery.delivered", send=["sms"]), "/journey/0", "would set itself off"),
        (on("delivery.failed", send=["sms"]), "/journey/0", "needs the channel that failed"),
        (on("code.shown", of="sms", call="crm"), "/journey/0", "`of` belongs to a rule that waits for a delivery"),
        (on("code.shown", reason="expired", call="crm"), "/journey/0", "`reason` belongs to"),
        (on("deposit.refused", reason="expird", call="crm"), "/journey/0/reason", "Input should be"),
        (on("code.shown", at="25:00", call="crm"), "/journey/0/at", "no time of day"),
        (on("code.shown", at="9:00", call="crm"), "/journey/0/at", "no time of day"),
        (on("code.shown", send=["sms"], quiet_hours=True), "/journey/0/quiet_hours", "Input should be"),
        (on("code.shown", send=["sms"], quiet_hours={"from": "21:00"}), "/journey/0/quiet_hours/to", "required"),
        (
            on("code.shown", send=["sms"], quiet_hours={"from": "21:00", "to": "21:00"}),
            "/journey/0/quiet_hours",
            "at different times",
        ),
        (
            on("code.shown", send=["sms"], quiet_hours={"from": "21:00", "to": "24:00"}),
            "/journey/0/quiet_hours/to",
            "no time of day",
        ),
        (
            on("code.shown", send=["sms"], quiet_hours={"from": "21:00", "to": "09:00", "until": "1"}),
            "/journey/0/quiet_hours/until",
            "unknown key",
        ),
        (on("code.shown", call="crm", quiet_hours=NIGHT), "/journey/0", "calls to systems pass them anyway"),
        (on("code.shown", call="crm", cap=False), "/journey/0", "calls to systems pass them anyway"),
        (on("code.shown", send=["sms"], method="PUT"), "/journey/0", "`method` belongs to `call`"),
        (on("code.shown", send=["sms"], headers={"X-A": "1"}), "/journey/0", "`headers` belongs to `call`"),
        (on("code.shown", call="crm", method="GET"), "/journey/0/method", "Input should be"),
        (on("code.shown", call="crm", headers={"X A": "1"}), "/journey/0/headers", "no name of a header"),
        (on("code.shown", call="crm", headers={"X-A": "1", "x-a": "2"}), "/journey/0/headers", "stands twice"),
        (on("endpoint.disabled", call="crm"), "/journey/0/on", "Input should be"),
    ],
)
def test_a_rule_that_says_two_things_or_none_is_refused_where_it_stands(
    rule: dict[str, Any], pointer: str, told: str
) -> None:
    with pytest.raises(CampaignError) as refused:
        campaign(journey=[rule])

    [fault] = refused.value.faults
    assert fault.pointer == pointer
    assert told in fault.reason


@pytest.mark.parametrize(
    "name",
    [
        "Host", "AUTHORIZATION", "content-length", "Transfer-Encoding", "connection", "Proxy-Authorization", "Cookie",
        "Webhook-Id", "webhook-signature", "WEBHOOK-TIMESTAMP", "Signature", "signature-input", "X-Hub-Signature-256",
        "svix-id", "Content-Encoding", "TE", "Upgrade", "Expect",
    ],
)  # fmt: skip
def test_headers_that_are_the_operators_are_not_for_campaigns(name: str) -> None:
    with pytest.raises(CampaignError) as refused:
        campaign(journey=[on("code.issued", call="crm", headers={name: "x"})])

    [fault] = refused.value.faults
    assert (fault.pointer, f"{name} is not for campaigns to set" in fault.reason) == ("/journey/0/headers", True)


@pytest.mark.parametrize("percent", [-1, 101, 10.5, "ten"])
def test_a_control_group_is_a_whole_percentage(percent: Any) -> None:
    with pytest.raises(CampaignError):
        campaign(control_group=percent)


def test_quiet_hours_are_kept_as_they_were_written() -> None:
    """What is put in force is the document again."""
    made = campaign(
        quiet_hours={"from": "21:00", "to": "09:00", "spread": "45m"}, journey=[FIRST | {"quiet_hours": False}]
    )

    again = campaign(**made.model_dump(mode="json"))

    assert again == made
    assert again.journey[0].quiet_hours is False
