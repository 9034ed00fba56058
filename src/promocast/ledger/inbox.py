"""The inbox: work that was refused or could not be read. Nothing that came in is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from promocast.ledger.schema import inbox
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class Entry:
    """`kind` is job, deposit, client_action, callback or hook; `body` the bytes as they came. The detail of the last
    two begins with the channel or source and a colon."""

    id: int
    kind: str
    reason: str
    detail: str
    body: bytes
    received_at: Instant
    replayed_at: Instant | None


_COLUMNS = (
    inbox.c.id, inbox.c.kind, inbox.c.reason, inbox.c.detail, inbox.c.body, inbox.c.received_at, inbox.c.replayed_at,
)  # fmt: skip


def put(
    conn: Connection, kind: str, reason: str, detail: str, body: bytes, now: Instant, player_id: str | None = None
) -> int:
    """Keep what could not be accepted; the entry's number."""
    statement = insert(inbox).values(
        kind=kind, reason=reason, detail=detail, body=body, received_at=now, player_id=player_id
    )
    return int(conn.execute(statement.returning(inbox.c.id)).scalar_one())


def waiting(conn: Connection, after: int = 0, limit: int = 100) -> Sequence[Entry]:
    """Entries that nobody has replayed, oldest first."""
    statement = select(*_COLUMNS).where(inbox.c.replayed_at.is_(None), inbox.c.id > after)
    return [Entry(*row) for row in conn.execute(statement.order_by(inbox.c.id).limit(limit))]


def get(conn: Connection, entry_id: int) -> Entry | None:
    row = conn.execute(select(*_COLUMNS).where(inbox.c.id == entry_id)).one_or_none()
    return None if row is None else Entry(*row)


def mark_replayed(conn: Connection, entry_id: int, now: Instant) -> None:
    conn.execute(update(inbox).where(inbox.c.id == entry_id).values(replayed_at=now))


def counts(conn: Connection) -> dict[str, int]:
    """{kind: how many wait}"""
    statement = select(inbox.c.kind, func.count()).where(inbox.c.replayed_at.is_(None)).group_by(inbox.c.kind)
    return {row[0]: row[1] for row in conn.execute(statement)}
