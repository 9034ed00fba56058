"""Deliver: claim, send many at once, record what has arrived. Two transactions' worth of work in one:

    [tx: close what has arrived, claim what there are free slots for] -> gate, render, send on the event loop -> ...

No more is claimed than there are free slots, so what a crash leaves unknown is what was in flight.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

from promocast import gate, retry
from promocast.campaign import journey
from promocast.errors import LedgerUnavailable, Withheld
from promocast.flows import Ring, compose, outcomes, rules
from promocast.flows.compose import Dossier
from promocast.flows.fallback import FAILED, fire_failed
from promocast.flows.outcomes import Policy
from promocast.flows.rules import Planned
from promocast.flows.versions import Versions
from promocast.flows.watch import UNSURE, Watch
from promocast.ledger import Connection, Ledger, channels, codes, deliveries, events, players
from promocast.ledger.deliveries import Claimed, Closing
from promocast.ledger.engine import lock_players
from promocast.ledger.events import Event
from promocast.model import PLAYER_CHANNELS, SECOND, Channel, Clock, Failed, Instant, Message, Outcome, Rejected
from promocast.observe import log

# How long what has arrived may wait to be recorded with what arrives next, in seconds. A commit costs more than a send.
GATHER: Final = 0.01
# Between two looks whether the ledger is back, in seconds.
LEDGER_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Desk:
    """What delivering needs. `adapters` has those configured; once `stopping` is set nothing more is claimed."""

    ledger: Ledger
    ledger_id: str
    versions: Versions
    watch: Watch
    adapters: Mapping[str, Channel]
    endpoints: frozenset[str]
    policies: Mapping[str, Policy]
    loop: asyncio.AbstractEventLoop
    clock: Clock
    jitter: retry.Jitter
    ring: Ring
    stopping: threading.Event
    stop_grace: int


def deliver(desk: Desk, channel: str, ids: Sequence[int]) -> None:
    """Send those of `ids` that are due and nobody else's, as many at once as the channel has slots.

    Returns when all of them are closed, or when `desk.stopping` is set and what was in flight has landed or its grace
    has ended; what was not claimed by then stays due.
    """
    policy = desk.policies[channel]
    waiting, flight = deque(ids), _Flight()
    closings: list[Closing] = []
    while waiting or flight.open or closings:
        taken = [waiting.popleft() for _ in range(min(policy.slots - len(flight.open), len(waiting)))]
        dossiers = _turn(desk, channel, closings, taken)
        closings = []
        for dossier in dossiers:
            _launch(desk, flight, dossier, closings)
        if desk.stopping.is_set():
            closings += _last_landings(desk, flight)
            waiting.clear()
        elif flight.open and not closings:
            closings = [_closing(desk, dossier, outcome) for dossier, outcome in flight.landed(None)]


def _turn(desk: Desk, channel: str, closings: Sequence[Closing], ids: Sequence[int]) -> list[Dossier]:
    """One transaction: record what has arrived, claim what comes next. A ledger that is away is waited for: what has
    arrived is known nowhere else."""
    while True:
        try:
            with desk.ledger.begin() as conn:
                now = desk.clock()
                planned = _record(desk, conn, closings, now)
                dossiers, more = _claim(desk, conn, channel, ids, now)
        except LedgerUnavailable:
            log.warning("ledger_unavailable", channel=channel, unrecorded=len(closings))
            if desk.stopping.wait(LEDGER_PAUSE):
                raise
        else:
            rules.ring_due(desk.ring, planned + more, now)
            return dossiers


def _record(desk: Desk, conn: Connection, closings: Sequence[Closing], now: Instant) -> Planned:
    """Close attempts, and do what follows from how they ended: anchors, events, the deliveries to fall back on."""
    if not closings:
        return []
    closed = deliveries.close(conn, closings, now)
    sent = [c.delivery for c in closings if c.state == "sent" and c.delivery.id in closed]
    if sent:
        events.append(conn, Event("delivery.sent", now, subjects=sorted(delivery.id for delivery in sent)))
        _anchor(desk, conn, sorted({d.code_id for d in sent if d.channel in PLAYER_CHANNELS}), now)
    _tend_circuits(conn, closings, now)
    late = len(closings) - len(closed)
    if late:
        log.warning("late_outcomes", count=late)
    failed = [c.delivery.id for c in closings if c.delivery.id in closed and c.due_at is None and c.state in FAILED]
    return fire_failed(conn, deliveries.ended(conn, failed), desk.versions, now) if failed else []


def _tend_circuits(conn: Connection, closings: Sequence[Closing], now: Instant) -> None:
    """A channel whose provider refuses us for a fault of ours is halted, and goes on when a send succeeds."""
    for channel in {c.delivery.channel for c in closings if c.state == "sent"}:
        if channels.recover(conn, channel):
            log.warning("channel_recovered", channel=channel)
    for channel, why in {c.delivery.channel: c.reason or "" for c in closings if c.halted}.items():
        if channels.halt(conn, channel, why, now, now + retry.PROBE_AFTER_HALT):
            events.append(conn, Event("channel.halted", now, data={"channel": channel, "reason": why}))
            log.error("channel_halted", channel=channel, reason=why)


def _anchor(desk: Desk, conn: Connection, code_ids: Sequence[int], now: Instant) -> None:
    """Where a code's life begins when it is first sent, it begins now. Other codes are not written on a send."""
    for campaign_id, version, ids in codes.by_version(conn, code_ids):
        campaign = desk.versions.get(conn, campaign_id, version).campaign
        if campaign.code.valid_from == "sent":
            codes.set_expiry(conn, codes.mark_sent(conn, ids, now), journey.expiry(campaign, now))


