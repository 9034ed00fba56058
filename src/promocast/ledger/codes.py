"""Codes: recorded before they are sent, unique in their folded spelling, redeemed at most their limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Select, func, or_, select, update

from promocast.ledger.engine import insert_new, update_each
from promocast.ledger.schema import codes, deliveries, redemptions, requests
from promocast.model import PLAYER_CHANNELS, Instant


@dataclass(frozen=True, slots=True)
class Code:
    """A code as committed. `recipient` and `labels` are decoded JSON; both are empty for an external code."""

    id: int
    code: str
    folded: str
    campaign_id: str
    campaign_version: int
    request_id: int | None
    player_id: str | None
    recipient: dict[str, Any]
    labels: dict[str, str]
    issued_at: Instant
    shown_at: Instant | None
    expires_at: Instant | None
    revoked_at: Instant | None
    redeemed: int
    max_redemptions: int | None


@dataclass(frozen=True, slots=True)
class NewCode:
    """A drawn code for one recipient of a request."""

    code: str
    folded: str
    player_id: str
    recipient: str
    labels: str | None


_COLUMNS = (
    codes.c.id,
    codes.c.code,
    codes.c.folded,
    codes.c.campaign_id,
    codes.c.campaign_version,
    codes.c.request_id,
    codes.c.player_id,
    codes.c.recipient,
    codes.c.labels,
    codes.c.issued_at,
    codes.c.shown_at,
    codes.c.expires_at,
    codes.c.revoked_at,
    codes.c.redeemed,
    codes.c.max_redemptions,
)


def _codes(conn: Connection, statement: Select[Any]) -> list[Code]:
    found = []
    for row in conn.execute(statement):
        values = row._asdict()
        values["recipient"] = orjson.loads(row.recipient) if row.recipient else {}
        values["labels"] = orjson.loads(row.labels) if row.labels else {}
        found.append(Code(**values))
    return found


def record(
    conn: Connection,
    drawn: Sequence[NewCode],
    *,
    campaign_id: str,
    campaign_version: int,
    request_id: int,
    expires_at: Instant | None,
    max_redemptions: int | None,
    now: Instant,
) -> dict[str, int]:
    """Record the codes that are new in every way; {player_id: code row id} of those.

    What is missing from the answer either has a code of this request already, or drew one that somebody else has:
    `issued_to` tells which.
    """
    c = codes.c
    columns = [
        c.code, c.folded, c.player_id, c.recipient, c.labels, c.campaign_id, c.campaign_version, c.request_id,
        c.issued_at, c.expires_at, c.due_at, c.max_redemptions,
    ]  # fmt: skip
    shared = (campaign_id, campaign_version, request_id, now, expires_at, expires_at, max_redemptions)
    rows = [(new.code, new.folded, new.player_id, new.recipient, new.labels, *shared) for new in drawn]
    return {row.player_id: row.id for row in insert_new(conn, columns, rows, [c.id, c.player_id])}


def record_external(
    conn: Connection,
    code: str,
    folded: str,
    *,
    campaign_id: str,
    campaign_version: int,
    player_id: str | None,
    expires_at: Instant | None,
    max_redemptions: int | None,
    now: Instant,
) -> int | None:
    """Record a code that somebody else made; its row id, or None where the spelling is taken."""
    c = codes.c
    columns = [
        c.code, c.folded, c.player_id, c.campaign_id, c.campaign_version, c.issued_at, c.expires_at, c.due_at,
        c.max_redemptions,
    ]  # fmt: skip
    row = (code, folded, player_id, campaign_id, campaign_version, now, expires_at, expires_at, max_redemptions)
    inserted = insert_new(conn, columns, [row], [c.id])
    return inserted[0].id if inserted else None


def issued_to(conn: Connection, request_id: int, player_ids: Sequence[str]) -> set[str]:
    """Which of the players have a code of this request."""
    found = select(codes.c.player_id).where(codes.c.request_id == request_id, codes.c.player_id.in_(player_ids))
    return set(conn.execute(found).scalars())


def by_ids(conn: Connection, ids: Sequence[int]) -> dict[int, Code]:
    return {code.id: code for code in _codes(conn, select(*_COLUMNS).where(codes.c.id.in_(ids)))}


def by_folded(conn: Connection, folded: Sequence[str], *, lock: bool = False) -> dict[str, Code]:
    """{folded spelling: code}. `lock` holds them, in the order of their ids, until the transaction ends."""
    statement = select(*_COLUMNS).where(codes.c.folded.in_(folded)).order_by(codes.c.id)
    return {code.folded: code for code in _codes(conn, statement.with_for_update() if lock else statement)}


def hold_for_judging(
    conn: Connection, folded: Sequence[str], player_ids: Sequence[str], ids: Sequence[int]
) -> list[Code]:
    """The codes so spelt, those that the players hold, and those of the ids: held, in one order for everybody."""
    c = codes.c
    wanted = or_(c.folded.in_(folded), c.player_id.in_(player_ids), c.id.in_(ids))
    return _codes(conn, select(*_COLUMNS).where(wanted).order_by(c.id).with_for_update())


def hold(conn: Connection, ids: Sequence[int]) -> None:
    """Hold the codes, in the order of their ids, until this transaction ends."""
    conn.execute(select(codes.c.id).where(codes.c.id.in_(ids)).order_by(codes.c.id).with_for_update()).all()


def page(
    conn: Connection,
    *,
    player_id: str | None = None,
    campaign_id: str | None = None,
    request_ref: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[Code]:
    """Codes that fit every given filter, in the order of their ids, from the one after `after`."""
    statement = select(*_COLUMNS).where(codes.c.id > after).order_by(codes.c.id).limit(limit)
    if player_id is not None:
        statement = statement.where(codes.c.player_id == player_id)
    if campaign_id is not None:
        statement = statement.where(codes.c.campaign_id == campaign_id)
    if request_ref is not None:
        of_request = select(requests.c.id).where(requests.c.ref == request_ref).scalar_subquery()
        statement = statement.where(codes.c.request_id == of_request)
    return _codes(conn, statement)


def mark_shown(conn: Connection, code_id: int, now: Instant) -> bool:
    """Set the anchor `shown`, once; False where it was set before."""
    done = conn.execute(update(codes).where(codes.c.id == code_id, codes.c.shown_at.is_(None)).values(shown_at=now))
    return done.rowcount == 1


def mark_sent(conn: Connection, code_ids: Sequence[int], now: Instant) -> list[int]:
    """Set the anchor `sent`, once; the ids of those for which this was the first time."""
    statement = (
        update(codes)
        .where(codes.c.id.in_(code_ids), codes.c.sent_at.is_(None))
        .values(sent_at=now)
        .returning(codes.c.id)
    )
    return list(conn.execute(statement).scalars())


def by_version(conn: Connection, code_ids: Sequence[int]) -> list[tuple[str, int, list[int]]]:
    """[(campaign, version, the codes of it)]"""
    found: dict[tuple[str, int], list[int]] = {}
    statement = select(codes.c.id, codes.c.campaign_id, codes.c.campaign_version).where(codes.c.id.in_(code_ids))
    for row in conn.execute(statement):
        found.setdefault((row.campaign_id, row.campaign_version), []).append(row.id)
    return [(campaign_id, version, ids) for (campaign_id, version), ids in found.items()]


def set_expiry(conn: Connection, code_ids: Sequence[int], expires_at: Instant | None) -> None:
    conn.execute(update(codes).where(codes.c.id.in_(code_ids)).values(expires_at=expires_at, due_at=expires_at))


def bind(conn: Connection, holders: Mapping[int, str]) -> int:
    """Give codes that are nobody's to players ({code: player}); how many were nobody's."""
    statement = "UPDATE codes SET player_id = r.player_id FROM {rows} WHERE codes.id = r.id AND codes.player_id IS NULL"
    return update_each(conn, statement, [codes.c.id, codes.c.player_id], list(holders.items()))


def redeem(conn: Connection, taken: Mapping[int, int]) -> int:
    """Take redemptions of codes ({code: how many}); of how many codes that could be done. The condition stands in the
    statement: a code that is revoked, or has not so many left, gives none."""
    statement = (
        "UPDATE codes SET redeemed = codes.redeemed + r.redeemed FROM {rows} "
        "WHERE codes.id = r.id AND codes.revoked_at IS NULL "
        "AND (codes.max_redemptions IS NULL OR codes.redeemed + r.redeemed <= codes.max_redemptions)"
    )
    return update_each(conn, statement, [codes.c.id, codes.c.redeemed], list(taken.items()))


def give_back(conn: Connection, returned: Mapping[int, int]) -> int:
    """Return redemptions of codes ({code: how many}) after rollbacks; of how many codes that could be done."""
    statement = (
        "UPDATE codes SET redeemed = codes.redeemed - r.redeemed FROM {rows} "
        "WHERE codes.id = r.id AND codes.redeemed >= r.redeemed"
    )
    return update_each(conn, statement, [codes.c.id, codes.c.redeemed], list(returned.items()))


def revoke(conn: Connection, code_id: int, now: Instant) -> bool:
    """Out of use since `now`; False where it was already."""
    done = conn.execute(update(codes).where(codes.c.id == code_id, codes.c.revoked_at.is_(None)).values(revoked_at=now))
    return done.rowcount == 1


def any_ended(conn: Connection, now: Instant) -> bool:
    """Whether `take_expired` would find anything; asked without writing."""
    return conn.execute(select(codes.c.id).where(codes.c.due_at <= now).limit(1)).first() is not None


def take_expired(conn: Connection, now: Instant, limit: int) -> list[Code]:
    """Codes whose end has come since the last look; they will not be given again."""
    statement = select(*_COLUMNS).where(codes.c.due_at <= now).order_by(codes.c.due_at).limit(limit)
    found = _codes(conn, statement.with_for_update(skip_locked=True))
    conn.execute(update(codes).where(codes.c.id.in_([code.id for code in found])).values(due_at=None))
    return found


def sent_at(conn: Connection, code_ids: Sequence[int]) -> dict[int, Instant]:
    """When each code was first sent to its player on any channel."""
    found = (
        select(deliveries.c.code_id, func.min(deliveries.c.sent_at))
        .where(
            deliveries.c.code_id.in_(code_ids),
            deliveries.c.channel.in_(PLAYER_CHANNELS),
            deliveries.c.sent_at.is_not(None),
        )
        .group_by(deliveries.c.code_id)
    )
    return {row[0]: row[1] for row in conn.execute(found)}


def redemptions_of(conn: Connection, code_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """{code: [{deposit_id, amount, currency, reward, at, rolled_back_at}]}, oldest first; instants undecoded."""
    r = redemptions.c
    found: dict[int, list[dict[str, Any]]] = {code_id: [] for code_id in code_ids}
    statement = select(r.code_id, r.deposit_id, r.amount, r.currency, r.reward, r.at, r.rolled_back_at)
    for row in conn.execute(statement.where(r.code_id.in_(code_ids)).order_by(r.id)):
        values = row._asdict()
        found[values.pop("code_id")].append(values | {"reward": orjson.loads(row.reward) if row.reward else None})
    return found


def request_refs(conn: Connection, request_ids: Sequence[int]) -> dict[int, str]:
    found = select(requests.c.id, requests.c.ref).where(requests.c.id.in_(request_ids))
    return {row.id: row.ref for row in conn.execute(found)}
