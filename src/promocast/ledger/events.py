"""Events: what happened, in one order that readers can follow without missing any.

Each event of a code has a number, `data.sequence`, here and in the call that it causes; the two are the same event if
the code and the number are the same. Whoever appends an event of a code holds the code's row from before until the
commit, so that for one code the numbers grow in the order of commits. `delivery.sent` alone is recorded by senders, for
many codes at once and without holding them: of two events of one moment its number may be the smaller, and its commit
the later. Readers get entries in the order of their transactions' beginnings; the numbers say which came first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Column, Connection, Integer, select, text, tuple_

from promocast.ledger.engine import insert_new, rows_of
from promocast.ledger.schema import codes, deliveries, events
from promocast.model import Instant, rfc3339

# `code.issued`: nothing of a code comes before it, and one entry stands for many codes.
FIRST: Final = 0
# An event's place among those recorded with it; a column of no table.
_PLACE: Final = Column("place", Integer)


@dataclass(frozen=True, slots=True)
class Event:
    """One entry. An entry with `subjects` stands for one event for each of them. `by` names who did it by hand."""

    type: str
    at: Instant
    campaign_id: str | None = None
    code_id: int | None = None
    data: dict[str, Any] | None = None
    subjects: Sequence[int] = ()
    by: str | None = None


def append(conn: Connection, event: Event) -> int:
    """Record an event; its row id."""
    return append_all(conn, [event])[0]


def append_all(conn: Connection, new: Sequence[Event]) -> list[int]:
    """Record events; their row ids, in the same order."""
    if not new:
        return []
    c = events.c
    columns = [_PLACE, c.at, c.type, c.campaign_id, c.code_id, c.subjects, c.data, c.by]
    rows = [
        (
            place,
            event.at,
            event.type,
            event.campaign_id,
            event.code_id,
            orjson.dumps(list(event.subjects)).decode() if event.subjects else None,
            orjson.dumps(event.data).decode() if event.data is not None else None,
            event.by,
        )
        for place, event in enumerate(new)
    ]
    source, parameters = rows_of(conn, columns, rows)
    names = ", ".join(column.name for column in columns[1:])
    statement = text(
        f"INSERT INTO events (tx, {names}) SELECT {_transaction(conn)}, {names} FROM {source} "  # noqa: S608
        "ORDER BY r.place RETURNING id"
    )
    # Both databases number rows in the order in which a SELECT yields them; in which order they return them is open.
    return sorted(conn.execute(statement, parameters).scalars())


def append_once(conn: Connection, event: Event, once: str) -> int | None:
    """Record an event under the sender's own id of it; None where that id came before."""
    tx = conn.execute(text(f"SELECT {_transaction(conn)}")).scalar_one()
    c = events.c
    data = None if event.data is None else orjson.dumps(event.data).decode()
    inserted = insert_new(
        conn,
        [c.tx, c.at, c.type, c.campaign_id, c.code_id, c.data, c.once],
        [(tx, event.at, event.type, event.campaign_id, event.code_id, data, once)],
        [c.id],
    )
    return inserted[0][0] if inserted else None


def _transaction(conn: Connection) -> str:
    # Row ids are given out before commit, so a reader who goes by them alone can pass an entry that is not there yet.
    if conn.dialect.name == "postgresql":
        return "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
    return "0"


def data_of(conn: Connection, event_ids: Sequence[int]) -> dict[int, tuple[str, Instant, dict[str, Any]]]:
    """{event id: (type, at, data)}"""
    found = select(events.c.id, events.c.type, events.c.at, events.c.data).where(events.c.id.in_(event_ids))
    return {row.id: (row.type, row.at, orjson.loads(row.data) if row.data else {}) for row in conn.execute(found)}