def _claim(
    desk: Desk, conn: Connection, channel: str, ids: Sequence[int], now: Instant
) -> tuple[list[Dossier], Planned]:
    """Claim, and read all that sending needs. What must not be sent is closed here, in the same transaction."""
    ids = channels.admitted(conn, channel, ids, now, now + retry.PROBE_AFTER_HALT) if ids else ()
    if not ids:
        return [], []
    policy = desk.policies[channel]
    claimed = deliveries.claim(
        conn,
        ids,
        now=now,
        lease_until=now + policy.lease,
        resends=policy.resends,
        max_attempts=policy.max_attempts,
    )
    dossiers = _dossiers(desk, conn, claimed)
    withheld = {dossier.delivery.id: compose.withheld(dossier, now) for dossier in dossiers}
    skipped = [_withheld(d.delivery, why) for d in dossiers if (why := withheld[d.delivery.id])]
    planned = _record(desk, conn, skipped, now)
    return [dossier for dossier in dossiers if not withheld[dossier.delivery.id]], planned


def _withheld(delivery: Claimed, why: str) -> Closing:
    """A delivery that must not be sent (again): skipped, unless an earlier attempt may have arrived all the same."""
    return Closing(delivery, "unknown" if delivery.unknowns else "skipped", why, counts=False)


def _dossiers(desk: Desk, conn: Connection, claimed: Sequence[Claimed]) -> list[Dossier]:
    known = codes.by_ids(conn, sorted({delivery.code_id for delivery in claimed}))
    holder_ids = sorted({code.player_id for code in known.values() if code.player_id})
    lock_players(conn, holder_ids, shared=True)
    holders = players.by_ids(conn, holder_ids)
    causes = events.data_of(conn, sorted({d.event_id for d in claimed if d.event_id is not None}))
    found = []
    for delivery in claimed:
        code = known[delivery.code_id]
        version = desk.versions.get(conn, code.campaign_id, code.campaign_version)
        event = causes[delivery.event_id] if delivery.event_id else ("code.issued", code.issued_at, {})
        found.append(Dossier(delivery, code, version, holders.get(code.player_id or ""), event))
    return found


