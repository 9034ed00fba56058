"""Players: what is known of them beyond one job, and whether they may be contacted at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, select, update

from promocast.ledger.engine import insert_new, lock_players
from promocast.ledger.schema import players
from promocast.model import Instant

EXCLUDED: Final = "player_excluded"


@dataclass(frozen=True, slots=True)
class Player:
    """`consents` is {channel: opted_in}; `blocks` is [{type, active, until}], type Excluded or Blocked; `opt_outs` is
    {channel: since when}, what the player told us and no CRM has to repeat."""

    player_id: str
    locale: str | None
    timezone: str | None
    consents: dict[str, bool]
    blocks: list[dict[str, Any]]
    opt_outs: dict[str, Instant] = field(default_factory=dict)

    def refusal(self, channel: str, now: Instant) -> str | None:
        """Why the player must not be contacted on the channel, if they must not."""
        if self.excluded(now):
            return EXCLUDED
        return None if self.opted_in(channel) else "opted_out"

    def opted_in(self, channel: str) -> bool:
        return self.consents.get(channel, True) and channel not in self.opt_outs

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
    statement = select(p.player_id, p.locale, p.timezone, p.consents, p.blocks, p.opt_outs).where(condition)
    return [
        Player(
            row.player_id,
            row.locale,
            row.timezone,
            consents=orjson.loads(row.consents),
            blocks=orjson.loads(row.blocks),
            opt_outs=orjson.loads(row.opt_outs),
        )
        for row in conn.execute(statement)
    ]


def put(conn: Connection, player: Player, now: Instant) -> None:
    """Record all that a CRM knows of a player, in place of what was. What the player has opted out of stays so until
    the CRM says in so many words that they opted in again.

    Waits for claims of the player's deliveries that are under way, so that whoever claims later sees this.
    """
    lock_players(conn, [player.player_id])
    known = by_ids(conn, [player.player_id]).get(player.player_id)
    kept = {channel: at for channel, at in known.opt_outs.items() if not player.consents.get(channel)} if known else {}
    _write(conn, replace(player, opt_outs=kept), now)


def opt_out(conn: Connection, player_id: str, channel: str, now: Instant) -> bool:
    """The player wants no more messages on the channel; False where that was known."""
    lock_players(conn, [player_id])
    player = by_ids(conn, [player_id]).get(player_id) or Player(player_id, None, None, {}, [])
    if channel in player.opt_outs:
        return False
    _write(conn, replace(player, opt_outs={**player.opt_outs, channel: now}), now)
    return True


def _write(conn: Connection, player: Player, now: Instant) -> None:
    p = players.c
    values = {
        "locale": player.locale,
        "timezone": player.timezone,
        "consents": orjson.dumps(player.consents).decode(),
        "blocks": orjson.dumps(player.blocks).decode(),
        "opt_outs": orjson.dumps(player.opt_outs).decode(),
        "updated_at": now,
    }
    columns = [p.player_id, p.locale, p.timezone, p.consents, p.blocks, p.opt_outs, p.updated_at]
    if not insert_new(conn, columns, [(player.player_id, *values.values())], [p.player_id]):
        conn.execute(update(players).where(p.player_id == player.player_id).values(**values))
