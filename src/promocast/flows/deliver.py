"""Deliver: claim, send many at once, record what has arrived. Two transactions' worth of work in one:

    [tx: close what has arrived, claim what there are free slots for] -> gate, render, send on the event loop -> ...

No more is claimed than there are free slots, so what a crash leaves unknown is what was in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, Final

from promocast import gate, metrics, progress
from promocast.errors import LedgerUnavailable, Withheld
from promocast.flows import AHEAD, Grant, Moment, claims, compose, outcomes, rules
from promocast.flows.compose import Dossier
from promocast.flows.desk import Desk
from promocast.flows.leave import STOPPED, Leave
from promocast.flows.outcomes import Policy
from promocast.ledger import deliveries
from promocast.ledger.deliveries import Closing
from promocast.model import PLAYER_CHANNELS, SECOND, Channel, Deferred, Failed, Message, Outcome, Rejected
from promocast.observe import log

# How long what has arrived may wait to be recorded with what arrives next, in seconds. A commit costs more than a send.
GATHER: Final = 0.01
# What a hold may take, in milliseconds, before a thread turns to other work.
LONGEST_PAUSE: Final = 1_500
NOTHING_ASKED: Final = Grant((), 0)
# How soon a stop is noticed while everything in flight hangs, in seconds.
STOP_NOTICED: Final = 0.3
# Between two looks whether the ledger is back, in seconds.
LEDGER_PAUSE: Final = 1.0


def deliver(desk: Desk, channel: str, ids: Sequence[int]) -> None:
    """Send those of `ids` that are due and nobody else's, as many at once as the channel has slots.

    Returns when all of them are closed, or when `desk.stopping` is set and what was in flight has landed or its grace
    has ended; what was not claimed by then stays due.
    """
    policy = desk.policies[channel]
    waiting, flight = deque(_due(desk, policy, ids)), _Flight()
    holders = _holders(desk, channel, waiting)
    closings: list[Closing] = []
    while waiting or flight.open or closings:
        progress.beat()
        if desk.stopping.is_set():
            waiting.clear()
        free = min(policy.slots - len(flight.open), len(waiting))
        if free and holders:
            waiting = _answered_for(desk, waiting, holders, free)
            free = min(free, len(waiting))
        grant = desk.limiter.take(channel, free, policy.rate, AHEAD) if free else NOTHING_ASKED
        if free and not grant.moments:
            metrics.LIMITER_WAITS.labels(channel).inc()
        dossiers, closings = _claimed(desk, channel, closings, waiting, len(grant.moments))
        for dossier, moment in zip(dossiers, grant.moments, strict=False):  # there may be moments left over
            _launch(desk, flight, dossier, closings, moment)
        if desk.stopping.is_set():
            closings += _last_landings(desk, flight)
        elif flight.open and not closings:
            wait = min(grant.more / SECOND, STOP_NOTICED) if waiting and len(grant.moments) < free else STOP_NOTICED
            closings = [_closing(desk, dossier, outcome) for dossier, outcome in flight.landed(wait)]
        elif free and not grant.moments and (grant.more > LONGEST_PAUSE or desk.stopping.wait(grant.more / SECOND)):
            waiting.clear()  # what is on hold for long stays due: the sweeper rings when its time has come


def _due(desk: Desk, policy: Policy, ids: Sequence[int]) -> Sequence[int]:
    """Where there is a pace, no moment is asked for in vain: much of what was rung for twice is sent already."""
    if not policy.rate:
        return ids
    try:
        with desk.ledger.read() as conn:
            return deliveries.due_among(conn, ids, desk.clock())
    except LedgerUnavailable:
        return ids  # the claim waits for it


def _holders(desk: Desk, channel: str, ids: Sequence[int]) -> dict[int, str]:
    """{delivery: player}, where an exclusion service is to be asked for them; empty where there is none.

    Raises:
        LedgerUnavailable: nothing has begun; the sweeper rings again.
    """
    if desk.watch.exclusions is None or channel not in PLAYER_CHANNELS:
        return {}
    with desk.ledger.read() as conn:
        return deliveries.holders(conn, ids)


def _answered_for(desk: Desk, waiting: deque[int], holders: Mapping[int, str], free: int) -> deque[int]:
    """What is left of `waiting` when the exclusion service has been asked: whoever it says nothing of is not claimed
    for and stays due, until the sweeper rings again. One question is for all, not only for the next `free`."""
    exclusions = desk.watch.exclusions
    if exclusions is None or exclusions.all_young(holders.get(i, "") for i in islice(waiting, free)):
        return waiting
    known = exclusions.known_among(holders.get(i, "") for i in waiting)
    return deque(i for i in waiting if holders.get(i, "") in known)


def _turn(desk: Desk, channel: str, closings: Sequence[Closing], ids: Sequence[int]) -> list[Dossier]:
    """One transaction: record what has arrived, claim what comes next. A ledger that is away is waited for: what has
    arrived is known nowhere else."""
    while closings or ids:
        try:
            claims.opt_out(desk, closings)
            with desk.ledger.begin() as conn:
                claims.hold_players(desk, conn, channel, closings, ids)
                now = desk.clock()
                planned = claims.record(desk, conn, closings, now)
                dossiers, more = claims.claim(desk, conn, channel, ids, now)
        except LedgerUnavailable as exc:
            progress.beat()
            metrics.LEDGER_WAITS.labels("deliver").inc()
            log.warning("ledger_unavailable", channel=channel, unrecorded=len(closings), error=exc)
            if desk.stopping.wait(LEDGER_PAUSE):
                raise
        else:
            rules.ring_due(desk.ring, planned + more, now)
            return dossiers
    return []


def _claimed(
    desk: Desk, channel: str, closings: Sequence[Closing], waiting: deque[int], moments: int
) -> tuple[list[Dossier], list[Closing]]:
    """As many as there are moments for. What turns out to be somebody else's leaves its moment to the next."""
    dossiers: list[Dossier] = []
    while True:
        ids = [waiting.popleft() for _ in range(min(moments - len(dossiers), len(waiting)))]
        mine, closings = _not_on_hold(desk, channel, _turn(desk, channel, closings, ids))
        dossiers += mine
        if not waiting or len(dossiers) == moments or desk.stopping.is_set():
            return dossiers, closings


