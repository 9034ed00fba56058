"""Quiet hours and send-at: nothing begins while a player sleeps; what waited goes in the morning, if it is of use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from promocast import gate
from promocast.ledger import events, players
from promocast.ledger.players import Player
from promocast.model import DAY, HOUR, MINUTE, SECOND, Failed, Message, Outcome, Rejected, Sent, parse_rfc3339, rfc3339
from tests.flows.conftest import Bench
from tests.flows.desk import POLICIES, POLICY, delivery, planned, running_loop
from tests.flows.staging import Stage, source
from tests.unit.test_quiet import shown

NIGHT = 'quiet_hours = { from = "21:00", to = "09:00" }'
SMS = 'on = "code.issued"\nsend = ["sms"]'
# In Malta, an hour ahead of UTC in winter.
EVENING = parse_rfc3339("2026-11-24T19:59:59.999Z")
MORNING = parse_rfc3339("2026-11-25T08:00:00Z")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def night(bench: Bench, loop: asyncio.AbstractEventLoop, *rules: str, **campaign: str) -> Stage:
    """Eight in the evening of a campaign that is quiet at night."""
    bench.clock.now = EVENING
    bench.apply(source(*(rules or (SMS,)), **{"more": NIGHT, **campaign}))
    return Stage(bench, loop)


def test_a_message_of_the_night_waits_for_the_morning_at_no_cost(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = night(bench, loop)
    bench.clock.advance(1)
    stage.issue("ann")

    stage.deliver("sms")

    [sms] = planned(bench, "sms")
    row = delivery(bench, sms)
    assert (row.state, row.reason, row.attempts) == ("planned", "quiet_hours", 0)
    assert MORNING <= row.due_at < MORNING + 30 * MINUTE
    bench.clock.now = row.due_at - 1
    stage.deliver("sms")
    assert stage.sent("sms") == []
    bench.clock.now = row.due_at
    stage.deliver("sms")
    assert stage.states("sms") == [("sent", None)]


def test_a_message_of_the_last_moment_of_the_evening_goes(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = night(bench, loop)
    stage.issue("ann")

    stage.deliver("sms")

    assert stage.states("sms") == [("sent", None)]


def test_what_waited_goes_out_over_half_an_hour_not_at_once(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = night(bench, loop)
    bench.clock.advance(HOUR)
    stage.issue(*(f"p{n}" for n in range(60)))

    stage.deliver("sms")

    after = sorted((due or 0) - MORNING for due in stage.due("sms"))
    assert after[0] < 3 * MINUTE
    assert 27 * MINUTE < after[-1] < 30 * MINUTE
    assert max(b - a for a, b in pairwise(after)) < 5 * MINUTE


def test_the_recipients_zone_goes_before_the_players_and_that_before_the_campaigns(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = night(bench, loop)
    bench.clock.advance(1)  # 21:00 in Malta, 15:00 in New York, 05:00 in Tokyo
    with bench.ledger.begin() as conn:
        for name in ("there", "both"):
            players.put(conn, Player(name, None, "America/New_York", {}, []), bench.clock())
    stage.issue("here", "there", request_id="r-1")
    stage.issue("both", "elsewhere", request_id="r-2", timezone="Asia/Tokyo")

    stage.deliver("sms")

    waits = dict(zip(["here", "there", "both", "elsewhere"], stage.due("sms"), strict=True))
    assert waits["there"] is None
    assert [(waits[name] or 0) // HOUR for name in ("here", "both", "elsewhere")] == [
        MORNING // HOUR,
        parse_rfc3339("2026-11-25T00:00:00Z") // HOUR,
        parse_rfc3339("2026-11-25T00:00:00Z") // HOUR,
    ]


def test_a_rules_own_quiet_hours_go_before_the_campaigns_and_false_switches_them_off(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = night(
        bench,
        loop,
        SMS,
        'on = "code.issued"\nsend = ["email"]\nquiet_hours = false',
        'on = "code.issued"\nsend = ["push"]\nquiet_hours = { from = "20:00", to = "22:00", spread = "0s" }',
        'on = "code.issued"\ncall = "crm"',
    )
    bench.clock.advance(HOUR - SECOND)
    stage.issue("ann")

    stage.deliver()

    assert [stage.states(channel)[0][0] for channel in ("sms", "email", "push", "call")] == [
        "planned",
        "sent",
        "planned",
        "sent",
    ]
    assert stage.due("push") == [parse_rfc3339("2026-11-24T21:00:00Z")]


def test_a_retry_keeps_quiet_as_well(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = night(bench, loop)
    stage.answers["sms"] = lambda _: Failed("503", maybe_sent=False)
    stage.issue("ann")
    stage.deliver("sms")
    del stage.answers["sms"]

    bench.clock.now = stage.due("sms")[0] or 0
    stage.deliver("sms")

    [sms] = planned(bench, "sms")
    row = delivery(bench, sms)
    assert (len(stage.sent("sms")), row.state, row.reason, row.attempts) == (1, "planned", "quiet_hours", 1)
    assert row.due_at >= MORNING


@pytest.mark.parametrize(
    ("valid_for", "fate"),
    [("13h", "waits"), ("12h 10m", "waits"), ("12h 9m", "skipped"), ("1h", "skipped")],
)
def test_what_would_come_too_late_is_skipped_now_and_the_journey_falls_back(
    bench: Bench, loop: asyncio.AbstractEventLoop, valid_for: str, fate: str
) -> None:
    stage = night(
        bench,
        loop,
        SMS,
        'on = "delivery.failed"\nof = "sms"\nsend = ["popup"]\nquiet_hours = false',
        code=f'valid_for = "{valid_for}"',
    )
    bench.clock.advance(1)
    [code] = stage.issue("ann")

    stage.deliver("sms", "popup")

    if fate == "waits":
        [due] = stage.due("sms")
        assert MORNING <= (due or 0) <= (code.expires_at or 0) - 10 * MINUTE
        assert planned(bench, "popup") == []
    else:
        assert stage.states("sms") == [("skipped", "quiet_hours")]
        assert stage.states("popup") == [("sent", None)]
        with bench.ledger.read() as conn:
            told = [data for type_, _, data in events.of_code(conn, code.id) if type_ == "delivery.failed"]
        assert told == [{"channel": "sms", "rule": 0, "reason": "quiet_hours"}]


def test_what_is_skipped_for_another_reason_still_falls_back_on_nothing(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = night(bench, loop, SMS, 'on = "delivery.failed"\nof = "sms"\nsend = ["popup"]')
    stage.issue("ann")
    stage.exclude("ann")

    stage.deliver("sms", "popup")

    assert (stage.states("sms"), stage.states("popup")) == ([("skipped", "player_excluded")], [])


def test_what_may_have_been_sent_stays_unknown_where_the_night_is_its_end(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = night(bench, loop, 'on = "code.issued"\nsend = ["popup"]', code='valid_for = "2h"')
    stage.answers["popup"] = lambda _: Failed("timeout", maybe_sent=True)
    stage.issue("ann")
    stage.deliver("popup")

    bench.clock.now = stage.due("popup")[0] or 0
    stage.deliver("popup")

    assert stage.states("popup") == [("unknown", "quiet_hours")]
    assert stage.due("popup") == [None]


class Slow:
    """A channel whose connection takes time: the clock moves on before the first byte."""

    asks_gate = True

    def __init__(self, bench: Bench, takes: int) -> None:
        self.bench = bench
        self.takes = takes
        self.begun: list[int] = []

    async def send(self, message: Message) -> Outcome:
        self.bench.clock.advance(self.takes)
        await gate.about_to_write()
        self.begun.append(self.bench.clock())
        return Sent()

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(("takes", "begins"), [(0, True), (1, False), (3 * SECOND, False)])
def test_no_first_byte_is_written_when_the_night_has_begun_since_the_claim(
    bench: Bench, loop: asyncio.AbstractEventLoop, takes: int, begins: bool
) -> None:
    stage = night(bench, loop)
    stage.issue("ann")
    slow = Slow(bench, takes)
    stage.outboxes["sms"] = slow  # type: ignore[assignment]

    stage.deliver("sms")
    stage.deliver("sms")

    assert bool(slow.begun) is begins
    if not begins:
        [sms] = planned(bench, "sms")
        row = delivery(bench, sms)
        assert (row.state, row.reason, row.attempts) == ("planned", "quiet_hours", 0)
        assert row.due_at >= MORNING, "the second look finds the morning"


def test_a_night_that_begins_while_the_claim_is_made_is_not_overlooked(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = night(bench, loop)
    stage.issue("ann")
    slow = Slow(bench, takes=0)
    stage.outboxes["sms"] = slow  # type: ignore[assignment]
    told = iter([EVENING])

    stage.deliver("sms", clock=lambda: next(told, EVENING + 5))

    assert slow.begun == []
    assert stage.states("sms") == [("planned", "quiet_hours")]


# At a time of day


AT_TEN = 'on = "code.issued"\nat = "10:00"\nsend = ["sms"]'


@pytest.mark.parametrize(
    ("zone", "after", "due"),
    [
        (None, "0s", "2026-11-25T09:00:00Z"),
        ("America/New_York", "0s", "2026-11-25T15:00:00Z"),
        ("Pacific/Auckland", "0s", "2026-11-24T21:00:00Z"),
        ("Pacific/Auckland", "2h", "2026-11-25T21:00:00Z"),
    ],
)
def test_a_rule_with_a_time_of_day_sends_when_the_players_clock_next_shows_it(
    bench: Bench, loop: asyncio.AbstractEventLoop, zone: str | None, after: str, due: str
) -> None:
    stage = night(bench, loop, AT_TEN + f'\nafter = "{after}"', more="")

    stage.issue("ann", **({"timezone": zone} if zone else {}))

    assert [rfc3339(at or 0) for at in stage.due("sms")] == [due]


def test_a_time_of_day_is_that_of_the_players_record_where_the_recipient_has_no_zone(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = night(bench, loop, AT_TEN, more="")
    with bench.ledger.begin() as conn:
        players.put(conn, Player("ann", None, "America/New_York", {}, []), bench.clock())

    stage.issue("ann", "bob")

    assert [rfc3339(at or 0) for at in stage.due("sms")] == ["2026-11-25T15:00:00Z", "2026-11-25T09:00:00Z"]


def test_a_call_at_a_time_of_day_has_its_three_days_from_then(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = night(bench, loop, 'on = "code.issued"\nafter = "2d"\nat = "10:00"\ncall = "crm"', more="")
    stage.issue("ann")

    bench.clock.advance(4 * DAY)
    stage.deliver("call")

    assert stage.states("call") == [("sent", None)]


# Over the change of the clocks


@pytest.mark.parametrize(
    ("zone", "eve"),
    [
        ("Europe/Malta", "2026-10-24T18:00:00Z"),
        ("Europe/Malta", "2026-03-28T18:00:00Z"),
        ("America/New_York", "2026-10-31T23:00:00Z"),
        ("America/New_York", "2026-03-08T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T09:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T09:00:00Z"),
    ],
)
def test_over_a_change_of_the_clocks_none_is_sent_at_night_and_none_is_lost(
    bench: Bench, loop: asyncio.AbstractEventLoop, zone: str, eve: str
) -> None:
    stage = night(bench, loop, 'on = "code.issued"\nafter = "1h"\nsend = ["sms"]')
    bench.clock.now = parse_rfc3339(eve)
    sent_at: list[int] = []

    def answer(_: Message) -> Outcome:
        sent_at.append(bench.clock())
        return Rejected("410", address_dead=False) if len(sent_at) == 1 else Sent()

    stage.answers["sms"] = answer
    patient = {**POLICIES, "sms": replace(POLICY, slots=8)}
    for hour in range(16):
        stage.issue(f"p{hour}", request_id=f"r-{hour}", timezone=zone)
        for _ in range(6):
            bench.clock.advance(10 * MINUTE)
            stage.deliver("sms", policies=patient)
    bench.clock.advance(2 * HOUR)
    stage.deliver("sms", policies=patient)

    assert len(sent_at) == 16
    assert all("09:00:00" <= shown(ZoneInfo(zone), at) < "21:00:00" for at in sent_at)
