"""Circuits: what refuses us is left alone, by itself; nothing is lost by that, and it goes on when it can."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Row

from promocast import retry
from promocast.channels.outbox import Outbox
from promocast.flows import circuits, claims
from promocast.flows.circuits import HELD_FOR, QUIET
from promocast.flows.deliver import deliver
from promocast.flows.desk import Desk
from promocast.ledger import channels, deliveries, events
from promocast.ledger.channels import State
from promocast.ledger.deliveries import Closing
from promocast.model import DAY, HOUR, MINUTE, SECOND, Deferred, Failed, Halted, Message, Outcome, Rejected, Sent
from tests.conftest import NOW
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.desk import POLICIES, POLICY, delivery, desk_of, planned, running_loop
from tests.flows.test_deliver import shown_by
from tests.flows.test_sweep import claimed, swept

GONE = Halted("http 410", gone=True)
TWO_ENDPOINTS = CAMPAIGN + '\n[[journey]]\non = "client_action"\naction = "CODE_IS_SHOWN"\ncall = "bonus-engine"\n'
PATIENT = {**POLICIES, "popup": replace(POLICY, disable_after=5 * DAY), "call": replace(POLICY, disable_after=2 * DAY)}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def desk_with(
    bench: Bench, loop: asyncio.AbstractEventLoop, answer: Callable[[Message], Outcome], **changes: Any
) -> tuple[Desk, Outbox]:
    outbox = Outbox(answer)
    adapters = dict.fromkeys(("popup", "email", "call"), outbox)
    return desk_of(bench, loop, adapters, **{"policies": PATIENT} | changes), outbox


def calls_to(bench: Bench, *players: str) -> dict[str, list[int]]:
    """Each player's code is shown, which calls both endpoints; {endpoint: the ids of the calls to it}."""
    bench.apply(TWO_ENDPOINTS)
    for code in bench.issue(*players):
        shown_by(bench, code)
    ids = planned(bench, "call")
    by_rule = {rule: [i for i in ids if delivery(bench, i).rule == rule] for rule in (1, 4)}
    return {"crm": by_rule[1], "bonus-engine": by_rule[4]}


def state_of(bench: Bench, circuit: str) -> State | None:
    with bench.ledger.read() as conn:
        return channels.states(conn).get(circuit)


def told(bench: Bench, type_: str) -> list[dict[str, Any]]:
    with bench.ledger.read() as conn:
        found, _ = events.feed(conn, events.START, 1_000)
    return [event["data"] for event in found if event["type"] == type_]


def resume(bench: Bench, circuit: str) -> bool:
    with bench.ledger.begin() as conn:
        return circuits.resume(conn, circuit, bench.clock())


def rows(bench: Bench, ids: list[int]) -> list[Row[Any]]:
    return [delivery(bench, i) for i in ids]


def only(endpoint: str, outcome: Outcome) -> Callable[[Message], Outcome]:
    return lambda message: outcome if message.address == endpoint else Sent()


# Gone


