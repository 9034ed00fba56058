"""The story of a code: everything that happens to it is told, in words that support can read out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promocast.campaign.reasons import REASONS, in_words
from promocast.flows import revoke
from promocast.flows.deliver import deliver
from promocast.ledger import players, story, suppressions, words
from promocast.ledger.codes import Code
from promocast.ledger.players import Player
from promocast.model import DAY, HOUR, MINUTE, Failed, Outcome, Rejected, Sent
from tests.flows.conftest import Bench
from tests.flows.desk import desk_of, planned, running_loop
from tests.flows.stories import everything_happens, recorded_types
from tests.flows.test_deliver import popup_desk
from tests.flows.test_show import act

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def timeline(bench: Bench, code: Code) -> list[dict[str, Any]]:
    with bench.ledger.read() as conn:
        return story.timeline(conn, code)


def what(bench: Bench, code: Code) -> list[str]:
    return [line["what"] for line in timeline(bench, code)]


def test_every_event_of_a_code_that_the_source_records_has_words() -> None:
    of_a_code = {type_ for type_, is_a_codes in recorded_types().items() if is_a_codes}

    assert of_a_code == words.EVENTS.keys()
    assert len(of_a_code) == 14


def test_every_type_of_event_is_in_the_document() -> None:
    rows = re.findall(
        r"^\| `([a-z_.]+)` \| (\w+)", (ROOT / "docs" / "events.md").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert {type_: is_a_codes != "no" for type_, is_a_codes in rows} == recorded_types()


def test_everything_that_happens_to_a_code_is_told(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    told = everything_happens(bench, loop)

    stories = {player: timeline(bench, code) for player, code in told.codes.items()}

    shown = {line.get("event") for lines in stories.values() for line in lines} - {None}
    assert shown == words.EVENTS.keys()
    ann, bob, carl, dora = ([line["what"] for line in stories[name]] for name in ("ann", "bob", "carl", "dora"))
    assert ann == [
        "issued",
        "client action CODE_IS_SHOWN",
        "shown to the player",
        "client action CODE_IS_SHOWN (refused: another player's code)",
        "reported by another player; refused",
        "deposit tx-1 (15.00 EUR) refused: the amount is below the minimum (5.00 EUR short)",
        "deposit tx-1 judged anew for support: she asked",
        "deposit tx-1 (15.00 EUR) refused: the amount is below the minimum (5.00 EUR short)",
        "redeemed by deposit tx-2: 50.00 EUR",
        "deposit tx-2 was undone; the redemption was given back",
        "sent by popup",
        "sent by email",
        "call to crm made",
        "call to crm made",
        "call to crm made",
        "call to bonus-engine made",
        "sms not sent: the player has seen the code already",
        "expired unused",
    ]
    assert [line for line in bob if "sms" in line] == ["sent by sms", "arrived by sms"]
    assert [line for line in carl if "sms" in line] == [
        "sent by sms",
        "sms rejected: 30003",
        "sms failed for good: 30003",
    ]
    assert [line["what"] for line in stories["of the CRM"]][:3] == [
        "recorded for a CRM",
        "shown to the player",
        "taken to be player ann's",
    ]
    assert [line for line in dora if "revoked" in line] == [
        "revoked by support: leaked",
        "sms not sent: the code was revoked",
    ]


def test_an_event_of_another_release_goes_by_its_name() -> None:
    assert words.of_event("code.framed", {"by": "ann"}) == "code.framed"
    assert words.of_event("delivery.sent", {}) == "sent by ?"


def test_every_reason_of_the_contract_is_told_in_words() -> None:
    contract = """not_approved too_many_attempts unknown_code other_player player_excluded revoked not_started expired
        already_redeemed limit_reached wrong_currency below_minimum above_maximum wrong_payment_method
        wrong_deposit_index budget_exhausted"""

    assert list(REASONS) == contract.split()
    assert all("_" not in said for said in REASONS.values())
    assert in_words("below_minimum", {"changes": {}, "text": "5.00 EUR short"}) == (
        "the amount is below the minimum (5.00 EUR short)"
    )
    assert in_words("a_new_one") == "a_new_one"


def exclude(bench: Bench, _: Code) -> None:
    with bench.ledger.begin() as conn:
        block = {"type": "Excluded", "active": True, "until": None}
        players.put(conn, Player("p1", None, None, {}, [block]), bench.clock())


def opt_out(bench: Bench, _: Code) -> None:
    with bench.ledger.begin() as conn:
        players.opt_out(conn, "p1", "popup", bench.clock())


def suppress(bench: Bench, _: Code) -> None:
    with bench.ledger.begin() as conn:
        suppressions.suppress(conn, "popup", suppressions.digest("p1"), "twilio 30005", bench.clock(), None)


def revoke_it(bench: Bench, code: Code) -> None:
    revoke.revoke(bench.ledger, code.code, bench.clock(), versions=bench.versions, ring=bench.ring, by="support")


def use_it(bench: Bench, code: Code) -> None:
    bench.deposit(promo_code=code.code)


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (exclude, "popup not sent: the player is excluded or blocked"),
        (opt_out, "popup not sent: the player wants no messages on this channel"),
        (suppress, "popup not sent: the address must not be used any more (twilio 30005)"),
        (revoke_it, "popup not sent: the code was revoked"),
        (use_it, "popup not sent: the code is used up"),
        (lambda bench, _: bench.clock.advance(7 * DAY), "popup not sent: the code has expired"),
        (
            lambda bench, _: bench.clock.advance(7 * DAY - MINUTE),
            "popup not sent: the code is too near its end to be of use",
        ),
    ],
)
def test_why_a_message_was_not_sent_is_told(
    bench: Bench, loop: asyncio.AbstractEventLoop, happens: Any, told: str
) -> None:
    [code] = bench.issue("p1")
    happens(bench, code)
    desk, outbox = popup_desk(bench, loop)

    deliver(desk, "popup", planned(bench, "popup"))

    assert outbox.sent == []
    assert told in what(bench, code)


def test_a_channel_that_is_not_set_up_is_told(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    [code] = bench.issue("p1")

    deliver(desk_of(bench, loop, {}), "popup", planned(bench, "popup"))

    assert "popup not sent: it is not set up here" in what(bench, code)


def test_attempts_are_told_with_what_the_provider_said(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    [code] = bench.issue("p1")
    answers: list[Outcome] = [
        Failed("503", maybe_sent=False),
        Failed("reset", maybe_sent=True),
        Rejected("410", address_dead=True),
    ]
    desk, _ = popup_desk(bench, loop, lambda _: answers.pop(0))

    for _ in range(2):
        deliver(desk, "popup", planned(bench, "popup"))
        bench.clock.advance(HOUR)
    waits = what(bench, code)
    deliver(desk, "popup", planned(bench, "popup"))

    assert waits[-1] == "popup unknown; looked at again: reset"
    assert [line for line in what(bench, code) if "popup" in line] == [
        "popup attempt 1 failed: 503",
        "popup attempt 2 unknown: reset",
        "popup unknown: it may have arrived or not: 410",
        "popup failed for good: 410",
    ]


def test_what_happened_last_is_not_what_is_still_to_come(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    [code] = bench.issue("p1")
    desk, _ = popup_desk(bench, loop, lambda _: Sent())
    deliver(desk, "popup", planned(bench, "popup"))
    bench.clock.advance(MINUTE)
    act(bench, code.code)

    lines = timeline(bench, code)

    assert lines[-1]["what"] == "sms due"
    assert story.last(lines, bench.clock())["what"] == "call to crm due"
    assert story.last(lines, bench.clock() - 1)["what"] in ("sent by popup", "email due")
    assert story.last(lines, 0)["what"] == "issued"
