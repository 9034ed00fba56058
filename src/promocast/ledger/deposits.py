"""Deposits: recorded as they are told, judged once, redeeming at most one code each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, func, or_, select, update

from promocast.jobs import Deposit
from promocast.ledger.engine import READ_AHEAD, insert_new, update_each
from promocast.ledger.schema import deposits, redemptions
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class Recorded:
    """A deposit as recorded. `messages` is {status: the first message of that status}; `verdict` is decoded JSON."""

    deposit_id: str
    player_id: str
    messages: dict[str, dict[str, Any]]
    received_at: Instant
    verdict: dict[str, Any] | None
    result: str | None
    judged_at: Instant | None


@dataclass(frozen=True, slots=True)
class Redemption:
    id: int
    code_id: int
    currency: str
    reward_units: int | None
    rolled_back_at: Instant | None


@dataclass(frozen=True, slots=True)
class NewRedemption:
    """`amount` is written with the digits of its currency; both are empty where none was told. `reward` is as promised,
    `reward_units` its amount in the currency's smallest unit."""

    code_id: int
    deposit_id: str
    campaign_id: str
    player_id: str
    amount: str
    currency: str
    reward: dict[str, Any] | None
    reward_units: int | None


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict. Its deposit is looked at again at `due_at`, if ever, or sooner if the code `waits_for` is recorded."""

    deposit_id: str
    verdict: dict[str, Any]
    due_at: Instant | None = None
    waits_for: str | None = None


_COLUMNS = (
    deposits.c.deposit_id,
    deposits.c.player_id,
    deposits.c.messages,
    deposits.c.received_at,
    deposits.c.verdict,
    deposits.c.result,
    deposits.c.judged_at,
)


def open_deposits(conn: Connection, told: Sequence[Deposit], now: Instant) -> set[str]:
    """Record the deposits that are new, each by its first message; the ids of those that were."""
    d = deposits.c
    rows = [(m.deposit_id, m.player_id, orjson.dumps({m.status: m.facts()}).decode(), now, now) for m in told]
    columns = [d.deposit_id, d.player_id, d.messages, d.received_at, d.due_at]
    return {row.deposit_id for row in insert_new(conn, columns, rows, [d.deposit_id])}


def hold(conn: Connection, deposit_ids: Sequence[str]) -> dict[str, Recorded]:
    """The deposits, held in the order of their ids until this transaction ends."""
    statement = select(*_COLUMNS).where(deposits.c.deposit_id.in_(deposit_ids)).order_by(deposits.c.deposit_id)
    return {row.deposit_id: _recorded(row) for row in conn.execute(statement.with_for_update())}


def by_ids(conn: Connection, deposit_ids: Sequence[str]) -> dict[str, Recorded]:
    statement = select(*_COLUMNS).where(deposits.c.deposit_id.in_(deposit_ids))
    return {row.deposit_id: _recorded(row) for row in conn.execute(statement)}


def judged_silently(conn: Connection, since: Instant, until: Instant) -> Iterator[Recorded]:
    """Approved deposits whose last judging in the period left no event, by its time: they had no code, or were undone
    without a redemption. Read as they are asked for."""
    d = deposits.c
    redeemed = select(redemptions.c.id).where(redemptions.c.deposit_id == d.deposit_id)
    silent = or_(d.result == "no_code", and_(d.result == "rolled_back", ~redeemed.exists()))
    statement = select(*_COLUMNS).where(d.judged_at >= since, d.judged_at < until, silent).order_by(d.judged_at)
    for row in conn.execute(statement.execution_options(yield_per=READ_AHEAD)):
        yield _recorded(row)


def get(conn: Connection, deposit_id: str) -> Recorded | None:
    row = conn.execute(select(*_COLUMNS).where(deposits.c.deposit_id == deposit_id)).one_or_none()
    return None if row is None else _recorded(row)


def of_player(conn: Connection, player_id: str, after: str = "", limit: int = 100) -> list[Recorded]:
    """A player's deposits in the order of their ids, from the one after `after`."""
    statement = select(*_COLUMNS).where(deposits.c.player_id == player_id, deposits.c.deposit_id > after)
    return [_recorded(row) for row in conn.execute(statement.order_by(deposits.c.deposit_id).limit(limit))]


def page(conn: Connection, after: str, limit: int, *, player_id: str | None = None) -> list[Recorded]:
    """Deposits in the order of their ids, from the one after `after`."""
    if player_id is not None:
        return of_player(conn, player_id, after, limit)
    statement = select(*_COLUMNS).where(deposits.c.deposit_id > after)
    return [_recorded(row) for row in conn.execute(statement.order_by(deposits.c.deposit_id).limit(limit))]


def retell(conn: Connection, deposit_id: str, messages: dict[str, dict[str, Any]], now: Instant) -> None:
    """What is told of a deposit has changed: keep it and have it judged again."""
    conn.execute(
        update(deposits)
        .where(deposits.c.deposit_id == deposit_id)
        .values(messages=orjson.dumps(messages).decode(), due_at=now)
    )


