"""Guesses: that a player quoted a code that is nobody's or another's. Whoever counts them holds the player."""

from __future__ import annotations

from sqlalchemy import Connection, select

from promocast.ledger.engine import insert_new
from promocast.ledger.schema import guesses
from promocast.model import HOUR, Instant


def allow(conn: Connection, player_id: str, at: Instant, most: int, deposit_id: str | None = None) -> bool:
    """Count a guess at `at`, unless there were `most` of them in the hour before; whether it was one of those allowed.

    One deposit is one guess, however often it is judged. What is not allowed is not counted, and so prolongs nothing.
    """
    g = guesses.c
    counted = (g.at > at - HOUR) & (g.at <= at)
    if deposit_id is not None:  # compared with None, it would find every guess of no deposit, however old
        counted |= g.deposit_id == deposit_id
    found = list(conn.execute(select(g.deposit_id).where(g.player_id == player_id, counted)).scalars())
    if deposit_id is not None and deposit_id in found:
        return True
    if len(found) >= most:
        return False
    insert_new(conn, [g.player_id, g.at, g.deposit_id], [(player_id, at, deposit_id)], [g.id])
    return True
