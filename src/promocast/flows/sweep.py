"""Sweep: re-read the book and ring again for whatever is due. Two sweepers may run; they take different rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from promocast import jobs, retry
from promocast.campaign.journey import Cause
from promocast.flows import Ring, outcomes, rules, show
from promocast.flows.fallback import fire_failed
from promocast.flows.outcomes import Policy
from promocast.flows.rules import Fired, Planned
from promocast.flows.versions import Versions
from promocast.ledger import Connection, Ledger, channels, codes, deliveries, deposits, events, requests
from promocast.ledger.deliveries import Due
from promocast.ledger.events import Event
from promocast.model import CHANNELS, Clock, Instant
from promocast.settings import SweepSettings


@dataclass(frozen=True, slots=True)
class Swept:
    """What one pass found."""

    parts: int
    deliveries: int
    deposits: int
    leases_ended: int
    given_up: int
    expired: int
    early: int


def sweep(
    ledger: Ledger,
    *,
    settings: SweepSettings,
    versions: Versions,
    policies: Mapping[str, Policy],
    clock: Clock,
    jitter: retry.Jitter,
    ring: Ring,
    short: Callable[[str], bool],
) -> Swept:
    """One pass.

    Args:
        short: whether a queue's list is so short that ringing cannot pile up. The list, not the messages that
            workers hold: what a dead worker had hoarded looks like work for minutes.
    """
    now = clock()
    leases_ended = _end_leases(ledger, policies, now, jitter, settings.batch)
    expired, planned = _expire(ledger, versions, now, settings.batch)
    rules.ring_due(ring, planned, now)
    early = show.settle_early(ledger, now, settings.batch, versions=versions, ring=ring)
    before = now - settings.ring_after
    with ledger.read() as conn:
        parts = requests.due(conn, before, settings.batch)
        waiting = _waiting(conn, before, settings.batch)
        unjudged = deposits.due(conn, before, settings.batch)
        standing = channels.states(conn)
    hopeless = [
        d.id for d in waiting if d.state == "unknown" and not policies[d.channel].may_resend(d.attempts, d.unknowns)
    ]
    given_up, planned = _give_up(ledger, hopeless, versions, now)
    rules.ring_due(ring, planned, now)
    kept = set(hopeless)
    by_queue: dict[str, list[int | str]] = {jobs.ISSUE: [*parts], jobs.VERIFY: [*unjudged]}
    for delivery in waiting:
        if delivery.id not in kept and not channels.closed(standing, delivery.channel, now):
            by_queue.setdefault(f"deliver.{delivery.channel}", []).append(delivery.id)
    for queue, ids in by_queue.items():
        if ids and short(queue):
            ring(queue, ids)
    return Swept(len(parts), len(waiting), len(unjudged), leases_ended, given_up, expired, early)


def _waiting(conn: Connection, before: Instant, limit: int) -> list[Due]:
    """What waits for a sender, longest first. No channel is left out because of another's backlog, which may stay long:
    the channel is paused, or the exclusion service away."""
    found = deliveries.due(conn, before, limit)
    if len(found) < limit:
        return found
    crowded_out = [channel for channel in CHANNELS if channel not in {delivery.channel for delivery in found}]
    return found + deliveries.due(conn, before, limit, crowded_out)


def _end_leases(ledger: Ledger, policies: Mapping[str, Policy], now: Instant, jitter: retry.Jitter, limit: int) -> int:
    """A lease that ends with an open attempt: its sender died, and nobody knows what the provider has."""
    with ledger.read() as conn:
        if not deliveries.overdue_leases(conn, now, 1, lock=False):
            return 0
    with ledger.begin() as conn:
        overdue = deliveries.overdue_leases(conn, now, limit)
        closings = [outcomes.unknown(d, "lease_ended", policies[d.channel], now=now, jitter=jitter) for d in overdue]
        return len(deliveries.close(conn, closings, now))


def _give_up(ledger: Ledger, ids: list[int], versions: Versions, now: Instant) -> tuple[int, Planned]:
    """Evidence was waited for long enough: what is unknown stays so, and the journey falls back on other channels."""
    if not ids:
        return 0, []
    with ledger.begin() as conn:
        given_up = deliveries.give_up(conn, ids, now)
        return len(given_up), fire_failed(conn, deliveries.ended(conn, given_up), versions, now)


def _expire(ledger: Ledger, versions: Versions, now: Instant, limit: int) -> tuple[int, Planned]:
    """Record `code.expired` for codes whose end has come unused, and plan the rules that wait for it; how many there
    were. The event gates nothing: times do."""
    with ledger.read() as conn:
        if not codes.any_ended(conn, now):
            return 0, []
    with ledger.begin() as conn:
        ended = codes.take_expired(conn, now, limit)
        unused = [
            code
            for code in ended
            if code.revoked_at is None and (code.max_redemptions is None or code.redeemed < code.max_redemptions)
        ]
        fired = []
        for code in unused:
            event = Event("code.expired", code.expires_at or now, code.campaign_id, code.id)
            campaign = versions.get(conn, code.campaign_id, code.campaign_version).campaign
            event_id = events.append(conn, event)
            cause = Cause("code.expired")
            fired.append(Fired(campaign, code.id, code.recipient, cause, event_id, at=event.at))
        return len(unused), rules.fire(conn, fired, now)
