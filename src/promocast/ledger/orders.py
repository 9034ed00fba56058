"""What was ordered of whole requests: that they wait for somebody to confirm their size, or are cancelled."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select, update

from promocast.ledger.schema import campaigns, codes, deliveries, request_parts, requests
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class Order:
    """A request as its parts are issued by: `accepted` counts the recipients of all of them."""

    id: int
    ref: str
    campaign_id: str
    accepted: int
    cancelled_at: Instant | None
    held_at: Instant | None
    confirmed_at: Instant | None
    campaign_paused_at: Instant | None

    @property
    def held_back(self) -> bool:
        return self.held_at is not None or self.campaign_paused_at is not None


def _orders() -> Select[Any]:
    r = requests.c
    columns = (r.id, r.ref, r.campaign_id, r.accepted, r.cancelled_at, r.held_at, r.confirmed_at)
    paused = campaigns.c.paused_at.label("campaign_paused_at")
    return select(*columns, paused).join(campaigns, campaigns.c.id == r.campaign_id)


def get(conn: Connection, ref: str, *, lock: bool = False) -> Order | None:
    """The request that its producer calls `ref`; with `lock` it stays as it is until this transaction ends."""
    found = _orders().where(requests.c.ref == ref)
    row = conn.execute(found.with_for_update(of=requests) if lock else found).one_or_none()
    return None if row is None else Order(**row._asdict())


def of_part(conn: Connection, part_id: int) -> Order | None:
    """The request of a part."""
    found = _orders().join(request_parts, request_parts.c.request_id == requests.c.id)
    row = conn.execute(found.where(request_parts.c.id == part_id)).one_or_none()
    return None if row is None else Order(**row._asdict())


def add(conn: Connection, request_id: int, recipients: int) -> int:
    """Count recipients of a further part; how many the request has by now."""
    grown = update(requests).where(requests.c.id == request_id).values(accepted=requests.c.accepted + recipients)
    return int(conn.execute(grown.returning(requests.c.accepted)).scalar_one())


def sizes(conn: Connection, campaign_id: str, but: int, limit: int) -> list[int]:
    """How many recipients the campaign's last requests had, without the one of row id `but`."""
    r = requests.c
    found = select(r.accepted).where(r.campaign_id == campaign_id, r.id != but, r.accepted > 0)
    return list(conn.execute(found.order_by(r.id.desc()).limit(limit)).scalars())


def hold(conn: Connection, request_id: int, now: Instant) -> bool:
    """Let it wait for somebody to confirm it; False where somebody has, or it waits already, or is cancelled."""
    r = requests.c
    open_ = (r.held_at.is_(None), r.confirmed_at.is_(None), r.cancelled_at.is_(None))
    statement = update(requests).where(r.id == request_id, *open_)
    return conn.execute(statement.values(held_at=now)).rowcount == 1


def waits(conn: Connection, request_id: int) -> bool:
    """Whether it waits for somebody to confirm it."""
    held = select(requests.c.id).where(requests.c.id == request_id, requests.c.held_at.is_not(None))
    return conn.execute(held).first() is not None


def confirm(conn: Connection, request_id: int, now: Instant) -> bool:
    """It may be issued, however large it grows; False where it did not wait."""
    statement = update(requests).where(requests.c.id == request_id, requests.c.held_at.is_not(None))
    return conn.execute(statement.values(held_at=None, confirmed_at=now)).rowcount == 1


def cancel(conn: Connection, request_id: int, now: Instant) -> bool:
    """Nothing more of it is issued or sent; False where it is cancelled already. What waited to be confirmed waits no
    more."""
    statement = update(requests).where(requests.c.id == request_id, requests.c.cancelled_at.is_(None))
    return conn.execute(statement.values(cancelled_at=now, held_at=None)).rowcount == 1


def cancelled_among(conn: Connection, request_ids: Collection[int]) -> set[int]:
    r = requests.c
    return set(conn.execute(select(r.id).where(r.id.in_(sorted(request_ids)), r.cancelled_at.is_not(None))).scalars())


def cancelled_since(conn: Connection, since: Instant) -> set[int]:
    return set(conn.execute(select(requests.c.id).where(requests.c.cancelled_at >= since)).scalars())


def skip_unsent(conn: Connection, request_id: int, after: int, limit: int) -> tuple[int, int | None]:
    """Close what is planned for up to `limit` codes of a cancelled request, from the one after `after`; (how many
    deliveries, where to go on)."""
    c, d = codes.c, deliveries.c
    window = list(
        conn.execute(select(c.id).where(c.request_id == request_id, c.id > after).order_by(c.id).limit(limit)).scalars()
    )
    if not window:
        return 0, None
    planned = (
        d.code_id.between(window[0], window[-1]),
        d.code_id.in_(window),
        d.state == "planned",
        d.channel != "call",
    )
    closed = conn.execute(update(deliveries).where(*planned).values(state="skipped", reason="cancelled", due_at=None))
    return closed.rowcount, window[-1] if len(window) == limit else None
