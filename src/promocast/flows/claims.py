"""The ledger's side of delivering: taking deliveries with all that sending them needs, and recording how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promocast import metrics, retry
from promocast.flows import aftermath, circuits, compose, control
from promocast.flows.compose import Dossier
from promocast.flows.desk import Desk
from promocast.flows.fallback import FAILED, fire_failed
from promocast.flows.leave import turn_lasts, turn_of
from promocast.flows.outcomes import Policy
from promocast.flows.rules import Planned
from promocast.ledger import Connection, channels, codes, deliveries, events, moves, players, suppressions
from promocast.ledger.codes import Code
from promocast.ledger.deliveries import Claimed, Closing
from promocast.model import DeliveryState, Instant
from promocast.observe import log


def record(desk: Desk, conn: Connection, closings: Sequence[Closing], now: Instant) -> Planned:
    """Close attempts, and do what follows from how they ended: anchors, events, the deliveries to fall back on."""
    if not closings:
        return []
    closed = deliveries.close(conn, closings, now)
    ours = [c for c in closings if c.delivery.id in closed]
    aftermath.sent(conn, desk.versions, [c.delivery for c in ours if c.state == "sent"], now)
    aftermath.suppress(conn, [(c.delivery, c.reason or "", c.opted_out) for c in ours if c.address_dead], now)
    _follow(conn, [c for c in ours if c.moved_to], now)
    circuits.tend(desk, conn, closings, now)
    late = len(closings) - len(closed)
    if late:
        log.warning("late_outcomes", count=late)
    failed = [c.delivery.id for c in ours if c.due_at is None and c.state in FAILED]
    return fire_failed(conn, deliveries.ended(conn, failed), desk.versions, now) if failed else []


def _follow(conn: Connection, closings: Sequence[Closing], now: Instant) -> None:
    """Keep where addresses have moved to."""
    known = codes.by_ids(conn, sorted({c.delivery.code_id for c in closings})) if closings else {}
    for closing in closings:
        old = aftermath.address_of(closing.delivery, known[closing.delivery.code_id])
        if isinstance(old, str) and closing.moved_to:
            moves.record(conn, closing.delivery.channel, old, closing.moved_to, now)


def opt_out(desk: Desk, closings: Sequence[Closing]) -> None:
    """Players who told the provider that they want no more. In a transaction of its own, and before the attempts are
    closed: a player is locked before their deliveries, never after. Repeating it changes nothing."""
    told = [closing.delivery for closing in closings if closing.opted_out]
    if not told:
        return
    with desk.ledger.begin() as conn:
        known = codes.by_ids(conn, sorted({delivery.code_id for delivery in told}))
        for player_id, channel in sorted({(known[d.code_id].player_id or "", d.channel) for d in told}):
            if player_id:
                aftermath.opt_out(conn, player_id, channel, "provider", desk.clock())


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
    metrics.SENDS.labels(channel, "withheld").inc(len(skipped))
    skipped += _out_of_turn(desk, policy, [d for d in dossiers if not withheld[d.delivery.id]], withheld, now)
    skipped += _held(conn, [d for d in dossiers if not withheld[d.delivery.id]], withheld, now)
    skipped += _shut_out(conn, [d for d in dossiers if not withheld[d.delivery.id]], withheld, now)
    planned = record(desk, conn, skipped, now)
    return [dossier for dossier in dossiers if not withheld[dossier.delivery.id]], planned


def _out_of_turn(
    desk: Desk, policy: Policy, dossiers: Sequence[Dossier], withheld: dict[int, Any], now: Instant
) -> list[Closing]:
    """Messages to an address that was sent to a moment ago; they are planned again, and added to `withheld`."""
    if not policy.per_address or not dossiers:
        return []
    channel, lasting = dossiers[0].delivery.channel, turn_lasts(policy.per_address)
    waits = desk.limiter.turns(channel, [turn_of(dossier) for dossier in dossiers], lasting)
    early = [(d.delivery, now + wait) for d, wait in zip(dossiers, waits, strict=True) if wait > 0]
    withheld.update({delivery.id: "out of turn" for delivery, _ in early})
    return [Closing(delivery, "planned", "out of turn", due_at=due_at, counts=False) for delivery, due_at in early]


def _shut_out(conn: Connection, dossiers: Sequence[Dossier], withheld: dict[int, Any], now: Instant) -> list[Closing]:
    """Calls to an endpoint that is stopped; they are planned again, and added to `withheld`."""
    held = circuits.held(conn, dossiers, now)
    withheld.update({closing.delivery.id: closing.reason for closing in held})
    return held


def _held(conn: Connection, dossiers: Sequence[Dossier], withheld: dict[int, Any], now: Instant) -> list[Closing]:
    """Messages of a campaign that is paused, planned again, and of a request that was cancelled; they are added to
    `withheld`."""
    held = control.held(conn, dossiers, now)
    withheld.update({closing.delivery.id: closing.reason for closing in held})
    return held


def closed_unsent(delivery: Claimed, state: DeliveryState, why: str) -> Closing:
    """A delivery that must not be sent (again); unknown, where an earlier attempt may have arrived all the same."""
    return Closing(delivery, "unknown" if delivery.unknowns else state, why, counts=False)


def _dossiers(desk: Desk, conn: Connection, claimed: Sequence[Claimed]) -> list[Dossier]:
    known = aftermath.holders(conn, claimed)
    holder_ids = sorted({code.player_id for code in known.values() if code.player_id})
    holders = players.by_ids(conn, holder_ids)
    causes = events.data_of(conn, sorted({d.event_id for d in claimed if d.event_id is not None}))
    digests = {d.id: (d.channel, _digest(d, known[d.code_id])) for d in claimed}
    suppressed = suppressions.among(
        conn, sorted({(c, digest) for c, digest in digests.values() if digest}), desk.clock()
    )
    found = []
    for delivery in claimed:
        code = known[delivery.code_id]
        version = desk.versions.get(conn, code.campaign_id, code.campaign_version)
        event = causes[delivery.event_id] if delivery.event_id else ("code.issued", code.issued_at, {})
        holder, why = holders.get(code.player_id or ""), suppressed.get(digests[delivery.id])
        excluded = desk.watch.exclusions is not None and desk.watch.exclusions.excludes(code.player_id or "")
        found.append(Dossier(delivery, code, version, holder, event, why, excluded))
    return found


def _digest(delivery: Claimed, code: Code) -> str:
    """What the delivery's address is suppressed by; empty for calls, and where there is no address."""
    address = aftermath.address_of(delivery, code)
    return "" if address is None else suppressions.digest(address)
