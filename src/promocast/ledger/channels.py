"""Circuits: channels, and endpoints within the channel of calls, of which there is something to say.

They are known by the names of their sections: `popup`, `email`, `endpoints.crm`. One may be paused by the operator;
halted because our own configuration is at fault: its deliveries stay planned, and now and then one of them is tried; or
disabled, because the system at the other end wants no more or has failed for days: then nothing is tried until the
operator says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, or_, select, update

from promocast.ledger.engine import insert_new
from promocast.ledger.schema import channels
from promocast.model import Instant

EVERY: Final = "*"
_OPEN: Final[dict[str, Any]] = {"halted_at": None, "reason": None, "probe_at": None}
_WELL: Final[dict[str, Any]] = {"failing_since": None, "failed_at": None, "target": None}


@dataclass(frozen=True, slots=True)
class State:
    """`reason`: why it is halted or disabled. `failing_since`, to `failed_at`: nothing has succeeded. `target`: what
    these were observed of, by the digest of its URL."""

    name: str
    paused_at: Instant | None
    halted_at: Instant | None
    reason: str | None
    probe_at: Instant | None
    failing_since: Instant | None
    failed_at: Instant | None
    disabled_at: Instant | None
    target: str | None

    @property
    def stopped(self) -> bool:
        """Whether it waits for the operator."""
        return self.paused_at is not None or self.disabled_at is not None


def states(conn: Connection) -> dict[str, State]:
    """{circuit or "*": its state}; one that is not named has nothing to say."""
    return _states(conn, select(channels))


def shut_among(conn: Connection, names: Collection[str]) -> dict[str, State]:
    """Those that are paused, disabled or halted; held, so that none of them opens before this transaction ends."""
    c = channels.c
    shut = or_(c.paused_at.is_not(None), c.disabled_at.is_not(None), c.halted_at.is_not(None))
    return _states(conn, select(channels).where(c.name.in_(sorted(names)), shut).order_by(c.name).with_for_update())


def _states(conn: Connection, statement: Select[Any]) -> dict[str, State]:
    return {row.name: State(**row._asdict()) for row in conn.execute(statement)}


def admitted(conn: Connection, name: str, ids: Sequence[int], now: Instant, next_probe: Instant) -> Sequence[int]:
    """Those of `ids` that may be claimed now: all, none, or one as a probe of a halted channel."""
    found = states(conn)
    own = found.get(name)
    if (EVERY in found and found[EVERY].stopped) or (own is not None and own.stopped):
        return ()
    if own is None or own.halted_at is None:
        return ids
    return ids[:1] if take_probe(conn, name, now, next_probe) else ()


def take_probe(conn: Connection, name: str, now: Instant, next_probe: Instant) -> bool:
    """Whether one delivery may be tried now on what is halted. Of two who ask at once one gets it."""
    taken = update(channels).where(channels.c.name == name, channels.c.halted_at.is_not(None))
    return conn.execute(taken.where(channels.c.probe_at <= now).values(probe_at=next_probe)).rowcount == 1


def closed(found: dict[str, State], name: str, now: Instant) -> bool:
    """Whether ringing for the channel's deliveries is of no use now."""
    every, own = found.get(EVERY), found.get(name)
    if any(state is not None and state.stopped for state in (every, own)):
        return True
    return own is not None and own.halted_at is not None and (own.probe_at or 0) > now


def pause(conn: Connection, name: str, now: Instant) -> bool:
    """False where it was paused already."""
    _know(conn, name)
    statement = update(channels).where(channels.c.name == name, channels.c.paused_at.is_(None))
    return conn.execute(statement.values(paused_at=now)).rowcount == 1


def resume(conn: Connection, name: str) -> bool:
    """Let go on what was paused or disabled; False where it was neither."""
    c = channels.c
    paused = update(channels).where(c.name == name, c.paused_at.is_not(None)).values(paused_at=None)
    return bool(conn.execute(paused).rowcount) | enable(conn, name)


def halt(conn: Connection, name: str, reason: str, now: Instant, probe_at: Instant) -> bool:
    """Open the circuit; False where it is open already."""
    _know(conn, name)
    c = channels.c
    statement = update(channels).where(c.name == name, c.halted_at.is_(None), c.disabled_at.is_(None))
    return conn.execute(statement.values(halted_at=now, reason=reason, probe_at=probe_at)).rowcount == 1


def recover(conn: Connection, name: str) -> bool:
    """Close the circuit; False where it was not open."""
    statement = update(channels).where(channels.c.name == name, channels.c.halted_at.is_not(None))
    return conn.execute(statement.values(_OPEN)).rowcount == 1


def disable(conn: Connection, name: str, target: str | None, reason: str, now: Instant) -> bool:
    """Nothing more goes there until the operator says so; False where it is disabled already."""
    _know(conn, name)
    statement = update(channels).where(channels.c.name == name, channels.c.disabled_at.is_(None))
    values = {**_OPEN, "disabled_at": now, "reason": reason, "target": target}
    return conn.execute(statement.values(values)).rowcount == 1


def enable(conn: Connection, name: str) -> bool:
    """Forget that it was disabled, and that it failed; False where it was not disabled."""
    statement = update(channels).where(channels.c.name == name, channels.c.disabled_at.is_not(None))
    return conn.execute(statement.values({**_OPEN, **_WELL, "disabled_at": None})).rowcount == 1


def failing(conn: Connection, name: str, target: str, since: Instant, now: Instant) -> None:
    """Record that nothing has succeeded since `since`, and that it failed again now."""
    _know(conn, name)
    statement = update(channels).where(channels.c.name == name, channels.c.disabled_at.is_(None))
    conn.execute(statement.values(failing_since=since, failed_at=now, target=target))


def succeeded(conn: Connection, name: str) -> None:
    """Forget that it failed. What was disabled stays so: this began before that."""
    statement = update(channels).where(channels.c.name == name, channels.c.disabled_at.is_(None))
    conn.execute(statement.values(_WELL))


def _know(conn: Connection, name: str) -> None:
    insert_new(conn, [channels.c.name], [(name,)], [channels.c.name])