def of_code(conn: Connection, code_id: int) -> list[tuple[str, Instant, dict[str, Any]]]:
    """[(type, at, data)] of what was recorded of this code alone, oldest first."""
    found = select(events.c.type, events.c.at, events.c.data).where(events.c.code_id == code_id).order_by(events.c.id)
    return [(row.type, row.at, orjson.loads(row.data) if row.data else {}) for row in conn.execute(found)]


def by_hand(conn: Connection, since: Instant) -> list[tuple[Instant, dict[str, Any]]]:
    """[(at, {type, by, campaign, data})] of what somebody did, oldest first."""
    e = events.c
    found = select(e.at, e.type, e.by, e.campaign_id, e.data).where(e.by.is_not(None), e.at >= since)
    return [
        (
            row.at,
            {
                "type": row.type,
                "by": row.by,
                "campaign": row.campaign_id,
                "data": orjson.loads(row.data) if row.data else {},
            },
        )
        for row in conn.execute(found.order_by(e.tx, e.id))
    ]


START = "0.0.0"


def feed(conn: Connection, after: str, limit: int) -> tuple[list[dict[str, Any]], str]:
    """Up to about `limit` events after the cursor `after`, and the cursor to go on from.

    Raises:
        ValueError: `after` is no cursor.
    """
    tx, row_id, place = _cursor(after)
    statement = select(events).where(tuple_(events.c.tx, events.c.id) >= tuple_(tx, row_id))
    if conn.dialect.name == "postgresql":
        # Entries of transactions that are still open may yet appear below newer ones: stop short of them.
        settled = text("events.tx < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)")
        statement = statement.where(settled)
    found: list[dict[str, Any]] = []
    for row in conn.execute(statement.order_by(events.c.tx, events.c.id).limit(limit + 1)):
        skip = place if (row.tx, row.id) == (tx, row_id) else 0
        for place_in_row, shown in enumerate(_expanded(conn, row), 1):
            if place_in_row > skip:
                found.append({"cursor": f"{row.tx}.{row.id}.{place_in_row}", **shown})
        if len(found) >= limit:
            break
    return found[:limit], found[:limit][-1]["cursor"] if found else after


def _cursor(text: str) -> tuple[int, int, int]:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is no cursor; use `next` of an earlier answer, or leave it out")
    numbers = [int(part) for part in parts]
    if max(numbers) >= 1 << 63:
        raise ValueError(f"{text!r} is no cursor of this ledger")
    return numbers[0], numbers[1], numbers[2]


def _expanded(conn: Connection, row: Any) -> list[dict[str, Any]]:
    data = orjson.loads(row.data) if row.data else {}
    head = {"type": row.type, "at": rfc3339(row.at), "campaign": row.campaign_id}
    sequence = {"sequence": FIRST if row.type == "code.issued" else row.id}
    if row.subjects is None:
        known = _codes(conn, [row.code_id]) if row.code_id is not None else {}
        return [{**head, **known.get(row.code_id, {}), "data": data | sequence if known else data}]
    data |= sequence
    ids = orjson.loads(row.subjects)
    if row.type.startswith("delivery."):
        return [{**head, **shown, "data": data | {"channel": channel}} for shown, channel in _deliveries(conn, ids)]
    known = _codes(conn, ids)
    return [{**head, **known.get(code_id, {}), "data": data} for code_id in ids]


def _codes(conn: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    found = select(codes.c.id, codes.c.code, codes.c.player_id).where(codes.c.id.in_(ids))
    return {row.id: {"code": row.code, "player_id": row.player_id} for row in conn.execute(found)}


def _deliveries(conn: Connection, ids: Sequence[int]) -> list[tuple[dict[str, Any], str]]:
    found = (
        select(deliveries.c.id, deliveries.c.channel, codes.c.code, codes.c.player_id)
        .join(codes, codes.c.id == deliveries.c.code_id)
        .where(deliveries.c.id.in_(ids))
        .order_by(deliveries.c.id)
    )
    return [({"code": row.code, "player_id": row.player_id}, row.channel) for row in conn.execute(found)]
