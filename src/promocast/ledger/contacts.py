"""Contacts: what players were sent, by which caps count and rules are withheld."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select

from promocast.ledger.schema import codes, deliveries
from promocast.model import PLAYER_CHANNELS, DeliveryState, Instant


class Contacted(NamedTuple):
    """A delivery that has reached its player, or may have: it is under way, or nobody knows."""

    id: int
    player_id: str
    campaign_id: str
    campaign_version: int
    code_id: int
    rule: int
    event_key: str
    channel: str
    state: DeliveryState
    at: Instant


def of_players(conn: Connection, player_ids: Sequence[str], channels: Sequence[str], since: Instant) -> list[Contacted]:
    """What the players were sent on the channels since then, over all campaigns."""
    d, c = deliveries.c, codes.c
    at = func.coalesce(d.sent_at, d.attempted_at)
    statement = (
        select(
            d.id,
            c.player_id,
            c.campaign_id,
            c.campaign_version,
            d.code_id,
            d.rule,
            d.event_key,
            d.channel,
            d.state,
            at.label("at"),
        )
        .join(codes, c.id == d.code_id)
        .where(
            c.player_id.in_(player_ids),
            d.channel.in_(channels),
            or_(d.state.in_(("sending", "sent", "delivered", "unknown")), (d.state == "planned") & (d.unknowns > 0)),
            at > since,
        )
    )
    return [Contacted._make(row) for row in conn.execute(statement).all()]


def reached(conn: Connection, code_ids: Sequence[int]) -> list[tuple[int, int, str, str]]:
    """[(code, rule, event key, state)] of the codes' messages that were sent, or have arrived."""
    d = deliveries.c
    statement = select(d.code_id, d.rule, d.event_key, d.state).where(
        d.code_id.in_(code_ids), d.channel.in_(PLAYER_CHANNELS), d.state.in_(("sent", "delivered"))
    )
    return [(row.code_id, row.rule, row.event_key, row.state) for row in conn.execute(statement)]
