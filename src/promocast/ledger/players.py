"""Players: what is known of them beyond one job, and whether they may be contacted at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, select, update

from promocast.ledger.engine import insert_new, lock_players
from promocast.ledger.schema import players
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class Player:
    """`consents` is {channel: opted_in}; `blocks` is [{type, active, until}], type Excluded or Blocked."""

    player_id: str
    locale: str | None
    timezone: str | None
    consents: dict[str, bool]
    blocks: list[dict[str, Any]]

    def refusal(self, channel: str, now: Instant) -> str | None:
        """Why the player must not be contacted on the channel, if they must not."""
        if self.excluded(now):
            return "player_excluded"
        return None if self.consents.get(channel, True) else "opted_out"

    def excluded(self, now: Instant) -> bool:
        """Whether a block of either type is active."""
        return any(b["active"] and (b.get("until") is None or b["until"] > now) for b in self.blocks)


def by_ids(conn: Connection, player_ids: Sequence[str]) -> dict[str, Player]:
    """Those of the players that have a record; without one everything is allowed."""
    return {player.player_id: player for player in _players(conn, players.c.player_id.in_(player_ids))}


def changed_since(conn: Connection, since: Instant) -> list[Player]:
    return _players(conn, players.c.updated_at >= since)


def _players(conn: Connection, condition: ColumnElement[bool]) -> list[Player]:
    p = players.c
    statement = select(p.player_id, p.locale, p.timezone, p.consents, p.blocks).where(condition)
    return [
        Player(row.player_id, row.locale, row.timezone, orjson.loads(row.consents), orjson.loads(row.blocks))
        for row in conn.execute(statement)
    ]


def put(conn: Connection, player: Player, now: Instant) -> None:
    """Record all that is known of a player, in place of what was.

    Waits for claims of the player's deliveries that are under way, so that whoever claims later sees this.
    """
    lock_players(conn, [player.player_id])
    p = players.c
    values = {
        "locale": player.locale,
        "timezone": player.timezone,
        "consents": orjson.dumps(player.consents).decode(),
        "blocks": orjson.dumps(player.blocks).decode(),
        "updated_at": now,
    }
    columns = [p.player_id, p.locale, p.timezone, p.consents, p.blocks, p.updated_at]
    if not insert_new(conn, columns, [(player.player_id, *values.values())], [p.player_id]):
        conn.execute(update(players).where(p.player_id == player.player_id).values(**values))
