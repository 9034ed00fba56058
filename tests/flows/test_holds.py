"""Holds: who asks us to wait is waited for, and nobody else. A channel may lead to many providers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from promocast import jobs
from promocast.channels.outbox import Outbox
from promocast.flows.deliver import deliver
from promocast.limiter import SharedLimiter
from promocast.model import HOUR, MINUTE, SECOND, Deferred, Message, Outcome, PushSubscription, Sent, system_clock
from tests.conftest import StoppedClock
from tests.flows.conftest import CAMPAIGN, Bench, job_for
from tests.flows.desk import Unlimited, delivery, desk_of, planned, running_loop
from tests.flows.test_deliver import shown_by

PUSH_ONLY = CAMPAIGN.replace('send = ["popup", "email"]\nwhen_shown = "CODE_IS_SHOWN"', 'send = ["push"]')
BONUS_TOO = CAMPAIGN + '\n[[journey]]\non = "client_action"\naction = "CODE_IS_SHOWN"\ncall = "bonus-engine"\n'


class Holding(Unlimited):
    """A limiter whose holds hold, by a stopped clock."""

    def __init__(self, clock: StoppedClock) -> None:
        super().__init__()
        self._clock = clock

    def holds(self, accounts: Sequence[str]) -> list[int]:
        until = dict(self.held)
        return [max(0, until.get(account, 0) - self._clock()) for account in accounts]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def webpush(endpoint: str) -> dict[str, object]:
    return {"kind": "webpush", "subscription": {"endpoint": endpoint, "keys": {"p256dh": "BA", "auth": "AA"}}}


def issue_pushes(bench: Bench, *addresses: dict[str, object]) -> list[int]:
    """A player with these addresses; the ids of the deliveries, in their order."""
    bench.apply(PUSH_ONLY)
    job = job_for("p1")
    job["recipients"][0]["addresses"] = {"push": list(addresses)}
    part_id = bench.accept(jobs.read_issue_job(job)).part_id
    assert part_id is not None
    bench.issue_part(part_id)
    return planned(bench, "push")


def test_a_push_service_that_asks_to_wait_holds_neither_another_nor_fcm(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    ids = issue_pushes(
        bench, webpush("https://busy.example/1"), webpush("https://idle.example/1"), {"kind": "fcm", "token": "t"}
    )
    limiter, until = Holding(bench.clock), bench.clock() + MINUTE

    def answer(message: Message) -> Outcome:
        busy = isinstance(message.address, PushSubscription) and "busy" in message.address.endpoint
        return Deferred(until, "webpush 429", account=True) if busy else Sent()

    outbox = Outbox(answer)
    desk = desk_of(bench, loop, {"push.fcm": outbox, "push.webpush": outbox}, limiter=limiter)

    deliver(desk, "push", ids)

    assert [delivery(bench, i).state for i in ids] == ["planned", "sent", "sent"]
    assert limiter.held == [("push.webpush busy.example", until)]


def test_what_goes_to_a_push_service_on_hold_is_given_back_unsent_at_no_cost(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    ids = issue_pushes(bench, webpush("https://Busy.example/2"), webpush("https://idle.example/2"))
    limiter, outbox = Holding(bench.clock), Outbox()
    limiter.hold("push.webpush busy.example", bench.clock() + MINUTE)
    desk = desk_of(bench, loop, {"push.webpush": outbox}, limiter=limiter)

    deliver(desk, "push", ids)

    held, sent = delivery(bench, ids[0]), delivery(bench, ids[1])
    assert (held.state, held.attempts, held.reason, held.due_at) == ("planned", 0, "on hold", bench.clock() + MINUTE)
    assert (sent.state, len(outbox.sent)) == ("sent", 1)

    bench.clock.advance(MINUTE)
    deliver(desk, "push", ids)

    assert (delivery(bench, ids[0]).state, delivery(bench, ids[0]).attempts) == ("sent", 1)


def test_a_hold_is_not_waited_for_longer_than_the_code_lives(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    ids = issue_pushes(bench, webpush("https://busy.example/3"))
    bench.clock.advance(7 * 24 * HOUR - 30 * MINUTE)
    limiter = Holding(bench.clock)
    limiter.hold("push.webpush busy.example", bench.clock() + HOUR)

    deliver(desk_of(bench, loop, {"push.webpush": Outbox()}, limiter=limiter), "push", ids)

    assert delivery(bench, ids[0]).due_at == bench.clock() + 30 * MINUTE


def test_an_endpoint_that_asks_to_wait_holds_no_other(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.apply(BONUS_TOO)
    for code in bench.issue("p1"):
        shown_by(bench, code)
    limiter, until = Holding(bench.clock), bench.clock() + MINUTE
    calls = Outbox(lambda message: Deferred(until, "http 429", account=True) if message.address == "crm" else Sent())
    desk = desk_of(bench, loop, {"call": calls}, limiter=limiter)

    deliver(desk, "call", planned(bench, "call"))
    deliver(desk, "call", planned(bench, "call"))

    assert limiter.held == [("endpoints.crm", until)]
    assert sorted(delivery(bench, i).state for i in planned(bench, "call")) == ["planned", "sent"]


def test_holds_are_common_to_all_processes_and_end(queue_url: str) -> None:
    ours, theirs = SharedLimiter(queue_url, system_clock), SharedLimiter(queue_url, system_clock)
    ours.hold("push.webpush busy.example", system_clock() + MINUTE)

    busy, idle = theirs.holds(["push.webpush busy.example", "push.webpush idle.example"])

    assert MINUTE - 10 * SECOND < busy <= MINUTE
    assert idle == 0
    ours.close()
    theirs.close()


def test_without_the_common_clock_nobody_is_sent_to() -> None:
    away = SharedLimiter("redis://127.0.0.1:1/0", system_clock)

    assert away.holds(["endpoints.crm"]) == [SECOND]
    away.close()
