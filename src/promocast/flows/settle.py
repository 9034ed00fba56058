"""Settle: what providers tell later, in whatever order and however often, becomes what is known of a delivery, of an
address, and of what its owner wants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promocast import retry
from promocast.flows import Ring, aftermath, circuits, onward, rules
from promocast.flows.fallback import FAILED, fire_failed
from promocast.flows.outcomes import Policy
from promocast.flows.rules import Planned
from promocast.flows.versions import Versions
from promocast.ledger import Connection, Ledger, codes, deliveries, events, evidence, moves, suppressions
from promocast.ledger.events import Event
from promocast.ledger.evidence import Settled
from promocast.model import Instant, Moved, Reachability, Report, Told
from promocast.returns import Returns


@dataclass(frozen=True, slots=True)
class Settling:
    """What settling works with."""

    ledger: Ledger
    returns: Returns
    policies: Mapping[str, Policy]
    versions: Versions
    jitter: retry.Jitter
    ring: Ring


def settle(settling: Settling, channel: str, told: Sequence[Told], now: Instant) -> int:
    """Record what the provider of `channel` tells; how many deliveries have another state for it."""
    changed = 0
    for one in told:
        match one:
            case Report():
                changed += _report(settling, channel, one, now)
            case Reachability():
                with settling.ledger.begin() as conn:
                    _reachability(conn, one, now)
            case Moved(of, old, new):
                with settling.ledger.begin() as conn:
                    moves.record(conn, of, old, new, now)
    return changed


def unsubscribe(ledger: Ledger, delivery_id: int, now: Instant) -> bool:
    """The player whom this delivery went to wants no more on its channel. False where there is no such delivery."""
    with ledger.begin() as conn:
        return _opt_out(conn, delivery_id, "unsubscribe", now)


def _report(settling: Settling, channel: str, report: Report, now: Instant) -> bool:
    delivery_id = settling.returns.delivery_of(report.key)
    if delivery_id is None:
        return False
    if report.opted_out:  # by itself, and first: a player is locked before their deliveries
        with settling.ledger.begin() as conn:
            _opt_out(conn, delivery_id, "provider", now)
    with settling.ledger.begin() as conn:
        one = evidence.settle(
            conn,
            delivery_id,
            "planned" if report.says == "again" else report.says,
            now,
            channel=channel,
            reason=report.why,
            ref=report.ref,
            again_at=retry.next_due(now, 1, settling.jitter),
            max_attempts=settling.policies[channel].max_attempts,
        )
        if one is None:
            return False
        planned = _follow(conn, one, report, settling.versions, now)
    rules.ring_due(settling.ring, planned, now)
    return one.state != one.was


def _follow(conn: Connection, one: Settled, report: Report, versions: Versions, now: Instant) -> Planned:
    """What follows from a report. Of the address it is true whatever became of the delivery."""
    if report.address_dead:
        aftermath.suppress(conn, [(one, report.why or "", report.opted_out)], now)
    if one.state == one.was:
        return []
    if report.halted:
        circuits.halt(conn, one.channel, report.why or "", now)
    codes.hold(conn, [one.code_id])  # for its events are numbered
    planned: Planned = []
    if one.state in ("sent", "delivered") and one.was != "sent":
        planned += aftermath.sent(conn, versions, [one], now)
    if one.state == "delivered":
        campaign_id = codes.by_ids(conn, [one.code_id])[one.code_id].campaign_id
        event = Event("delivery.delivered", now, campaign_id, one.code_id, {"channel": one.channel})
        planned += onward.fire(conn, "delivery.delivered", {one.id: events.append(conn, event)}, versions, now)
    return planned + (fire_failed(conn, deliveries.ended(conn, [one.id]), versions, now) if one.state in FAILED else [])


def _reachability(conn: Connection, told: Reachability, now: Instant) -> None:
    digest, at = suppressions.digest(told.address), min(told.at or now, now)
    if told.reachable:
        suppressions.lift(conn, told.channel, digest, told.why, at)
    else:
        suppressions.suppress(conn, told.channel, digest, told.why, at, None)


def _opt_out(conn: Connection, delivery_id: int, via: str, now: Instant) -> bool:
    found = deliveries.ended(conn, [delivery_id])
    if not found:
        return False
    player_id = codes.by_ids(conn, [found[0].code_id])[found[0].code_id].player_id
    if player_id is not None:
        aftermath.opt_out(conn, player_id, found[0].channel, via, now)
    return True
