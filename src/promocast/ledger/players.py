"""Players: what is known of them beyond one job, and whether they may be contacted at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from promocast.ledger.engine import insert_new
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

    def excluded(self, now: Instant) -> bool:
        """Whether a block of either type is active."""
        return any(b["active"] and (b.get("until") is None or b["until"] > now) for b in self.blocks)


def by_ids(conn: Connection, player_ids: Sequence[str]) -> dict[str, Player]:
    """Those of the players that have a record; without one everything is allowed."""
    p = players.c
    statement = select(p.player_id, p.locale, p.timezone, p.consents, p.blocks).where(p.player_id.in_(player_ids))
    return {
        row.player_id: Player(
            row.player_id, row.locale, row.timezone, orjson.loads(row.consents), orjson.loads(row.blocks)
        )
        for row in conn.execute(statement)
    }


def put(conn: Connection, player: Player, now: Instant) -> None:
    """Record all that is known of a player, in place of what was."""
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
