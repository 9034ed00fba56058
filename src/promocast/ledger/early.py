"""Client actions that came before their code: kept until the code is recorded, or the grace time has passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from promocast.ledger.engine import insert_new
from promocast.ledger.schema import early_actions
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class Early:
    """`body` is the action as it came, as JSON; `until` when it is no longer waited for."""

    eid: str
    folded: str
    player_id: str | None
    body: str
    until: Instant


_COLUMNS = (
    early_actions.c.eid,
    early_actions.c.folded,
    early_actions.c.player_id,
    early_actions.c.body,
    early_actions.c.until,
)


def keep(conn: Connection, early: Early, now: Instant) -> bool:
    """Keep an action; False where its eid is kept already."""
    e = early_actions.c
    row = (early.eid, early.folded, early.player_id, early.body, now, early.until, early.until)
    columns = [e.eid, e.folded, e.player_id, e.body, e.received_at, e.until, e.due_at]
    return bool(insert_new(conn, columns, [row], [e.eid]))


def any_for(conn: Connection, folded: Sequence[str]) -> bool:
    """Whether any action waits for one of these codes."""
    found = select(early_actions.c.eid).where(early_actions.c.folded.in_(folded)).limit(1)
    return conn.execute(found).first() is not None


def wake(conn: Connection, folded: Sequence[str], now: Instant) -> None:
    """The codes are recorded: the actions that waited for them are due."""
    conn.execute(update(early_actions).where(early_actions.c.folded.in_(folded)).values(due_at=now))


def due(conn: Connection, now: Instant, limit: int) -> list[Early]:
    e = early_actions.c
    statement = select(*_COLUMNS).where(e.due_at <= now).order_by(e.due_at, e.eid).limit(limit)
    return [Early(*row) for row in conn.execute(statement)]


def wait_on(conn: Connection, eid: str) -> None:
    """The code is not there after all: wait for the rest of the grace time."""
    conn.execute(update(early_actions).where(early_actions.c.eid == eid).values(due_at=early_actions.c.until))


def take(conn: Connection, eid: str) -> bool:
    """Take an action out; False where somebody else has."""
    return conn.execute(delete(early_actions).where(early_actions.c.eid == eid)).rowcount == 1


def forget(conn: Connection, player_id: str) -> int:
    """Delete what a player did; how many."""
    return conn.execute(delete(early_actions).where(early_actions.c.player_id == player_id)).rowcount