def _not_on_hold(desk: Desk, channel: str, dossiers: list[Dossier]) -> tuple[list[Dossier], list[Closing]]:
    """Those that may be sent now, and how the others are given back: their endpoint or push service asked to wait. What
    holds the whole channel was seen before the claim."""
    accounts = {dossier.delivery.id: compose.account(dossier) for dossier in dossiers}
    asked = sorted(set(accounts.values()) - {channel})
    if not asked:
        return dossiers, []
    now = desk.clock()
    wait = {account: ms for account, ms in zip(asked, desk.limiter.holds(asked), strict=True) if ms > 0}
    held = {d.delivery.id: wait[accounts[d.delivery.id]] for d in dossiers if accounts[d.delivery.id] in wait}
    back = [
        outcomes.given_back(d.delivery, "on hold", now + held[d.delivery.id], d.ends_at)
        for d in dossiers
        if d.delivery.id in held
    ]
    return [dossier for dossier in dossiers if dossier.delivery.id not in held], back


def _launch(desk: Desk, flight: _Flight, dossier: Dossier, closings: list[Closing], moment: Moment) -> None:
    made = compose.message(dossier, desk.returns)
    if isinstance(made, Rejected):
        metrics.SENDS.labels(dossier.delivery.channel, "rejected").inc()
        closings.append(_closing(desk, dossier, made))
        return
    adapter, message = made
    channel = desk.adapters.get(adapter)
    if channel is None or (adapter == "call" and dossier.circuit not in desk.targets):
        metrics.SENDS.labels(dossier.delivery.channel, "withheld").inc()
        closings.append(outcomes.closed_unsent(dossier.delivery, "skipped", "not_configured"))
        return
    leave = Leave(desk, dossier, moment)
    flight.launch(desk.loop, dossier, leave, _send(leave, channel, message))


