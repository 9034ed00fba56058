"""Erasing a player: what is personal goes, what finance and the seals need stays under a pseudonym.

In the order of the locks: request parts, deposits, the player, codes. Whoever issues or judges at this moment is either
done before, and erased, or comes after, and finds nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Table, case, delete, func, or_, select, update

from promocast import recipients
from promocast.ledger import early, moves, seals
from promocast.ledger import events as feed
from promocast.ledger.engine import lock_players
from promocast.ledger.events import Event
from promocast.ledger.schema import (
    codes,
    deliveries,
    deposits,
    events,
    guesses,
    inbox,
    players,
    request_parts,
    requests,
)
from promocast.model import Instant

REASON: Final = "player_erased"


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows held something of the player."""

    codes: int
    deposits: int
    redemptions: int
    events: int
    requests: int
    inbox: int
    records: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


def erase(
    conn: Connection, player_id: str, pseudonym: str, now: Instant, mentions: Callable[[bytes], bytes | None]
) -> Erased:
    """Erase a player.

    Args:
        mentions: what is left of a raw body without the player; None where it does not mention them.
    """
    parts = _parts(conn, player_id, pseudonym)
    told = select(deposits.c.deposit_id).where(deposits.c.player_id == player_id).order_by(deposits.c.deposit_id)
    conn.execute(told.with_for_update()).all()
    lock_players(conn, [player_id])
    held = _codes(conn, player_id, pseudonym, now)
    conn.execute(update(deposits).where(deposits.c.player_id == player_id).values(player_id=pseudonym))
    deposited = conn.execute(select(func.count()).where(deposits.c.player_id == pseudonym)).scalar_one()
    redeemed = seals.forget(conn, player_id, pseudonym)
    found = _events(conn, player_id, pseudonym)
    kept = _inbox(conn, player_id, mentions)
    records = early.forget(conn, player_id)
    for table in (players, guesses):
        records += conn.execute(delete(table).where(table.c.player_id == player_id)).rowcount
    return Erased(held, deposited, redeemed, found, parts, kept, records)


def _quoted(text: str) -> str:
    """The text as it stands in JSON."""
    return orjson.dumps(text).decode()


def _mentioning(table: Table, names: tuple[str, ...], what: str) -> ColumnElement[bool]:
    """Rows that mention `what` in one of these columns. They are read one by one: erasing is rare, and an index on what
    is personal would be one more copy of it."""
    return or_(*(table.c[name].contains(what, autoescape=True) for name in names))


def _parts(conn: Connection, player_id: str, pseudonym: str) -> int:
    p = request_parts.c
    names = ("recipients", "answer", "refused")
    found = select(p.id, p.recipients, p.answer, p.refused).where(_mentioning(request_parts, names, _quoted(player_id)))
    rows = conn.execute(found.order_by(p.id).with_for_update()).all()
    for row in rows:
        waiting = orjson.loads(row.recipients) if row.recipients else None
        values = {
            "recipients": None if waiting is None else _dumped([one for one in waiting if one[0] != player_id]),
            "answer": _dumped(renamed(orjson.loads(row.answer), player_id, pseudonym)),
            "refused": row.refused and _dumped(renamed(orjson.loads(row.refused), player_id, pseudonym)),
        }
        conn.execute(update(request_parts).where(p.id == row.id).values(**values))
    return len(rows)


def _codes(conn: Connection, player_id: str, pseudonym: str, now: Instant) -> int:
    c, d = codes.c, deliveries.c
    columns = (c.id, c.request_id, c.campaign_id, c.recipient, c.revoked_at)
    rows = conn.execute(select(*columns).where(c.player_id == player_id).order_by(c.id).with_for_update()).all()
    for row in rows:
        if row.revoked_at is None:
            feed.append(conn, Event("code.revoked", now, row.campaign_id, row.id, {"by": REASON, "reason": None}))
        for chat in recipients.addresses_on(orjson.loads(row.recipient or "{}"), "telegram"):
            moves.forget(conn, "telegram", chat)
    of_player = select(c.id).where(c.player_id == player_id)
    unsent = (d.code_id.in_(of_player), d.state.in_(("planned", "unknown")))
    conn.execute(update(deliveries).where(*unsent).values(state="skipped", reason=REASON, due_at=None))
    conn.execute(update(deliveries).where(d.code_id.in_(of_player)).values(ref=None))
    _rename_requests(conn, player_id, {row.request_id for row in rows if row.request_id is not None})
    conn.execute(
        update(codes)
        .where(c.player_id == player_id)
        .values(
            code=c.folded,
            slot=case((c.slot == player_id, pseudonym), else_=c.slot),
            recipient=None,
            labels=None,
            revoked_at=func.coalesce(c.revoked_at, now),
            player_id=pseudonym,
        )
    )
    return len(rows)


def _rename_requests(conn: Connection, player_id: str, ids: set[int]) -> None:
    """Requests for this player alone whose very name has the player's id in it."""
    others = select(codes.c.id).where(codes.c.request_id == requests.c.id, codes.c.player_id != player_id).exists()
    named = requests.c.ref.contains(player_id, autoescape=True)
    for request_id in conn.execute(select(requests.c.id).where(requests.c.id.in_(ids), named, ~others)).scalars():
        conn.execute(update(requests).where(requests.c.id == request_id).values(ref=f"{seals.ERASED}{request_id}"))


def _events(conn: Connection, player_id: str, pseudonym: str) -> int:
    found = select(events.c.id, events.c.data).where(_mentioning(events, ("data",), _quoted(player_id)))
    changed = 0
    for row in conn.execute(found).all():
        data = orjson.loads(row.data)
        if (without := renamed(data, player_id, pseudonym)) != data:
            conn.execute(update(events).where(events.c.id == row.id).values(data=_dumped(without)))
            changed += 1
    return changed


def _inbox(conn: Connection, player_id: str, mentions: Callable[[bytes], bytes | None]) -> int:
    changed = 0
    for row in conn.execute(select(inbox.c.id, inbox.c.body, inbox.c.player_id)).all():
        left = b"" if row.player_id == player_id else mentions(row.body)
        if left is not None:
            conn.execute(update(inbox).where(inbox.c.id == row.id).values(body=left, player_id=None))
            changed += 1
    return changed


def renamed(value: Any, player_id: str, pseudonym: str) -> Any:
    """JSON with the pseudonym wherever the id stands as a `player_id`."""
    if isinstance(value, list):
        return [renamed(each, player_id, pseudonym) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: pseudonym if key == "player_id" and each == player_id else renamed(each, player_id, pseudonym)
        for key, each in value.items()
    }


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()
