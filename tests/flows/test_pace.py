"""The pace at the provider's socket, while what lies between a moment and the first byte takes its time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_network

import pytest
from pydantic import SecretStr

from promocast.channels.http import Http
from promocast.channels.signed_post import Popup
from promocast.flows import AHEAD, Grant
from promocast.flows.deliver import deliver
from promocast.flows.desk import Desk
from promocast.flows.leave import LATE
from promocast.flows.watch import Watch
from promocast.limiter import SharedLimiter
from promocast.model import SECOND, Message, Outcome, system_clock
from promocast.settings import PopupSettings
from tests.e2e.harness import eventually
from tests.flows.conftest import Bench
from tests.flows.desk import POLICIES, POLICY, Watchful, delivery, desk_of, planned, running, running_loop
from tests.meter import meter

RATE = 100
SECRET = SecretStr("whsec_" + "AAAA" * 8)


class Stutters(Popup):
    """A popup channel whose event loop stands still now and then, for 200 ms."""

    sends = 0

    async def send(self, message: Message) -> Outcome:
        self.sends += 1
        if self.sends % 25 == 0:
            time.sleep(0.2)  # noqa: ASYNC251 - that is what it is to stutter
        return await super().send(message)


class SlowClaims(SharedLimiter):
    """A limiter after whose answer, now and then, 300 ms pass: as where a claim takes so long."""

    taken = 0

    def take(self, account: str, wanted: int, rate: float, ahead: int = AHEAD) -> Grant:
        grant = super().take(account, wanted, rate, ahead)
        if grant.moments and ahead == AHEAD:
            self.taken += 1
            if self.taken % 5 == 1:
                time.sleep(0.3)
        return grant


@contextmanager
def sender(
    bench: Bench,
    url: str,
    queue_url: str,
    channel: type[Popup] = Popup,
    limiter: type[SharedLimiter] = SharedLimiter,
) -> Iterator[Desk]:
    """What a process has that sends popups to `url`: an event loop, connections, a limiter."""
    with running_loop() as loop, ExitStack() as stack:

        async def open_() -> tuple[Http, Popup]:
            http = Http()
            settings = PopupSettings(url=url, secrets=(SECRET,), allow_private=(ip_network("127.0.0.1/32"),))
            return http, channel(settings, http, system_clock)

        http, popup = asyncio.run_coroutine_threadsafe(open_(), loop).result(5)
        stack.callback(lambda: asyncio.run_coroutine_threadsafe(http.close(), loop).result(5))
        shared = limiter(queue_url, system_clock)
        stack.callback(shared.close)
        watch, ended = Watch(bench.ledger, bench.clock), threading.Event()
        watch.look()
        stack.callback(ended.set)
        policies = {**POLICIES, "popup": replace(POLICY, slots=25, rate=RATE)}
        yield desk_of(bench, loop, {"popup": popup}, watch=watch, limiter=shared, policies=policies)


def at_once(*work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(each) for each in work]:
            done.result(60)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("channel", "limiter"), [(Stutters, SharedLimiter), (Popup, SlowClaims)], ids=["loop blocked", "claim slow"]
)
def test_no_second_at_the_provider_holds_more_than_the_rate(
    bench: Bench, queue_url: str, channel: type[Popup], limiter: type[SharedLimiter]
) -> None:
    bench.issue(*(f"p{i}" for i in range(250)))
    ids = planned(bench, "popup")

    with (
        meter() as measured,
        sender(bench, measured.url, queue_url, channel, limiter) as one,
        sender(bench, measured.url, queue_url) as other,
    ):
        at_once(lambda: deliver(one, "popup", ids[::2]), lambda: deliver(other, "popup", ids[1::2]))

    ended = Counter((row.state, row.reason) for row in (delivery(bench, i) for i in ids))
    assert ended.keys() <= {("sent", None), ("planned", LATE)}, "what missed too many moments waits, unharmed"
    assert len(measured.at) == ended["sent", None]
    assert measured.fullest_second <= RATE


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_two_messages_to_one_address_are_so_far_apart_at_the_provider(bench: Bench, queue_url: str) -> None:
    apart = 400
    for request_id in ("r-1", "r-2"):
        bench.issue("p1", request_id=request_id)
    ids = planned(bench, "popup")

    with meter() as measured, sender(bench, measured.url, queue_url) as one:
        clock = running(bench.clock())
        policies = {"popup": replace(one.policies["popup"], per_address=apart)}
        desk = replace(one, policies=policies, clock=clock, watch=Watchful(bench.ledger, clock))
        one.limiter.take("popup", 100, RATE, AHEAD)  # so that the first waits for its moment after its claim

        def both_are_sent() -> bool:
            deliver(desk, "popup", ids)
            return all(delivery(bench, i).state == "sent" for i in ids)

        eventually("both sent", both_are_sent, 10)

    assert measured.at[1] - measured.at[0] >= apart / SECOND
