"""Deliveries: planned with the event that causes them, claimed before they are sent, closed with what became of them.

    planned -> sending -> sent -> delivered
       ^          |
       |          |-> rejected | exhausted | skipped
       '----------|
                  '-> unknown -> sending (a resend, where the channel's policy allows one)

`attempts` counts those that cost one; it also fences: what closes an attempt must name its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Connection, Integer, Row, or_, select, text, update

from promocast.ledger.engine import insert_new, rows_of, shared_lock_of
from promocast.ledger.schema import attempts, codes, deliveries
from promocast.model import CHANNELS, DeliveryState, Instant

# What an attempt that cost nothing gives back; a column of the values to close with, and of no table.
_GIVEN_BACK: Final = Column("given_back", Integer)


@dataclass(frozen=True, slots=True)
class NewDelivery:
    code_id: int
    rule: int
    channel: str
    slot: int
    due_at: Instant
    event_id: int | None = None
    event_key: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours until its lease ends."""

    id: int
    code_id: int
    event_id: int | None
    rule: int
    channel: str
    slot: int
    attempts: int
    unknowns: int
    planned_at: Instant
    attempted_at: Instant
    event_key: str = ""


@dataclass(frozen=True, slots=True)
class Closing:
    """What became of one attempt. `counts`: it cost one. `unknown`: the provider may have taken the message.

    `history` is the word for the attempts table, or None where the delivery itself says all there is to say. `halted`:
    our own configuration is at fault. `disables`: the system there wants nothing more. `circuit`: the channel or
    endpoint that the attempt was made on; empty where none was made. `address_dead`: nothing will ever arrive there.
    `opted_out`: its owner does not want it. `moved_to`: what the address is called now.
    """

    delivery: Claimed
    state: DeliveryState
    reason: str | None = None
    ref: str | None = None
    due_at: Instant | None = None
    counts: bool = True
    unknown: bool = False
    history: str | None = None
    halted: bool = False
    disables: bool = False
    circuit: str = ""
    address_dead: bool = False
    opted_out: bool = False
    moved_to: str | None = None


def plan(conn: Connection, new: Sequence[NewDelivery], now: Instant) -> list[tuple[str, int, Instant]]:
    """Record deliveries; [(channel, row id, due_at)] of those that were not planned before."""
    d = deliveries.c
    columns = [d.code_id, d.event_id, d.rule, d.event_key, d.channel, d.slot, d.due_at, d.planned_at]
    rows = [(n.code_id, n.event_id, n.rule, n.event_key, n.channel, n.slot, n.due_at, now) for n in new]
    return [(row.channel, row.id, row.due_at) for row in insert_new(conn, columns, rows, [d.channel, d.id, d.due_at])]


_CLAIMED: Final = (
    deliveries.c.id,
    deliveries.c.code_id,
    deliveries.c.event_id,
    deliveries.c.rule,
    deliveries.c.channel,
    deliveries.c.slot,
    deliveries.c.attempts,
    deliveries.c.unknowns,
    deliveries.c.planned_at,
    deliveries.c.attempted_at,
    deliveries.c.event_key,
)


def claim(
    conn: Connection, ids: Sequence[int], *, now: Instant, lease_until: Instant, resends: int, max_attempts: int
) -> list[Claimed]:
    """Take those of `ids` that are due and nobody else's.

    `resends` is how often an unknown delivery may be repeated, `max_attempts` how often it may be tried at all. The
    condition stands in the statement, so that of two who claim at once one gets nothing.
    """
    d = deliveries.c
    statement = (
        update(deliveries)
        .where(
            d.id.in_(ids),
            d.due_at <= now,
            or_(
                d.state == "planned",
                (d.state == "unknown") & (d.unknowns <= resends) & (d.attempts < max_attempts),
            ),
        )
        .values(state="sending", attempts=d.attempts + 1, attempted_at=now, due_at=lease_until)
        .returning(*_CLAIMED)
    )
    return _claimed(conn.execute(statement))


def _claimed(rows: Iterable[Row[*tuple[Any, ...]]]) -> list[Claimed]:
    return [Claimed(**row._asdict()) for row in rows]


def close(conn: Connection, closings: Sequence[Closing], now: Instant) -> set[int]:
    """Record what became of attempts; the ids of the deliveries whose state this set.

    An attempt is closed by its number. One whose lease ran out meanwhile is unknown by now, and its late answer still
    counts, unless the next attempt has begun.
    """
    if not closings:
        return set()
    d = deliveries.c
    columns = [d.id, d.attempts, d.attempted_at, d.state, d.reason, d.ref, d.due_at, d.sent_at, d.unknowns, _GIVEN_BACK]
    rows = [
        (
            c.delivery.id,
            c.delivery.attempts,
            c.delivery.attempted_at,
            c.state,
            c.reason,
            c.ref,
            c.due_at,
            now if c.state == "sent" else None,
            int(c.unknown),
            0 if c.counts else 1,
        )
        for c in closings
    ]
    source, parameters = rows_of(conn, columns, rows)
    statement = text(
        "UPDATE deliveries SET state = r.state, reason = r.reason, ref = r.ref, due_at = r.due_at, "  # noqa: S608
        "sent_at = r.sent_at, unknowns = deliveries.unknowns + r.unknowns, "
        "attempts = deliveries.attempts - r.given_back "
        f"FROM {source} WHERE deliveries.id = r.id AND deliveries.attempts = r.attempts "
        "AND deliveries.attempted_at = r.attempted_at "
        "AND deliveries.state IN ('sending', 'unknown') RETURNING deliveries.id"
    )
    closed = set(conn.execute(statement, parameters).scalars())
    _keep_history(conn, [c for c in closings if c.history and c.delivery.id in closed], now)
    return closed


