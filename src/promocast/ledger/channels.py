"""Channels: which of them are paused by the operator, and which are halted because our own configuration is at fault.

A halted channel is an open circuit: its deliveries stay planned, and now and then one of them is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select, update

from promocast.ledger.engine import insert_new
from promocast.ledger.schema import channels
from promocast.model import Instant

EVERY: Final = "*"


@dataclass(frozen=True, slots=True)
class State:
    name: str
    paused_at: Instant | None
    halted_at: Instant | None
    reason: str | None
    probe_at: Instant | None


def states(conn: Connection) -> dict[str, State]:
    """{channel or "*": its state}; a channel that is not named has nothing to say."""
    c = channels.c
    found = conn.execute(select(c.name, c.paused_at, c.halted_at, c.reason, c.probe_at))
    return {row.name: State(**row._asdict()) for row in found}


def admitted(conn: Connection, name: str, ids: Sequence[int], now: Instant, next_probe: Instant) -> Sequence[int]:
    """Those of `ids` that may be claimed now: all, none, or one as a probe of a halted channel.

    Of two who ask at once for a probe one gets it.
    """
    found = states(conn)
    own = found.get(name)
    if (EVERY in found and found[EVERY].paused_at is not None) or (own is not None and own.paused_at is not None):
        return ()
    if own is None or own.halted_at is None:
        return ids
    taken = update(channels).where(channels.c.name == name, channels.c.halted_at.is_not(None))
    taken = taken.where(channels.c.probe_at <= now).values(probe_at=next_probe)
    return ids[:1] if conn.execute(taken).rowcount == 1 else ()


def closed(found: dict[str, State], name: str, now: Instant) -> bool:
    """Whether ringing for the channel's deliveries is of no use now."""
    every, own = found.get(EVERY), found.get(name)
    if any(state is not None and state.paused_at is not None for state in (every, own)):
        return True
    return own is not None and own.halted_at is not None and (own.probe_at or 0) > now


def pause(conn: Connection, name: str, now: Instant) -> bool:
    """False where it was paused already."""
    _know(conn, name)
    statement = update(channels).where(channels.c.name == name, channels.c.paused_at.is_(None))
    return conn.execute(statement.values(paused_at=now)).rowcount == 1


def resume(conn: Connection, name: str) -> bool:
    """False where it was not paused."""
    statement = update(channels).where(channels.c.name == name, channels.c.paused_at.is_not(None))
    return conn.execute(statement.values(paused_at=None)).rowcount == 1


def halt(conn: Connection, name: str, reason: str, now: Instant, probe_at: Instant) -> bool:
    """Open the circuit; False where it is open already."""
    _know(conn, name)
    statement = update(channels).where(channels.c.name == name, channels.c.halted_at.is_(None))
    return conn.execute(statement.values(halted_at=now, reason=reason, probe_at=probe_at)).rowcount == 1


def recover(conn: Connection, name: str) -> bool:
    """Close the circuit; False where it was not open."""
    statement = update(channels).where(channels.c.name == name, channels.c.halted_at.is_not(None))
    return conn.execute(statement.values(halted_at=None, reason=None, probe_at=None)).rowcount == 1


def _know(conn: Connection, name: str) -> None:
    insert_new(conn, [channels.c.name], [(name,)], [channels.c.name])
