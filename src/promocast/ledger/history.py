"""History: what was judged in a period, and what was known when it began; read for judging it again.

The order of events is that of their ids: whoever judges appends them while holding all that they depend on, so of two
judgings that concern each other the ids say which came first. Of transactions, or of times, that is not so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, func, or_, select

from promocast.ledger.budgets import COUNT, Spent
from promocast.ledger.engine import READ_AHEAD
from promocast.ledger.schema import codes, events, redemptions
from promocast.model import Instant

_TURNS: Final = ("code.redeemed", "code.rolled_back", "deposit.refused", "code.revoked")
# Also reports that were refused: under an edit the code may have been nobody's yet.
_CLAIMS: Final = ("code.issued", "code.bound", "code.report_refused", "client_action", "code.redeemed")


@dataclass(frozen=True, slots=True)
class Turn:
    """An event that says how a deposit was judged, or that a code was revoked. `data` is decoded JSON."""

    id: int
    type: str
    at: Instant
    campaign_id: str | None
    code_id: int | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PastCode:
    """A code; `redeemed` counts its active redemptions at a moment. `external`: somebody else made it."""

    id: int
    code: str
    folded: str
    campaign_id: str
    campaign_version: int
    external: bool
    player_id: str | None
    issued_at: Instant
    sent_at: Instant | None
    shown_at: Instant | None
    revoked_at: Instant | None
    redeemed: int


def turns(conn: Connection, since: Instant, until: Instant) -> Iterator[Turn]:
    """What changed verdicts in the period, in the order in which it did. Read as it is asked for."""
    e = events.c
    columns = (e.id, e.type, e.at, e.campaign_id, e.code_id, e.data)
    statement = select(*columns).where(e.type.in_(_TURNS), e.at >= since, e.at < until).order_by(e.id)
    for row in conn.execute(statement.execution_options(yield_per=READ_AHEAD)):
        yield Turn(*row[:5], data=orjson.loads(row.data) if row.data else {})


def judged_anew(conn: Connection, since: Instant, until: Instant) -> set[str]:
    """The deposits that somebody had judged anew in the period."""
    e = events.c
    found = select(e.data).where(e.type == "deposit.reverified", e.at >= since, e.at < until)
    return {orjson.loads(data)["deposit_id"] for data in conn.execute(found).scalars()}


def codes_of(
    conn: Connection, folded: Sequence[str], player_ids: Sequence[str], ids: Sequence[int], at: Instant
) -> list[PastCode]:
    """The codes so spelt, those that the players have by now, and those of the ids, as they were redeemed at `at`."""
    c, r = codes.c, redemptions.c
    wanted = or_(c.folded.in_(folded), c.player_id.in_(player_ids), c.id.in_(ids))
    columns = (
        c.id, c.code, c.folded, c.campaign_id, c.campaign_version, c.request_id.is_(None).label("external"),
        c.player_id, c.issued_at, c.sent_at, c.shown_at, c.revoked_at,
    )  # fmt: skip
    counted = select(r.code_id, func.count()).where(r.code_id.in_(select(c.id).where(wanted)), _active(at))
    redeemed = {row[0]: row[1] for row in conn.execute(counted.group_by(r.code_id))}
    found = conn.execute(select(*columns).where(wanted).order_by(c.id))
    return [PastCode(**row._asdict(), redeemed=redeemed.get(row.id, 0)) for row in found]


def active_redemptions(conn: Connection, player_ids: Sequence[str], at: Instant) -> dict[str, dict[str, int]]:
    """{player: {campaign: how many redemptions of the campaign were active at `at`}}"""
    r = redemptions.c
    statement = select(r.player_id, r.campaign_id, func.count()).where(r.player_id.in_(player_ids), _active(at))
    found: dict[str, dict[str, int]] = {}
    for player_id, campaign_id, count in conn.execute(statement.group_by(r.player_id, r.campaign_id)):
        found.setdefault(player_id, {})[campaign_id] = count
    return found


def spent(conn: Connection, at: Instant) -> Spent:
    """{(campaign, currency): units of reward that redemptions active at `at` took}; their number under COUNT."""
    r = redemptions.c
    columns = (r.campaign_id, r.currency, func.count(), func.sum(r.reward_units))
    found: Spent = {}
    for campaign_id, currency, count, units in conn.execute(
        select(*columns).where(_active(at)).group_by(r.campaign_id, r.currency)
    ):
        found[campaign_id, COUNT] = found.get((campaign_id, COUNT), 0) + count
        if units:
            found[campaign_id, currency] = int(units)
    return found


def claims(conn: Connection, code_ids: Sequence[int]) -> list[tuple[int, Turn]]:
    """[(code, event)] of those who reported or redeemed these codes and said who they are, oldest first."""
    e = events.c
    columns = (e.id, e.type, e.at, e.campaign_id, e.code_id, e.data)
    statement = select(*columns).where(e.code_id.in_(code_ids), e.type.in_(_CLAIMS)).order_by(e.id)
    found = [Turn(*row[:5], data=orjson.loads(row.data) if row.data else {}) for row in conn.execute(statement)]
    return [(turn.code_id, turn) for turn in found if turn.code_id is not None and turn.data.get("player_id")]


def _active(at: Instant) -> ColumnElement[bool]:
    r = redemptions.c
    return (r.at < at) & (r.rolled_back_at.is_(None) | (r.rolled_back_at >= at))