def test_an_endpoint_that_wants_no_more_is_disabled_and_no_other_is_held_up(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    calls = calls_to(bench, "p1", "p2")
    desk, _ = desk_with(bench, loop, only("crm", GONE))

    deliver(desk, "call", planned(bench, "call"))

    assert {(row.state, row.attempts) for row in rows(bench, calls["crm"])} == {("planned", 0)}
    assert {row.state for row in rows(bench, calls["bonus-engine"])} == {"sent"}
    assert NOW in {row.due_at for row in rows(bench, calls["crm"])}, "it goes on as soon as its endpoint does"
    since = "2026-11-24T10:00:00Z"
    assert told(bench, "endpoint.disabled") == [
        {"endpoint": "crm", "channel": "call", "reason": "http 410", "since": since}
    ]
    assert told(bench, "channel.halted") == []


def test_nothing_is_tried_at_a_disabled_endpoint_until_the_operator_says_so(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    calls = calls_to(bench, "p1")
    answers: list[Outcome] = [GONE]
    desk, outbox = desk_with(bench, loop, lambda message: answers.pop() if message.address == "crm" else Sent())
    deliver(desk, "call", planned(bench, "call"))

    for _ in range(6):
        deliver(desk, "call", planned(bench, "call"))
        bench.clock.advance(HELD_FOR)
    deliver(desk, "call", planned(bench, "call"))
    [row] = rows(bench, calls["crm"])
    assert len(outbox.sent) == 2, "one to each endpoint"
    assert (row.state, row.attempts, row.reason) == ("planned", 0, "endpoints.crm is stopped")
    assert row.due_at == bench.clock() + HELD_FOR

    assert resume(bench, "endpoints.crm")
    [row] = rows(bench, calls["crm"])
    assert row.due_at == bench.clock(), "released"
    answers.append(Sent())
    deliver(desk, "call", planned(bench, "call"))

    [row] = rows(bench, calls["crm"])
    assert (row.state, row.attempts) == ("sent", 1)
    assert not resume(bench, "endpoints.crm"), "it was neither paused nor disabled any more"


def test_a_site_that_wants_no_more_popups_gets_none_and_other_channels_go_on(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1", "p2")
    desk, outbox = desk_with(bench, loop, lambda message: GONE if message.channel == "popup" else Sent())
    deliver(desk, "popup", planned(bench, "popup")[:1])
    bench.rung.clear()

    bench.clock.advance(HOUR)
    swept(bench)
    deliver(desk, "popup", planned(bench, "popup"))
    deliver(desk, "email", planned(bench, "email"))

    assert {queue for queue, _ in bench.rung} == {"deliver.email"}, "not rung for, and not probed"
    assert [message.channel for message in outbox.sent] == ["popup", "email", "email"]
    assert {(row.state, row.attempts) for row in rows(bench, planned(bench, "popup"))} == {("planned", 0)}
    assert [data["endpoint"] for data in told(bench, "endpoint.disabled")] == ["popup"]

    assert resume(bench, "popup")
    desk, _ = desk_with(bench, loop, lambda _: Sent())
    deliver(desk, "popup", planned(bench, "popup"))
    assert {row.state for row in rows(bench, planned(bench, "popup"))} == {"sent"}


def test_what_arrives_late_does_not_enable_what_was_disabled(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2")
    answers: list[Outcome] = [GONE, Sent()]
    desk, outbox = desk_with(bench, loop, lambda _: answers.pop(0), policies={**PATIENT, "popup": POLICY})

    deliver(desk, "popup", planned(bench, "popup"))

    state = state_of(bench, "popup")
    assert len(outbox.sent) == 2, "both were under way"
    assert state is not None
    assert (state.disabled_at, state.reason) == (NOW, "http 410")


def test_another_url_is_another_endpoint(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    calls = calls_to(bench, "p1")
    desk, _ = desk_with(bench, loop, only("crm", GONE))
    deliver(desk, "call", planned(bench, "call"))
    bench.clock.advance(MINUTE)
    deliver(desk, "call", planned(bench, "call"))

    circuits.renew(bench.ledger, desk.targets, bench.clock())
    same = state_of(bench, "endpoints.crm")
    circuits.renew(bench.ledger, {**desk.targets, "endpoints.crm": "of another url"}, bench.clock())
    other = state_of(bench, "endpoints.crm")

    assert same is not None
    assert other is not None
    assert (same.disabled_at, other.disabled_at) == (NOW, None)
    [row] = rows(bench, calls["crm"])
    assert (row.state, row.due_at) == ("planned", bench.clock())


def test_a_call_that_waits_for_its_endpoint_ends_as_every_call_does(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    calls = calls_to(bench, "p1")
    desk, _ = desk_with(bench, loop, only("crm", GONE))
    deliver(desk, "call", planned(bench, "call"))

    bench.clock.advance(72 * HOUR - MINUTE)
    deliver(desk, "call", planned(bench, "call"))
    [waiting] = rows(bench, calls["crm"])
    bench.clock.advance(MINUTE)
    deliver(desk, "call", planned(bench, "call"))
    [ended] = rows(bench, calls["crm"])

    assert (waiting.state, waiting.due_at) == ("planned", NOW + 72 * HOUR)
    assert (ended.state, ended.reason, ended.due_at) == ("exhausted", "too_late", None)


# Failing for days


def failing_for(bench: Bench, desk: Desk, waits: list[int]) -> None:
    """Try the popups, then again after each of the waits."""
    deliver(desk, "popup", planned(bench, "popup"))
    for wait in waits:
        bench.clock.advance(wait)
        deliver(desk, "popup", planned(bench, "popup"))


def busy(bench: Bench) -> Outcome:
    return Deferred(bench.clock() + MINUTE, "http 503")


def test_a_site_at_which_nothing_has_succeeded_for_days_is_disabled(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1")
    desk, outbox = desk_with(bench, loop, lambda _: busy(bench))

    failing_for(bench, desk, [6 * HOUR] * 19)
    assert told(bench, "endpoint.disabled") == []
    failing_for(bench, desk, [6 * HOUR] * 3)

    since = "2026-11-24T10:00:00Z"
    assert told(bench, "endpoint.disabled") == [
        {"endpoint": "popup", "channel": "popup", "reason": "failing: http 503", "since": since}
    ]
    assert len(outbox.sent) == 21, "the first, and those of five days"


@pytest.mark.parametrize(
    "outcome",
    [
        Failed("http 500", maybe_sent=False),
        Failed("timeout", maybe_sent=True),
        Halted("http 302"),
        Deferred(NOW, "http 429", account=True),
    ],
)
def test_whatever_is_no_success_is_a_failure(bench: Bench, loop: asyncio.AbstractEventLoop, outcome: Outcome) -> None:
    bench.issue("p1")
    desk, _ = desk_with(bench, loop, lambda _: outcome)

    failing_for(bench, desk, [])

    state = state_of(bench, "popup")
    assert state is not None
    assert (state.failing_since, state.failed_at, state.target) == (NOW, NOW, "digest")


def test_a_message_that_is_refused_for_itself_is_no_failure_of_the_site(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1")
    desk, _ = desk_with(bench, loop, lambda _: Rejected("http 413", address_dead=False))

    failing_for(bench, desk, [])

    assert state_of(bench, "popup") is None


def test_one_success_in_between_begins_the_days_anew(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2")
    outcomes = {"p1": [busy] * 14, "p2": [busy] * 9 + [lambda _: Sent()]}
    desk, _ = desk_with(bench, loop, lambda message: outcomes[message.player_id].pop(0)(bench))

    failing_for(bench, desk, [12 * HOUR] * 9)
    state = state_of(bench, "popup")
    assert state is not None
    assert state.failing_since is None
    failing_for(bench, desk, [12 * HOUR] * 2)

    assert told(bench, "endpoint.disabled") == []


def test_failures_with_a_quiet_day_between_them_are_no_streak(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1")
    desk, _ = desk_with(bench, loop, lambda _: busy(bench))

    failing_for(bench, desk, [QUIET, QUIET + SECOND])

    state = state_of(bench, "popup")
    assert state is not None
    assert state.failing_since == NOW + 2 * QUIET + SECOND


def test_a_streak_is_written_down_once_an_hour_and_a_success_only_after_one(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1", "p2")
    desk, _ = desk_with(bench, loop, lambda message: busy(bench) if message.player_id == "p1" else Sent())
    [failing, well] = planned(bench, "popup")

    deliver(desk, "popup", [well])
    assert state_of(bench, "popup") is None, "nothing is written on a success"
    deliver(desk, "popup", [failing])
    noted = []
    for _ in range(4):
        bench.clock.advance(30 * MINUTE)
        deliver(desk, "popup", [failing])
        state = state_of(bench, "popup")
        noted.append(state and state.failed_at)

    assert noted == [NOW, NOW + HOUR, NOW + HOUR, NOW + 2 * HOUR]


def test_a_failure_beside_a_success_begins_no_streak(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2")
    desk, _ = desk_with(bench, loop, lambda _: Sent())
    claimed_ids = claimed(bench, "popup")
    with bench.ledger.begin() as conn:
        well, ill = deliveries.overdue_leases(conn, NOW + POLICY.lease, 2)
        failed = Closing(ill, "planned", "http 500", due_at=NOW + MINUTE, circuit="popup")
        claims.record(desk, conn, [failed, Closing(well, "sent", circuit="popup")], NOW)

    assert sorted(row.state for row in rows(bench, claimed_ids)) == ["planned", "sent"]
    assert state_of(bench, "popup") is None


def test_a_site_may_fail_for_ever_where_the_operator_wants_that(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1")
    desk, _ = desk_with(bench, loop, lambda _: busy(bench), policies={**POLICIES, "popup": POLICY})

    failing_for(bench, desk, [12 * HOUR] * 13)

    assert told(bench, "endpoint.disabled") == []


def test_a_provider_that_is_no_system_of_the_operators_is_never_disabled(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1")
    desk, _ = desk_with(bench, loop, lambda _: busy(bench))

    deliver(desk, "email", planned(bench, "email"))

    assert state_of(bench, "email") is None


def test_what_failed_at_another_url_does_not_count(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1")
    desk, _ = desk_with(bench, loop, lambda _: busy(bench))
    failing_for(bench, desk, [12 * HOUR] * 9)

    failing_for(bench, replace(desk, targets={"popup": "of another url"}), [12 * HOUR])

    state = state_of(bench, "popup")
    assert state is not None
    assert (state.failing_since, state.target) == (NOW + 120 * HOUR, "of another url")
    assert told(bench, "endpoint.disabled") == []


# Halted and paused


def test_a_halted_endpoint_is_probed_by_one_call_and_releases_all_when_it_succeeds(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    calls = calls_to(bench, "p1", "p2", "p3")
    answer: list[Outcome] = [Halted("http 302")]
    desk, outbox = desk_with(bench, loop, lambda message: answer[0] if message.address == "crm" else Sent())
    deliver(desk, "call", planned(bench, "call"))
    assert told(bench, "channel.halted") == [{"channel": "call", "endpoint": "crm", "reason": "http 302"}]
    assert {row.state for row in rows(bench, calls["bonus-engine"])} == {"sent"}
    sent = len(outbox.sent)

    for _ in range(2):
        bench.clock.advance(retry.PROBE_AFTER_HALT)
        deliver(desk, "call", planned(bench, "call"))
    assert len(outbox.sent) == sent + 2, "one each time"
    assert {(row.state, row.attempts) for row in rows(bench, calls["crm"])} == {("planned", 0)}

    answer[0] = Sent()
    bench.clock.advance(retry.PROBE_AFTER_HALT)
    deliver(desk, "call", planned(bench, "call"))
    waiting = [row for row in rows(bench, calls["crm"]) if row.state != "sent"]
    assert len(waiting) < 3
    assert {row.due_at for row in waiting} <= {bench.clock()}, "released by the probe"
    deliver(desk, "call", planned(bench, "call"))
    assert {row.state for row in rows(bench, calls["crm"])} == {"sent"}
    assert state_of(bench, "call") is None, "the channel itself was never halted"


def test_of_two_who_would_probe_an_endpoint_at_once_one_does(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    calls = calls_to(bench, "p1", "p2")
    with bench.ledger.begin() as conn:
        channels.halt(conn, "endpoints.crm", "http 302", bench.clock(), bench.clock())
    desk, outbox = desk_with(bench, loop, only("crm", Halted("http 302")))
    together = Barrier(2)

    def send(ids: list[int]) -> None:
        together.wait()
        deliver(desk, "call", ids)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, ([call] for call in calls["crm"])))

    assert len(outbox.sent) == 1


def test_a_paused_endpoint_waits_for_the_operator_and_no_other_does(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    calls = calls_to(bench, "p1")
    desk, outbox = desk_with(bench, loop, lambda _: Sent())
    with bench.ledger.begin() as conn:
        channels.pause(conn, "endpoints.crm", bench.clock())

    deliver(desk, "call", planned(bench, "call"))
    assert [message.address for message in outbox.sent] == ["bonus-engine"]
    assert resume(bench, "endpoints.crm")
    deliver(desk, "call", planned(bench, "call"))

    assert {row.state for row in rows(bench, calls["crm"])} == {"sent"}
