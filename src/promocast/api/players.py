"""Players: what the CRM knows of them, and whether they may be contacted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from promocast.api.access import AdminKey, Here, ReadKey
from promocast.errors import NotFound
from promocast.ledger import figures, players
from promocast.ledger.players import Player
from promocast.model import rfc3339
from promocast.reading import Moment, Text

router = APIRouter(tags=["players"])

Channel = Literal["popup", "email", "push", "telegram", "sms"]


class Consent(BaseModel):
    model_config = ConfigDict(extra="forbid")
    channel: Channel
    opted_in: bool


class Block(BaseModel):
    """While it is active the player is given no codes, sent nothing, and redeems nothing."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["Excluded", "Blocked"]
    active: bool
    until: Moment | None = None


class PlayerBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    locale: Annotated[Text, Field(max_length=35)] | None = None
    timezone: Annotated[Text, Field(max_length=64)] | None = None
    consents: list[Consent] = []
    blocks: list[Block] = []


@router.put("/v1/players/{player_id:path}")
def put_player(runtime: Here, _: AdminKey, player_id: str, body: PlayerBody) -> dict[str, Any]:
    """Record all that is known of a player. `in_flight` counts sends to them that had begun. Channels from which the
    player has unsubscribed stay so until they are named here as opted in."""
    consents: dict[str, bool] = {consent.channel: consent.opted_in for consent in body.consents}
    player = Player(player_id, body.locale, body.timezone, consents, [block.model_dump() for block in body.blocks])
    with runtime.ledger.begin() as conn:
        players.put(conn, player, runtime.clock())
    with runtime.ledger.read() as conn:
        return {"in_flight": figures.in_flight_to(conn, player_id)}


@router.get("/v1/players/{player_id:path}")
def get_player(runtime: Here, _: ReadKey, player_id: str) -> dict[str, Any]:
    """What is recorded of a player; without a record everything is allowed."""
    with runtime.ledger.read() as conn:
        player = players.by_ids(conn, [player_id]).get(player_id)
    if player is None:
        raise NotFound("unknown_player", f"Nothing is recorded of player {player_id!r}.")
    return {
        "player_id": player.player_id,
        "locale": player.locale,
        "timezone": player.timezone,
        "consents": [
            {"channel": channel, "opted_in": player.opted_in(channel)}
            for channel in dict.fromkeys([*player.consents, *player.opt_outs])
        ],
        "blocks": [
            block | {"until": None if block.get("until") is None else rfc3339(block["until"])}
            for block in player.blocks
        ],
    }
