"""A desk for tests that deliver: adapters that keep what they are given, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select, update

from promocast.channels.outbox import Outbox
from promocast.flows import ANY_MOMENT, Grant
from promocast.flows.desk import Desk
from promocast.flows.outcomes import Policy
from promocast.flows.watch import Watch
from promocast.ledger import deliveries, migrate, schema
from promocast.ledger.codes import Code
from promocast.model import CHANNELS, MINUTE, SECOND, Channel, Clock, Instant
from promocast.returns import Returns
from tests.flows.conftest import Bench

POLICY = Policy(slots=4, lease=15 * SECOND, max_attempts=3, unknown="resend", unknown_after=15 * MINUTE)
# Where a test does not say otherwise: the unknown policies of the shipped settings.
POLICIES: Mapping[str, Policy] = {
    **dict.fromkeys(CHANNELS, POLICY),
    "email": replace(POLICY, unknown="once"),
    "sms": replace(POLICY, unknown="wait"),
}


@contextmanager
def running_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_end_the_others(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_the_others() -> None:
    """What was withdrawn at a stop may not have heard of it yet, and a loop that is closed would never tell it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def desk_of(
    bench: Bench, loop: asyncio.AbstractEventLoop, adapters: Mapping[str, Channel] | None = None, **changes: Any
) -> Desk:
    """A desk on the bench's ledger and stopped clock; without `adapters` every channel has an outbox."""
    desk = Desk(
        ledger=bench.ledger,
        returns=returns_of(bench),
        versions=bench.versions,
        watch=Watchful(bench.ledger, changes.get("clock", bench.clock)),
        adapters=dict.fromkeys(CHANNELS, Outbox()) if adapters is None else adapters,
        targets=dict.fromkeys(("popup", "endpoints.crm", "endpoints.bonus-engine"), "digest"),
        policies=POLICIES,
        loop=loop,
        clock=bench.clock,
        jitter=no_jitter,
        ring=bench.ring,
        limiter=Unlimited(),
        stopping=threading.Event(),
        stop_grace=8 * SECOND,
    )
    return replace(desk, **changes)


def returns_of(bench: Bench) -> Returns:
    own = migrate.identity(bench.ledger)
    return Returns(own.ledger_id, own.secret, "https://promo.example.com")


class Watchful(Watch):
    """A watch that looks whenever it is asked: what the thread of a real one does in time, whatever the clock says."""

    def check(self, code: Code, channel: str, now: Instant) -> None:
        self.look()
        super().check(code, channel, self._looked_at)


class Unlimited:
    """A limiter of providers that take everything at once."""

    def __init__(self) -> None:
        self.held: list[tuple[str, int]] = []

    def take(self, account: str, wanted: int, rate: float, ahead: int) -> Grant:
        return Grant([ANY_MOMENT] * wanted, 0)

    def hold(self, account: str, until: int) -> None:
        self.held.append((account, until))

    def holds(self, accounts: Sequence[str]) -> list[int]:
        return [0] * len(accounts)

    def turns(self, account: str, turns: Sequence[tuple[str, str]], interval: int) -> list[int]:
        return [0] * len(turns)


def no_jitter() -> float:
    return 0.0


def running(since: Instant) -> Clock:
    """A clock that runs, from the bench's moment on."""
    started = time.monotonic()
    return lambda: since + round((time.monotonic() - started) * SECOND)


def planned(bench: Bench, channel: str) -> list[int]:
    """The row ids of all deliveries on a channel."""
    d = schema.deliveries.c
    with bench.ledger.read() as conn:
        return list(conn.execute(select(d.id).where(d.channel == channel).order_by(d.id)).scalars())


def delivery(bench: Bench, delivery_id: int) -> Row[Any]:
    with bench.ledger.read() as conn:
        return conn.execute(select(schema.deliveries).where(schema.deliveries.c.id == delivery_id)).one()


def attempted(bench: Bench, delivery_id: int) -> list[tuple[int, str, str]]:
    """[(number, outcome, reason)] of the attempts of a delivery that did not end well."""
    code_id = delivery(bench, delivery_id).code_id
    with bench.ledger.read() as conn:
        [told] = [entry for entry in deliveries.history(conn, code_id) if entry["id"] == delivery_id]
    tried: Any = told["attempted"]
    return [(attempt["number"], attempt["outcome"], attempt["reason"]) for attempt in tried]


def revoke(bench: Bench, code_id: int) -> None:
    with bench.ledger.begin() as conn:
        conn.execute(update(schema.codes).where(schema.codes.c.id == code_id).values(revoked_at=bench.clock()))
