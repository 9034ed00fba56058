"""What is kept for a time only: raw bodies, and the personal data of codes that are over."""

from __future__ import annotations

from sqlalchemy import Connection, and_, exists, func, or_, select, update

from promocast.ledger.schema import codes, deliveries, inbox, redemptions
from promocast.model import Instant


def empty_bodies(conn: Connection, before: Instant, limit: int) -> int:
    """Empty what came in before; the entry itself stays, with its reason."""
    i = inbox.c
    old = select(i.id).where(i.received_at < before, func.length(i.body) > 0).order_by(i.id).limit(limit)
    ids = list(conn.execute(old).scalars())
    conn.execute(update(inbox).where(i.id.in_(ids)).values(body=b""))
    return len(ids)


def any_body(conn: Connection, before: Instant) -> bool:
    i = inbox.c
    return (
        conn.execute(select(i.id).where(i.received_at < before, func.length(i.body) > 0).limit(1)).first() is not None
    )


def over(conn: Connection, after: int, before: Instant, limit: int) -> tuple[list[int], int | None]:
    """Of the `limit` codes after `after`: those over since `before` of which something personal is kept, and where to
    go on; None at the end.

    A code is over when it was revoked, or has expired, or is used up, and nothing of it is open.
    """
    c, r = codes.c, redemptions.c
    window = list(conn.execute(select(c.id).where(c.id > after).order_by(c.id).limit(limit)).scalars())
    if not window:
        return [], None
    lately = exists(select(r.id).where(r.code_id == c.id, r.at >= before))
    used_up = and_(c.max_redemptions.is_not(None), c.redeemed >= c.max_redemptions, ~lately)
    is_open = exists(select(deliveries.c.id).where(deliveries.c.code_id == c.id, deliveries.c.due_at.is_not(None)))
    found = select(c.id).where(
        c.id.between(window[0], window[-1]),
        c.recipient.is_not(None),
        or_(c.revoked_at < before, c.expires_at < before, used_up),
        ~is_open,
    )
    return list(conn.execute(found.order_by(c.id)).scalars()), window[-1] if len(window) == limit else None


def strip(conn: Connection, code_ids: list[int]) -> int:
    """Leave of these codes what the books need, and their spelling, which is never used again."""
    values = {"recipient": None, "labels": None, "code": codes.c.folded}
    return conn.execute(update(codes).where(codes.c.id.in_(code_ids)).values(**values)).rowcount
