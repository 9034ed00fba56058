"""The ledger's side of delivering: taking deliveries with all that sending them needs, and recording how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from promocast import retry
from promocast.campaign import journey
from promocast.flows import compose
from promocast.flows.compose import Dossier
from promocast.flows.desk import Desk
from promocast.flows.fallback import FAILED, fire_failed
from promocast.flows.outcomes import Policy
from promocast.flows.rules import Planned
from promocast.ledger import Connection, channels, codes, deliveries, events, players, suppressions
from promocast.ledger.deliveries import Claimed, Closing
from promocast.ledger.engine import lock_players
from promocast.ledger.events import Event
from promocast.model import DAY, PLAYER_CHANNELS, DeliveryState, Instant
from promocast.observe import log

# How long a dead address is left alone: numbers and mailboxes are given to somebody else in time.
SUPPRESSED_FOR: Final = 180 * DAY


def record(desk: Desk, conn: Connection, closings: Sequence[Closing], now: Instant) -> Planned:
    """Close attempts, and do what follows from how they ended: anchors, events, the deliveries to fall back on."""
    if not closings:
        return []
    closed = deliveries.close(conn, closings, now)
    sent = [c.delivery for c in closings if c.state == "sent" and c.delivery.id in closed]
    if sent:
        events.append(conn, Event("delivery.sent", now, subjects=sorted(delivery.id for delivery in sent)))
        _anchor(desk, conn, sorted({d.code_id for d in sent if d.channel in PLAYER_CHANNELS}), now)
    _suppress(conn, [c for c in closings if c.address_dead and c.delivery.id in closed], now)
    _tend_circuits(conn, closings, now)
    late = len(closings) - len(closed)
    if late:
        log.warning("late_outcomes", count=late)
    failed = [c.delivery.id for c in closings if c.delivery.id in closed and c.due_at is None and c.state in FAILED]
    return fire_failed(conn, deliveries.ended(conn, failed), desk.versions, now) if failed else []


def _suppress(conn: Connection, closings: Sequence[Closing], now: Instant) -> None:
    """An address at which nothing arrives is not tried by the next campaign either."""
    known = codes.by_ids(conn, sorted({c.delivery.code_id for c in closings})) if closings else {}
    for closing in closings:
        address = compose.address_digest(closing.delivery, known[closing.delivery.code_id])
        if address is not None:
            suppressions.suppress(conn, *address, closing.reason or "", now, now + SUPPRESSED_FOR)


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


def claim(
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
    skipped = [closed_unsent(d.delivery, *how) for d in dossiers if (how := withheld[d.delivery.id])]
    skipped += _out_of_turn(desk, policy, [d for d in dossiers if not withheld[d.delivery.id]], withheld, now)
    planned = record(desk, conn, skipped, now)
    return [dossier for dossier in dossiers if not withheld[dossier.delivery.id]], planned


def _out_of_turn(
    desk: Desk, policy: Policy, dossiers: Sequence[Dossier], withheld: dict[int, Any], now: Instant
) -> list[Closing]:
    """Messages to an address that was sent to a moment ago; they are planned again, and added to `withheld`."""
    if not policy.per_address or not dossiers:
        return []
    addresses = [compose.address_digest(d.delivery, d.code) or ("", str(d.delivery.id)) for d in dossiers]
    waits = desk.limiter.turns(dossiers[0].delivery.channel, [digest for _, digest in addresses], policy.per_address)
    early = [(d.delivery, now + wait) for d, wait in zip(dossiers, waits, strict=True) if wait > 0]
    withheld.update({delivery.id: "out of turn" for delivery, _ in early})
    return [Closing(delivery, "planned", "out of turn", due_at=due_at, counts=False) for delivery, due_at in early]


def closed_unsent(delivery: Claimed, state: DeliveryState, why: str) -> Closing:
    """A delivery that must not be sent (again); unknown, where an earlier attempt may have arrived all the same."""
    return Closing(delivery, "unknown" if delivery.unknowns else state, why, counts=False)


def _dossiers(desk: Desk, conn: Connection, claimed: Sequence[Claimed]) -> list[Dossier]:
    known = codes.by_ids(conn, sorted({delivery.code_id for delivery in claimed}))
    holder_ids = sorted({code.player_id for code in known.values() if code.player_id})
    lock_players(conn, holder_ids, shared=True)
    holders = players.by_ids(conn, holder_ids)
    causes = events.data_of(conn, sorted({d.event_id for d in claimed if d.event_id is not None}))
    addresses = {delivery.id: compose.address_digest(delivery, known[delivery.code_id]) for delivery in claimed}
    suppressed = suppressions.among(conn, sorted({a for a in addresses.values() if a}), desk.clock())
    found = []
    for delivery in claimed:
        code = known[delivery.code_id]
        version = desk.versions.get(conn, code.campaign_id, code.campaign_version)
        event = causes[delivery.event_id] if delivery.event_id else ("code.issued", code.issued_at, {})
        holder, why = holders.get(code.player_id or ""), suppressed.get(addresses[delivery.id] or ("", ""))
        found.append(Dossier(delivery, code, version, holder, event, why))
    return found