def _keep_history(conn: Connection, closings: Sequence[Closing], now: Instant) -> None:
    a = attempts.c
    columns = [a.delivery_id, a.number, a.opened_at, a.closed_at, a.outcome, a.reason]
    rows = [
        (c.delivery.id, c.delivery.attempts, c.delivery.attempted_at, now, c.history, c.reason or "") for c in closings
    ]
    insert_new(conn, columns, rows, [a.id])


@dataclass(frozen=True, slots=True)
class Ended:
    """A delivery of which something is known: that nothing more will be tried, mostly."""

    id: int
    code_id: int
    rule: int
    channel: str
    event_key: str
    reason: str | None


def ended(conn: Connection, ids: Sequence[int]) -> list[Ended]:
    d = deliveries.c
    statement = select(d.id, d.code_id, d.rule, d.channel, d.event_key, d.reason).where(d.id.in_(ids))
    return [Ended(**row._asdict()) for row in conn.execute(statement)]


def siblings(conn: Connection, one: Ended) -> list[tuple[str, str | None, bool]]:
    """[(state, reason, whether something more will be tried)] of all deliveries by the same rule, event and channel."""
    d = deliveries.c
    statement = select(d.state, d.reason, d.due_at.is_not(None)).where(
        d.code_id == one.code_id, d.rule == one.rule, d.event_key == one.event_key, d.channel == one.channel
    )
    return [(row[0], row[1], bool(row[2])) for row in conn.execute(statement)]


def overdue_leases(conn: Connection, now: Instant, limit: int, *, lock: bool = True) -> list[Claimed]:
    """Deliveries whose sender did not report before its lease ended; `lock` holds those that nobody else holds."""
    d = deliveries.c
    statement = select(*_CLAIMED).where(d.due_at <= now, d.state == "sending").order_by(d.due_at).limit(limit)
    return _claimed(conn.execute(statement.with_for_update(skip_locked=True) if lock else statement))


@dataclass(frozen=True, slots=True)
class Due:
    id: int
    channel: str
    state: DeliveryState
    attempts: int
    unknowns: int


def due(conn: Connection, before: Instant, limit: int, among: Sequence[str] = CHANNELS) -> list[Due]:
    """Deliveries on the channels `among` that wait for a sender since `before`, longest first."""
    d = deliveries.c
    statement = (
        select(d.id, d.channel, d.state, d.attempts, d.unknowns)
        .where(d.due_at <= before, d.state.in_(("planned", "unknown")))
        .order_by(d.due_at)
        .limit(limit)
    )
    if len(among) < len(CHANNELS):
        statement = statement.where(d.channel.in_(among))
    return [Due(row.id, row.channel, row.state, row.attempts, row.unknowns) for row in conn.execute(statement)]


def due_among(conn: Connection, ids: Sequence[int], now: Instant) -> list[int]:
    """Those of `ids` that wait for a sender now."""
    d = deliveries.c
    statement = select(d.id).where(d.id.in_(ids), d.due_at <= now, d.state.in_(("planned", "unknown")))
    return list(conn.execute(statement.order_by(d.id)).scalars())


def holders(conn: Connection, ids: Sequence[int]) -> dict[int, str]:
    """{delivery: the player whose code it carries}; empty where it is nobody's yet."""
    statement = select(deliveries.c.id, codes.c.player_id).join(codes, codes.c.id == deliveries.c.code_id)
    return {row.id: row.player_id or "" for row in conn.execute(statement.where(deliveries.c.id.in_(ids)))}


def hold_holders(conn: Connection, ids: Sequence[int]) -> None:
    """Hold the players whose codes these deliveries carry, as `lock_players` does for those who only read."""
    if conn.dialect.name != "postgresql" or not ids:
        return
    found = (
        "SELECT c.player_id FROM deliveries d JOIN codes c ON c.id = d.code_id "
        "WHERE d.id = ANY(:ids) AND c.player_id IS NOT NULL"
    )
    conn.execute(text(shared_lock_of(found)), {"ids": list(ids)})


def release(conn: Connection, channel: str, reason: str, now: Instant) -> None:
    """What is planned for later for that reason is due now."""
    d = deliveries.c
    waiting = (d.due_at > now, d.channel == channel, d.state == "planned", d.reason == reason)
    conn.execute(update(deliveries).where(*waiting).values(due_at=now))


def give_up(conn: Connection, ids: Sequence[int], now: Instant) -> list[int]:
    """Stop waiting for evidence of unknown deliveries: they stay unknown, for good."""
    d = deliveries.c
    statement = (
        update(deliveries)
        .where(d.id.in_(ids), d.state == "unknown", d.due_at <= now)
        .values(due_at=None)
        .returning(d.id)
    )
    return list(conn.execute(statement).scalars())


def history(conn: Connection, code_id: int) -> list[dict[str, object]]:
    """Everything that was tried for a code: its deliveries, and the attempts of each that did not end well."""
    d, a = deliveries.c, attempts.c
    found = [
        row._asdict() | {"attempted": []}
        for row in conn.execute(
            select(
                d.id,
                d.channel,
                d.rule,
                d.state,
                d.attempts,
                d.planned_at,
                d.attempted_at,
                d.sent_at,
                d.reason,
                d.due_at,
            )
            .where(d.code_id == code_id)
            .order_by(d.id)
        )
    ]
    by_id = {row["id"]: row for row in found}
    tried = select(a.delivery_id, a.number, a.opened_at, a.closed_at, a.outcome, a.reason).order_by(a.id)
    for attempt in conn.execute(tried.where(a.delivery_id.in_(list(by_id)))):
        by_id[attempt.delivery_id]["attempted"].append(attempt._asdict())
    return found
