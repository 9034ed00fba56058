"""Codes by the page, for exports: only what those tell, and never more of the book at once than a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from promocast.ledger.schema import codes, requests
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which codes; what is None does not matter. Issued from `since` until before `until`."""

    campaign_id: str | None = None
    player_id: str | None = None
    request_ref: str | None = None
    since: Instant | None = None
    until: Instant | None = None

    @property
    def indexed(self) -> bool:
        """Whether an index leads to them, so that a page of them is found without looking at all the others."""
        return self.player_id is not None or self.request_ref is not None


def span(conn: Connection) -> tuple[int, int]:
    """The first and the last row id of all codes; (0, -1) where there is none."""
    first, last = conn.execute(select(func.min(codes.c.id), func.max(codes.c.id))).one()
    return (0, -1) if first is None else (first, last)


def page(conn: Connection, wanted: Wanted, after: int, upto: int, limit: int) -> Sequence[Row[*tuple[Any, ...]]]:
    """Up to `limit` of the wanted codes with after < id <= upto, in the order of their ids."""
    c = codes.c
    columns = (c.id, c.code, c.campaign_id, c.player_id, requests.c.ref, c.issued_at, c.sent_at, c.shown_at)
    more = (c.expires_at, c.revoked_at, c.redeemed, c.max_redemptions)
    statement = select(*columns, *more).select_from(codes.outerjoin(requests, requests.c.id == c.request_id))
    statement = statement.where(c.id > after, c.id <= upto).order_by(c.id).limit(limit)
    if wanted.campaign_id is not None:
        statement = statement.where(c.campaign_id == wanted.campaign_id)
    if wanted.player_id is not None:
        statement = statement.where(c.player_id == wanted.player_id)
    if wanted.request_ref is not None:
        of_request = select(requests.c.id).where(requests.c.ref == wanted.request_ref).scalar_subquery()
        statement = statement.where(c.request_id == of_request)
    if wanted.since is not None:
        statement = statement.where(c.issued_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(c.issued_at < wanted.until)
    return conn.execute(statement).all()
