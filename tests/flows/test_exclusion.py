"""The exclusion service: asked for many players at once, believed for as long as its answer is young, and while it says
nothing nobody is sent to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from promocast import gate
from promocast.channels.outbox import Outbox
from promocast.errors import ExclusionUnavailable
from promocast.flows.deliver import deliver
from promocast.flows.desk import Desk
from promocast.flows.exclusion import ASK_AGAIN_AFTER, MOST_ASKED, Exclusions
from promocast.model import DAY, MINUTE, SECOND, Message, Outcome, Sent
from tests.conftest import StoppedClock
from tests.flows.conftest import Bench
from tests.flows.desk import Watchful, delivery, desk_of, planned, running_loop


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


@dataclass
class Register:
    """A service that excludes `names`, and keeps what it was asked. `away`: it does not answer."""

    names: set[str] = field(default_factory=set)
    away: bool = False
    asked: list[list[str]] = field(default_factory=list)

    async def excluded(self, player_ids: Sequence[str]) -> Collection[str]:
        self.asked.append(list(player_ids))
        if self.away:
            raise ExclusionUnavailable("connection refused")
        return self.names & set(player_ids)


def exclusions(
    register: Register, loop: asyncio.AbstractEventLoop, clock: StoppedClock, age: int = MINUTE
) -> Exclusions:
    return Exclusions(register, age, loop, clock)


def desk_with(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,
    register: Register,
    outbox: Outbox | None = None,
    age: int = MINUTE,
) -> tuple[Desk, Outbox]:
    outbox = outbox or Outbox()
    watch = Watchful(bench.ledger, bench.clock, exclusions(register, loop, bench.clock, age))
    return desk_of(bench, loop, dict.fromkeys(("popup", "email", "call"), outbox), watch=watch), outbox


def test_the_excluded_are_skipped_and_the_others_sent_to(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2", "p3")
    register = Register({"p2"})
    desk, outbox = desk_with(bench, loop, register)

    deliver(desk, "popup", planned(bench, "popup"))

    assert sorted(message.player_id for message in outbox.sent) == ["p1", "p3"]
    states = [(row.state, row.reason) for row in (delivery(bench, i) for i in planned(bench, "popup"))]
    assert sorted(states, key=str) == [("sent", None), ("sent", None), ("skipped", "player_excluded")]
    assert [sorted(ids) for ids in register.asked] == [["p1", "p2", "p3"]], "one question for all of them"


def test_an_answer_is_asked_for_once_and_again_before_it_is_too_old(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1", "p2")
    register = Register()
    desk, outbox = desk_with(bench, loop, register)

    deliver(desk, "popup", planned(bench, "popup"))
    bench.clock.advance(MINUTE // 2)
    deliver(desk, "email", planned(bench, "email")[:1])
    assert len(register.asked) == 1
    bench.clock.advance(MINUTE // 2)
    deliver(desk, "email", planned(bench, "email")[1:])

    assert len(register.asked) == 2
    assert len(outbox.sent) == 4


def test_while_it_says_nothing_nobody_is_sent_to_and_when_it_does_all_are(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1", "p2", "p3")
    register = Register({"p3"}, away=True)
    desk, outbox = desk_with(bench, loop, register)
    popups = planned(bench, "popup")

    for _ in range(20):
        deliver(desk, "popup", popups)
    assert outbox.sent == []
    assert {(row.state, row.attempts) for row in (delivery(bench, i) for i in popups)} == {("planned", 0)}
    assert len(register.asked) == 1, "left alone for a while"

    register.away = False
    bench.clock.advance(ASK_AGAIN_AFTER)
    deliver(desk, "popup", popups)
    assert sorted(message.player_id for message in outbox.sent) == ["p1", "p2"]


def test_calls_to_systems_are_made_whatever_it_says(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    [code] = bench.issue("p1")
    bench.deposit(promo_code=code.code)
    desk, outbox = desk_with(bench, loop, Register({"p1"}, away=True))

    deliver(desk, "call", planned(bench, "call"))

    assert [message.channel for message in outbox.sent] == ["call"]


def test_an_answer_that_grows_old_between_claim_and_first_byte_withholds_the_message(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    """Two popups, one at a time: while the first is sent the answers grow too old, and the service is gone."""
    bench.issue("p1", "p2")
    register = Register()

    def slowly(_: Message) -> Outcome:
        bench.clock.advance(MINUTE)
        register.away = True
        return Sent()

    outbox = Outbox(slowly)
    desk, _ = desk_with(bench, loop, register, outbox)

    deliver(desk, "popup", planned(bench, "popup"))

    assert len(outbox.sent) == 1
    kept = [row for row in (delivery(bench, i) for i in planned(bench, "popup")) if row.state != "sent"]
    assert [(row.state, row.attempts) for row in kept] == [("planned", 0)]


class WhileConnecting(Outbox):
    """An adapter that lets something happen between the claim and the first byte."""

    asks_gate = True

    def __init__(self, happening: Callable[[], object]) -> None:
        super().__init__()
        self._happening = happening

    async def send(self, message: Message) -> Outcome:
        self._happening()
        await gate.about_to_write()
        return await super().send(message)


def test_an_answer_that_is_too_old_at_the_first_byte_costs_no_attempt(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1")
    outbox = WhileConnecting(lambda: bench.clock.advance(2 * SECOND))
    desk, _ = desk_with(bench, loop, Register(), outbox, age=SECOND)

    deliver(desk, "popup", planned(bench, "popup"))

    [row] = [delivery(bench, i) for i in planned(bench, "popup")]
    assert outbox.sent == []
    assert (row.state, row.reason, row.attempts) == ("planned", "gate_unsure", 0)
    assert bench.clock() < row.due_at <= bench.clock() + SECOND


def test_what_has_lost_its_code_while_it_was_away_is_not_sent(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1")
    register = Register(away=True)
    desk, outbox = desk_with(bench, loop, register)
    deliver(desk, "popup", planned(bench, "popup"))

    bench.clock.advance(7 * DAY)
    register.away = False
    deliver(desk, "popup", planned(bench, "popup"))

    [row] = [delivery(bench, i) for i in planned(bench, "popup")]
    assert (row.state, row.reason, outbox.sent) == ("skipped", "expired", [])


def test_threads_that_want_the_same_players_ask_once(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    names = [f"p{i}" for i in range(20)]
    bench.issue(*names)
    register = Register()
    desk, outbox = desk_with(bench, loop, register)
    together = threading.Barrier(4)

    def send(channel: str) -> None:
        together.wait()
        deliver(desk, channel, planned(bench, channel))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, ("popup", "email", "popup", "email")))

    assert [sorted(asked) for asked in register.asked] == [sorted(names)]
    assert len(outbox.sent) == 40


def test_answers_that_have_ended_do_not_fill_the_memory(loop: asyncio.AbstractEventLoop, clock: StoppedClock) -> None:
    made = exclusions(Register(), loop, clock)

    for turn in range(5):
        made.known_among([f"{turn}-{i}" for i in range(100)])
        clock.advance(MINUTE // 2)

    assert len(made._answers) == 200


def test_many_players_are_asked_for_in_several_questions(loop: asyncio.AbstractEventLoop, clock: StoppedClock) -> None:
    register = Register()
    players = [f"p{i}" for i in range(MOST_ASKED * 2 + 1)]

    known = exclusions(register, loop, clock).known_among(players)

    assert known == set(players)
    assert [len(ids) for ids in register.asked] == [MOST_ASKED, MOST_ASKED, 1]


def test_an_old_answer_counts_for_nothing(loop: asyncio.AbstractEventLoop, clock: StoppedClock) -> None:
    made = exclusions(Register({"p1"}), loop, clock)
    made.known_among(["p1", "p2"])

    clock.advance(MINUTE - 1)
    assert (made.knows("p1"), made.excludes("p1"), made.excludes("p2")) == (True, True, False)
    clock.advance(1)
    assert not made.knows("p1")


def test_an_outage_is_told_once_and_its_end_too(loop: asyncio.AbstractEventLoop, clock: StoppedClock) -> None:
    register = Register(away=True)
    made = exclusions(register, loop, clock)

    with capture_logs() as told:
        for _ in range(3):
            made.known_among(["p1"])
            clock.advance(2 * SECOND)
        register.away = False
        made.known_among(["p1"])

    assert [line["event"] for line in told] == ["exclusion_unavailable", "exclusion_answers_again"]
