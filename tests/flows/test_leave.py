"""Leave to write: a message goes in its own moment, under its lease, or not now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from promocast import gate
from promocast.errors import Withheld
from promocast.flows import AHEAD, ANY_MOMENT, Grant, Moment
from promocast.flows.deliver import deliver
from promocast.flows.desk import Desk
from promocast.flows.leave import LATE, LATE_AHEAD, MOMENTS, Leave
from promocast.model import SECOND, Message, Outcome, Sent
from promocast.settings import LEASE_RESERVE
from tests.conftest import NOW
from tests.flows.conftest import Bench
from tests.flows.desk import POLICIES, POLICY, Unlimited, attempted, delivery, desk_of, planned, running_loop


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


class Scripted(Unlimited):
    """A limiter that gives what it is told to, one answer after the other."""

    def __init__(self, *grants: Callable[[], Grant]) -> None:
        super().__init__()
        self.grants = list(grants)
        self.asked: list[tuple[int, int]] = []
        self.turns_asked: list[tuple[str, str]] = []
        self.wait = 0

    def take(self, account: str, wanted: int, rate: float, ahead: int) -> Grant:
        self.asked.append((wanted, ahead))
        return self.grants.pop(0)()

    def turns(self, account: str, turns: Sequence[tuple[str, str]], interval: int) -> list[int]:
        self.turns_asked += turns
        return [self.wait if len(self.turns_asked) > 1 else 0]


def within(opens: float, closes: float) -> Callable[[], Grant]:
    """A moment, in seconds from when it is given."""
    return lambda: Grant([Moment(time.monotonic() + opens, time.monotonic() + closes)], 0)


def missed() -> Grant:
    return Grant([Moment(time.monotonic() - 2, time.monotonic() - 1)], 0)


@dataclass
class Writer:
    """An adapter that makes `requests` requests of a message, and notes when it might write each."""

    requests: int = 1
    before: Callable[[], Awaitable[None]] | None = None
    wrote: list[float] = field(default_factory=list)
    asks_gate: bool = True

    async def send(self, message: Message) -> Outcome:
        for _ in range(self.requests):
            if self.before is not None:
                await self.before()
            await gate.about_to_write()
            self.wrote.append(time.monotonic())
        return Sent()

    async def close(self) -> None:
        return None


def paced(
    bench: Bench, loop: asyncio.AbstractEventLoop, writer: Writer, limiter: Unlimited, **policy: Any
) -> tuple[Desk, int]:
    """A desk whose popups have a pace, and the popup of one player."""
    bench.issue("p1")
    policies = {**POLICIES, "popup": replace(POLICY, **{"rate": 10, **policy})}
    *_, popup = planned(bench, "popup")
    return desk_of(bench, loop, {"popup": writer}, policies=policies, limiter=limiter), popup


def test_a_message_waits_for_its_moment_and_one_that_missed_it_for_another(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    began, writer = time.monotonic(), Writer()
    limiter = Scripted(missed, missed, within(0.2, 10))
    desk, popup = paced(bench, loop, writer, limiter)

    deliver(desk, "popup", [popup])

    assert limiter.asked == [(1, AHEAD), (1, LATE_AHEAD), (1, LATE_AHEAD)]
    assert writer.wrote[0] >= began + 0.2
    assert delivery(bench, popup).state == "sent"


def test_every_further_request_of_a_message_has_a_moment_of_its_own(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    writer = Writer(requests=2)
    desk, popup = paced(bench, loop, writer, Scripted(within(0, 10), within(0.2, 10)))

    deliver(desk, "popup", [popup])

    assert writer.wrote[1] - writer.wrote[0] >= 0.15


def test_the_moment_of_what_is_somebody_elses_by_now_goes_to_the_next(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p2", "p3", "p4", request_id="r-2")
    limiter = Scripted(lambda: Grant([ANY_MOMENT] * 2, 0))
    desk, _ = paced(bench, loop, Writer(), limiter, rate=0, slots=2)
    taken, *ours = planned(bench, "popup")
    deliver(desk, "popup", [taken])
    limiter.grants.append(lambda: Grant([ANY_MOMENT] * 2, 0))
    asked = len(limiter.asked)

    deliver(desk, "popup", [taken, *ours[:2]])

    assert len(limiter.asked) == asked + 1
    assert [delivery(bench, popup).state for popup in ours] == ["sent", "sent", "planned"]


def test_where_there_is_no_rate_nobody_is_asked_again(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    limiter = Scripted(lambda: Grant([ANY_MOMENT], 0))
    desk, popup = paced(bench, loop, Writer(requests=3), limiter, rate=0)

    deliver(desk, "popup", [popup])

    assert limiter.asked == [(1, AHEAD)]
    assert delivery(bench, popup).state == "sent"


def test_one_that_missed_its_moment_respects_a_hold_without_an_attempt(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    writer = Writer()
    desk, popup = paced(bench, loop, writer, Scripted(missed, lambda: Grant((), 4 * SECOND)))

    deliver(desk, "popup", [popup])

    row = delivery(bench, popup)
    assert (row.state, row.reason, row.due_at, row.attempts) == ("planned", LATE, NOW + 4 * SECOND, 0)
    assert (writer.wrote, attempted(bench, popup)) == ([], [])


def test_one_that_misses_moment_after_moment_is_given_back(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    writer = Writer()
    desk, popup = paced(bench, loop, writer, Scripted(*[missed] * MOMENTS))

    deliver(desk, "popup", [popup])

    row = delivery(bench, popup)
    assert (row.state, row.reason, row.due_at, row.attempts) == ("planned", LATE, NOW + SECOND, 0)
    assert writer.wrote == []


@pytest.mark.parametrize(("wait", "state"), [(0, "sent"), (700, "planned")])
def test_one_that_missed_its_moment_keeps_its_addresses_turn_or_waits_for_another(
    bench: Bench, loop: asyncio.AbstractEventLoop, wait: int, state: str
) -> None:
    limiter = Scripted(missed, within(0, 10))
    limiter.wait = wait
    desk, popup = paced(bench, loop, Writer(), limiter, per_address=SECOND)

    deliver(desk, "popup", [popup])

    claimed_by, asked_again_by = limiter.turns_asked
    assert claimed_by == asked_again_by
    row = delivery(bench, popup)
    assert (row.state, row.due_at) == (state, NOW + wait if wait else None)


@pytest.mark.parametrize("rate", [0, 10])
def test_what_has_not_begun_when_its_lease_ends_never_begins(
    bench: Bench, loop: asyncio.AbstractEventLoop, rate: float
) -> None:
    async def stopped_for_long() -> None:
        bench.clock.advance(POLICY.lease)

    writer = Writer(before=stopped_for_long)
    desk, popup = paced(bench, loop, writer, Scripted(within(0, 10)), rate=rate)

    deliver(desk, "popup", [popup])

    row = delivery(bench, popup)
    assert (row.state, row.reason, row.due_at, row.attempts) == ("planned", LATE, bench.clock(), 0)
    assert writer.wrote == []


@pytest.mark.anyio
@pytest.mark.parametrize("over", [0, 1])
async def test_a_send_that_might_outlive_its_lease_is_not_begun(over: int) -> None:
    dossier = SimpleNamespace(delivery=SimpleNamespace(channel="popup", attempted_at=NOW))
    desk = SimpleNamespace(policies={"popup": POLICY}, clock=lambda: NOW + LEASE_RESERVE + over)
    leave = Leave(cast("Desk", desk), cast("Any", dossier), ANY_MOMENT)

    if not over:
        await leave.approach()
        return
    with pytest.raises(Withheld):
        await leave.approach()


def test_what_waits_for_its_moment_at_a_stop_is_given_back(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    writer = Writer()
    limiter = Scripted()
    desk, popup = paced(bench, loop, writer, limiter)

    def far() -> Grant:
        desk.stopping.set()
        return within(60, 70)()

    limiter.grants.append(far)
    deliver(replace(desk, stop_grace=0), "popup", [popup])

    row = delivery(bench, popup)
    assert (row.state, row.reason, row.attempts, writer.wrote) == ("planned", "stopped", 0, [])
