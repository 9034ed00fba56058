"""The ledger's side of delivering: taking deliveries with all that sending them needs, and recording how they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from promocast import metrics, retry
from promocast.campaign import quiet
from promocast.flows import aftermath, circuits, compose, control, outcomes, postpone
from promocast.flows.compose import Dossier
from promocast.flows.desk import Desk
from promocast.flows.fallback import fire_failed, is_failure
from promocast.flows.leave import turn_lasts, turn_of
from promocast.flows.outcomes import Policy
from promocast.flows.rules import Planned
from promocast.ledger import Connection, channels, codes, contacts, deliveries, events, moves, players, suppressions
from promocast.ledger.codes import Code
from promocast.ledger.deliveries import Claimed, Closing
from promocast.ledger.engine import lock_players
from promocast.model import Instant
from promocast.observe import log

Told = tuple[str, Instant, dict[str, Any]]  # an event's type, when it was, and its data


def record(desk: Desk, conn: Connection, closings: Sequence[Closing], now: Instant) -> Planned:
    """Close attempts, and do what follows from how they ended: anchors, events, the deliveries to fall back on."""
    if not closings:
        return []
    closed = deliveries.close(conn, closings, now)
    ours = [c for c in closings if c.delivery.id in closed]
    planned = aftermath.sent(conn, desk.versions, [c.delivery for c in ours if c.state == "sent"], now)
    aftermath.suppress(conn, [(c.delivery, c.reason or "", c.opted_out) for c in ours if c.address_dead], now)
    _follow(conn, [c for c in ours if c.moved_to], now)
    circuits.tend(desk, conn, closings, now)
    late = len(closings) - len(closed)
    if late:
        log.warning("late_outcomes", count=late)
    failed = [c.delivery.id for c in ours if c.due_at is None and is_failure(c.state, c.reason)]
    return planned + (fire_failed(conn, deliveries.ended(conn, failed), desk.versions, now) if failed else [])


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
    dossiers = _dossiers(desk, conn, claimed, now)
    withheld = {dossier.delivery.id: compose.withheld(dossier, now) for dossier in dossiers}
    skipped = [outcomes.closed_unsent(d.delivery, *how) for d in dossiers if (how := withheld[d.delivery.id])]
    metrics.SENDS.labels(channel, "withheld").inc(len(skipped))
    left = [d for d in dossiers if not withheld[d.delivery.id]]
    skipped += _put_off(withheld, control.held(conn, left, now))
    left = [d for d in left if not withheld[d.delivery.id]]
    skipped += _put_off(withheld, postpone.until_morning(left, now))
    skipped += _out_of_turn(desk, policy, [d for d in left if not withheld[d.delivery.id]], withheld, now)
    left = [d for d in left if not withheld[d.delivery.id]]
    skipped += _put_off(withheld, circuits.held(conn, left, now))
    # The last: whoever is counted here goes.
    left = [d for d in left if not withheld[d.delivery.id]]
    skipped += _put_off(withheld, postpone.over_the_cap(conn, desk, left, withheld.keys(), now))
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


def _put_off(withheld: dict[int, Any], closings: list[Closing]) -> list[Closing]:
    """The closings of what has to wait, once it is added to `withheld`."""
    withheld.update({closing.delivery.id: closing.reason for closing in closings})
    return closings


def hold_players(desk: Desk, conn: Connection, channel: str, closings: Sequence[Closing], ids: Sequence[int]) -> None:
    """Hold the players of a turn before any of their codes, as whoever judges their deposits does: all at once, in one
    order for everybody. Where a cap counts what they are sent, against other senders as well: of two messages to one
    player the second sees the first.
    """
    everything = [*(closing.delivery.id for closing in closings), *ids]
    if any(channel in cap.channels for cap in desk.caps):
        found = deliveries.holders(conn, everything)
        lock_players(conn, sorted({player_id for player_id in found.values() if player_id}))
    else:
        deliveries.hold_holders(conn, everything)


def _dossiers(desk: Desk, conn: Connection, claimed: Sequence[Claimed], now: Instant) -> list[Dossier]:
    known = aftermath.holders(conn, claimed)
    holder_ids = sorted({code.player_id for code in known.values() if code.player_id})
    holders = players.by_ids(conn, holder_ids)
    causes = events.data_of(conn, sorted({d.event_id for d in claimed if d.event_id is not None}))
    digests = {d.id: (d.channel, _digest(d, known[d.code_id])) for d in claimed}
    reached = _reached(desk, conn, claimed, known)
    suppressed = suppressions.among(
        conn, sorted({(c, digest) for c, digest in digests.values() if digest}), desk.clock()
    )
    found = []
    for delivery in claimed:
        code = known[delivery.code_id]
        version = desk.versions.get(conn, code.campaign_id, code.campaign_version)
        event = _event_of(delivery, code, causes)
        holder, why = holders.get(code.player_id or ""), suppressed.get(digests[delivery.id])
        excluded = desk.watch.exclusions is not None and desk.watch.exclusions.excludes(code.player_id or "")
        dossier = Dossier(delivery, code, version, holder, event, why, excluded, reached.get(delivery.id, frozenset()))
        if dossier.hours is not None:
            # By the moment of the claim: later ones may lie in the window that is to be seen.
            dossier = replace(dossier, quiet_from=quiet.next_night(dossier.hours, dossier.zone, now))
        found.append(dossier)
    return found


def _event_of(delivery: Claimed, code: Code, known: dict[int, Told]) -> Told:
    """What fired the rule. One entry stands for many deliveries sent, and only the key tells which this follows."""
    if not delivery.event_id:
        return "code.issued", code.issued_at, {}
    type_, at, data = known[delivery.event_id]
    if type_ == "delivery.sent":
        data = {"channel": delivery.event_key.split(":")[1], **data}
    return type_, at, data


def _reached(
    desk: Desk, conn: Connection, claimed: Sequence[Claimed], known: Mapping[int, Code]
) -> dict[int, frozenset[str]]:
    """{delivery: how far other messages of its code have come, of other rules or events}, where that matters."""
    asking = []
    for one in claimed:
        code = known[one.code_id]
        unless = desk.versions.get(conn, code.campaign_id, code.campaign_version).campaign.journey[one.rule].unless
        if "delivery.sent" in unless or "delivery.delivered" in unless:
            asking.append(one)
    found = contacts.reached(conn, sorted({one.code_id for one in asking})) if asking else []
    return {
        one.id: frozenset(
            word
            for code_id, rule, key, state in found
            if code_id == one.code_id and (rule, key) != (one.rule, one.event_key)
            for word in (("sent", "delivered") if state == "delivered" else ("sent",))
        )
        for one in asking
    }


def _digest(delivery: Claimed, code: Code) -> str:
    """What the delivery's address is suppressed by; empty for calls, and where there is no address."""
    address = aftermath.address_of(delivery, code)
    return "" if address is None else suppressions.digest(address)