def _launch(desk: Desk, flight: _Flight, dossier: Dossier, closings: list[Closing]) -> None:
    made = compose.message(dossier, key_of(desk.ledger_id, dossier.delivery.id))
    if isinstance(made, Rejected):
        closings.append(_closing(desk, dossier, made))
        return
    adapter, message = made
    channel = desk.adapters.get(adapter)
    if channel is None or (adapter == "call" and message.address not in desk.endpoints):
        closings.append(Closing(dossier.delivery, "skipped", "not_configured", counts=False))
        return
    flight.launch(desk.loop, dossier, _send(desk, channel, message))


async def _send(desk: Desk, channel: Channel, message: Message) -> Outcome:
    """Send, with the gate asked once more by whoever writes the first byte: between the claim and that moment lie a
    queue, a connection and a handshake, and a player may have been excluded meanwhile."""
    if message.channel in PLAYER_CHANNELS:
        gate.CHECK.set(lambda: desk.watch.check(message.player_id, message.channel, desk.clock()))
    return await channel.send(message)


def _last_landings(desk: Desk, flight: _Flight) -> list[Closing]:
    """What still lands within the grace of a stop; the rest may or may not have been sent."""
    closings = []
    deadline = desk.clock() + desk.stop_grace
    while flight.open and (left := deadline - desk.clock()) > 0:
        closings += [_closing(desk, dossier, outcome) for dossier, outcome in flight.landed(left / SECOND)]
    for dossier, future in flight.open.values():
        future.cancel()
        closings.append(_closing(desk, dossier, Failed("stopped", maybe_sent=True)))
    flight.open.clear()
    return closings


def _closing(desk: Desk, dossier: Dossier, outcome: Outcome | Withheld) -> Closing:
    if isinstance(outcome, Withheld):
        if outcome.reason == UNSURE:
            return Closing(dossier.delivery, "planned", UNSURE, due_at=desk.clock() + SECOND, counts=False)
        return _withheld(dossier.delivery, outcome.reason)
    return outcomes.closing(
        dossier.delivery,
        outcome,
        desk.policies[dossier.delivery.channel],
        ends_at=dossier.code.expires_at,
        now=desk.clock(),
        jitter=desk.jitter,
    )


@dataclass(slots=True)
class _Flight:
    """What is under way: each delivery's future, and their ids in the order in which they arrive."""

    open: dict[int, tuple[Dossier, Future[Outcome]]] = field(default_factory=dict)
    arrived: SimpleQueue[int] = field(default_factory=SimpleQueue)

    def launch(self, loop: asyncio.AbstractEventLoop, dossier: Dossier, sending: Coroutine[Any, Any, Outcome]) -> None:
        delivery_id = dossier.delivery.id
        future = asyncio.run_coroutine_threadsafe(sending, loop)
        self.open[delivery_id] = (dossier, future)
        future.add_done_callback(lambda _: self.arrived.put(delivery_id))

    def landed(self, wait: float | None) -> list[tuple[Dossier, Outcome | Withheld]]:
        """What has arrived, once anything has: gathered until half of what is under way is there, or for GATHER.

        Empty where `wait` seconds pass without anything.
        """
        enough = (len(self.open) + 1) // 2
        ids: list[int] = []
        until = None
        while len(ids) < enough:
            try:
                ids.append(self.arrived.get(timeout=wait if until is None else max(0.0, until - time.monotonic())))
            except Empty:
                break
            until = until or time.monotonic() + GATHER
        return [(dossier, _outcome_of(future)) for dossier, future in map(self.open.pop, ids)]


def _outcome_of(future: Future[Outcome]) -> Outcome | Withheld:
    """An adapter raises nothing of its own, by contract. One that does, perhaps somebody else's, has hidden whether
    it sent. What the gate raises comes through every adapter."""
    if future.cancelled():
        return Failed("stopped", maybe_sent=True)
    error = future.exception()
    if isinstance(error, Withheld):
        return error
    if error is None:
        return future.result()
    log.error("adapter_raised", error=type(error).__name__)
    return Failed(f"raised {type(error).__name__}", maybe_sent=True)


def key_of(ledger_id: str, delivery_id: int) -> str:
    """What a delivery is called outside: the same on every attempt, unique over all ledgers, and without a dot."""
    return f"d-{ledger_id}-{delivery_id}"