async def _send(leave: Leave, channel: Channel, message: Message) -> Outcome:
    """Send when its moment is near. Whoever writes the first byte waits for it, and asks the gate once more."""

    async def send() -> Outcome:
        if not getattr(channel, "asks_gate", False):
            await leave.begin()  # an adapter that does not ask by itself is taken to write as soon as it is called
        return await channel.send(message)

    await leave.approach()
    gate.GATE.set(leave)
    return await metrics.measured(message.channel, send())


def _last_landings(desk: Desk, flight: _Flight) -> list[Closing]:
    """What still lands within the grace of a stop. Of the rest, what has not begun is given back."""
    closings = []
    deadline = desk.clock() + desk.stop_grace
    while flight.open and (left := deadline - desk.clock()) > 0:
        closings += [_closing(desk, dossier, outcome) for dossier, outcome in flight.landed(left / SECOND)]
    for dossier, leave, future in flight.open.values():
        future.cancel()
        if leave.withdraw():
            closings.append(_closing(desk, dossier, Failed(STOPPED, maybe_sent=True)))
        else:
            closings.append(Closing(dossier.delivery, "planned", STOPPED, due_at=desk.clock(), counts=False))
    flight.open.clear()
    return closings


def _closing(desk: Desk, dossier: Dossier, outcome: Outcome | Withheld) -> Closing:
    if isinstance(outcome, Withheld):
        if outcome.again_in is None:
            return outcomes.closed_unsent(dossier.delivery, "skipped", outcome.reason)
        again_at = desk.clock() + outcome.again_in
        return outcomes.given_back(dossier.delivery, outcome.reason, again_at, dossier.ends_at)
    if isinstance(outcome, Deferred) and outcome.account:
        desk.limiter.hold(compose.account(dossier), outcome.until)
    closing = outcomes.closing(
        dossier.delivery,
        outcome,
        desk.policies[dossier.delivery.channel],
        ends_at=dossier.ends_at,
        now=desk.clock(),
        jitter=desk.jitter,
    )
    return replace(closing, circuit=dossier.circuit)


@dataclass(slots=True)
class _Flight:
    """What is under way: each delivery's leave and future, and their ids in the order in which they arrive."""

    open: dict[int, tuple[Dossier, Leave, Future[Outcome]]] = field(default_factory=dict)
    arrived: SimpleQueue[int] = field(default_factory=SimpleQueue)

    def launch(
        self,
        loop: asyncio.AbstractEventLoop,
        dossier: Dossier,
        leave: Leave,
        sending: Coroutine[Any, Any, Outcome],
    ) -> None:
        delivery_id = dossier.delivery.id
        future = asyncio.run_coroutine_threadsafe(sending, loop)
        self.open[delivery_id] = (dossier, leave, future)
        future.add_done_callback(lambda _: self.arrived.put(delivery_id))

    def landed(self, wait: float) -> list[tuple[Dossier, Outcome | Withheld]]:
        """What has arrived, once anything has: gathered until half of what is under way is there, or for GATHER.

        Empty where `wait` seconds pass without anything.
        """
        enough = (len(self.open) + 1) // 2
        ids: list[int] = []
        until: float | None = None
        while len(ids) < enough:
            try:
                ids.append(self.arrived.get(timeout=wait if until is None else max(0.0, until - time.monotonic())))
            except Empty:
                break
            until = until or time.monotonic() + GATHER
        return [(dossier, _outcome_of(future)) for dossier, _, future in map(self.open.pop, ids)]


def _outcome_of(future: Future[Outcome]) -> Outcome | Withheld:
    """An adapter raises nothing of its own, by contract. One that does, perhaps somebody else's, has hidden whether
    it sent. What the gate raises comes through every adapter."""
    if future.cancelled():
        return Failed(STOPPED, maybe_sent=True)
    error = future.exception()
    if isinstance(error, Withheld):
        return error
    if error is None:
        return future.result()
    log.error("adapter_raised", error=error)
    return Failed(f"raised {type(error).__name__}", maybe_sent=True)