def keep_verdicts(conn: Connection, judged: Sequence[Judged], now: Instant) -> int:
    """Record verdicts; how many deposits there were to have them. One that says the same as before keeps its time."""
    d = deposits.c
    columns = [d.deposit_id, d.verdict, d.result, d.due_at, d.waits_for]
    rows = [
        (j.deposit_id, orjson.dumps(j.verdict).decode(), j.verdict["result"], j.due_at, j.waits_for) for j in judged
    ]
    statement = (
        "UPDATE deposits SET judged_at = CASE WHEN deposits.verdict = r.verdict THEN deposits.judged_at ELSE :now END, "
        "verdict = r.verdict, result = r.result, due_at = r.due_at, waits_for = r.waits_for "
        "FROM {rows} WHERE deposits.deposit_id = r.deposit_id"
    )
    return update_each(conn, statement, columns, rows, now=now)


def redemption_of(conn: Connection, deposit_ids: Sequence[str]) -> dict[str, Redemption]:
    """{deposit: its redemption, rolled back or not}"""
    r = redemptions.c
    columns = (r.id, r.code_id, r.currency, r.reward_units, r.rolled_back_at)
    statement = select(r.deposit_id, *columns).where(r.deposit_id.in_(deposit_ids))
    return {row.deposit_id: Redemption(*row[1:]) for row in conn.execute(statement)}


def add_redemptions(conn: Connection, new: Sequence[NewRedemption], now: Instant) -> dict[str, int]:
    """Record redemptions; {deposit: row id} of those whose deposit had none: a unique index lets it have one only."""
    r = redemptions.c
    columns = [
        r.code_id, r.deposit_id, r.campaign_id, r.player_id, r.amount, r.currency, r.reward, r.reward_units, r.at,
        r.due_at,
    ]  # fmt: skip
    rows = [
        (
            n.code_id,
            n.deposit_id,
            n.campaign_id,
            n.player_id,
            n.amount,
            n.currency,
            None if n.reward is None else orjson.dumps(n.reward).decode(),
            n.reward_units,
            now,
            now,
        )
        for n in new
    ]
    return {row.deposit_id: row.id for row in insert_new(conn, columns, rows, [r.deposit_id, r.id])}


def roll_back(conn: Connection, redemption_ids: Sequence[int], now: Instant) -> int:
    """Mark redemptions rolled back; how many of them were active."""
    if not redemption_ids:
        return 0
    r = redemptions.c
    statement = update(redemptions).where(r.id.in_(redemption_ids), r.rolled_back_at.is_(None))
    return conn.execute(statement.values(rolled_back_at=now, due_at=now)).rowcount


def active_redemptions(conn: Connection, player_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """{(player, campaign): how many redemptions of the campaign are active}"""
    r = redemptions.c
    statement = (
        select(r.player_id, r.campaign_id, func.count())
        .where(r.player_id.in_(player_ids), r.rolled_back_at.is_(None))
        .group_by(r.player_id, r.campaign_id)
    )
    return {(player_id, campaign_id): count for player_id, campaign_id, count in conn.execute(statement)}


def due(conn: Connection, before: Instant, limit: int) -> list[str]:
    """Deposits that were recorded and not judged, or whose grace has ended."""
    statement = select(deposits.c.deposit_id).where(deposits.c.due_at <= before)
    return list(conn.execute(statement.order_by(deposits.c.due_at).limit(limit)).scalars())


def results(conn: Connection) -> dict[str, int]:
    """{result: how many deposits}; those not judged yet under `unjudged`."""
    statement = select(deposits.c.result, func.count()).group_by(deposits.c.result)
    return {row[0] or "unjudged": row[1] for row in conn.execute(statement)}


def anyone_waits(conn: Connection, folded: Sequence[str]) -> bool:
    """Whether any deposit waits for one of these codes."""
    found = select(deposits.c.deposit_id).where(deposits.c.waits_for.in_(folded)).limit(1)
    return conn.execute(found).first() is not None


def wake(conn: Connection, folded: Sequence[str], now: Instant) -> list[str]:
    """The deposits that waited for one of these codes; they are due now."""
    d = deposits.c
    # Held in the order of their ids first, as whoever judges holds them.
    waiting = select(d.deposit_id).where(d.waits_for.in_(folded)).order_by(d.deposit_id).with_for_update()
    ids = list(conn.execute(waiting).scalars())
    if ids:
        conn.execute(update(deposits).where(d.deposit_id.in_(ids)).values(due_at=now, waits_for=None))
    return ids


def _recorded(row: Row[*tuple[Any, ...]]) -> Recorded:
    return Recorded(
        row.deposit_id,
        row.player_id,
        orjson.loads(row.messages),
        row.received_at,
        orjson.loads(row.verdict) if row.verdict else None,
        row.result,
        row.judged_at,
    )
