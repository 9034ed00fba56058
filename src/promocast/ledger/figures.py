"""Figures: how much of the book is still open, and what its deliveries have come to, for whoever watches it.

What is open is found by the partial indexes on `due_at`, so it costs what is open, not what was ever sent. `counts`
looks at every delivery, which takes a third of a second per million.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Connection, case, func, select, text

from promocast.ledger import inbox
from promocast.ledger.channels import State, states
from promocast.ledger.schema import codes, deliveries, deposits, request_parts
from promocast.model import CHANNELS, Instant

# Unknown: those of which evidence is still awaited, or that are to be sent again.
OPEN: Final = ("planned", "sending", "unknown")


@dataclass(frozen=True, slots=True)
class Open:
    """A channel's open deliveries. `due` wait for a sender now, the oldest of them since `oldest_due`."""

    states: Mapping[str, int]
    due: int = 0
    oldest_due: Instant | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """`parts` are accepted and not issued, `deposits` recorded and not judged, or judged again when their code comes.

    `standing` says which channels are paused or halted; "*" stands for all of them.
    """

    channels: Mapping[str, Open]
    standing: Mapping[str, State]
    parts: int
    deposits: int
    inbox: Mapping[str, int]


def figures(conn: Connection, now: Instant) -> Figures:
    return Figures(
        channels=_open_deliveries(conn, now),
        standing=states(conn),
        parts=_count(conn, request_parts.c.due_at),
        deposits=_count(conn, deposits.c.due_at),
        inbox=inbox.counts(conn),
    )


def _open_deliveries(conn: Connection, now: Instant) -> dict[str, Open]:
    d = deliveries.c
    is_due = (d.due_at <= now) & d.state.in_(("planned", "unknown"))
    statement = select(
        d.channel, d.state, func.count(), func.sum(case((is_due, 1), else_=0)), func.min(case((is_due, d.due_at)))
    )
    found = {channel: Open(dict.fromkeys(OPEN, 0)) for channel in CHANNELS}
    for channel, state, count, due, since in conn.execute(
        statement.where(d.due_at.is_not(None)).group_by(d.channel, d.state)
    ):
        so_far = found[channel]
        found[channel] = Open(
            {**so_far.states, state: count},
            so_far.due + due,
            min((at for at in (so_far.oldest_due, since) if at is not None), default=None),
        )
    return found


def _count(conn: Connection, due_at: Column[Any]) -> int:
    return int(conn.execute(select(func.count()).where(due_at.is_not(None))).scalar_one())


def size(conn: Connection) -> int:
    """Bytes that the database takes on the disk."""
    if conn.dialect.name == "sqlite":
        return int(
            conn.execute(text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")).scalar_one()
        )
    return int(conn.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def counts(conn: Connection) -> dict[str, dict[str, int]]:
    """{channel: {state: how many}}"""
    d = deliveries.c
    found: dict[str, dict[str, int]] = {}
    for channel, state, number in conn.execute(select(d.channel, d.state, func.count()).group_by(d.channel, d.state)):
        found.setdefault(channel, {})[state] = number
    return found


def in_flight_to(conn: Connection, player_id: str) -> int:
    """How many sends to a player have begun and are not known to have ended."""
    d = deliveries.c
    statement = (
        select(func.count())
        .select_from(deliveries.join(codes, codes.c.id == d.code_id))
        .where(codes.c.player_id == player_id, d.state == "sending", d.channel != "call")
    )
    return int(conn.execute(statement).scalar_one())


def unsent(conn: Connection, now: Instant) -> int:
    """How many deliveries are due and not sent."""
    d = deliveries.c
    statement = select(func.count()).where(d.due_at <= now, d.state.in_(("planned", "unknown")))
    in_flight = select(func.count()).where(d.due_at.is_not(None), d.state == "sending")
    return int(conn.execute(statement).scalar_one()) + int(conn.execute(in_flight).scalar_one())
