"""Evidence: what providers tell of deliveries after they were sent, or after nobody knew whether they were.

A state is never taken back: `delivered` and `rejected` are the end, whatever is told later, and `sent` settles only
what is unknown. So reports may come late, twice, and in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, func, select, update

from promocast.ledger.schema import deliveries
from promocast.model import DeliveryState, Instant

# What each report may find. A report can overtake our own record of the send that it is about.
_OPEN: Final = ("planned", "sending", "unknown", "sent")
_FINDS: Final = {"sent": ("unknown",), "delivered": _OPEN, "rejected": _OPEN, "planned": ("sending", "unknown", "sent")}


@dataclass(frozen=True, slots=True)
class Settled:
    """A delivery of which something was told. `was` is its state before, `state` the one since: the same where what was
    told is no news."""

    id: int
    code_id: int
    channel: str
    slot: int
    was: str
    state: DeliveryState


def settle(
    conn: Connection,
    delivery_id: int,
    state: Literal["sent", "delivered", "rejected", "planned"],
    now: Instant,
    *,
    channel: str,
    reason: str | None = None,
    ref: str | None = None,
    again_at: Instant | None = None,
    max_attempts: int = 0,
) -> Settled | None:
    """Set a delivery on `channel` to what was told of it; None where there is none such.

    Args:
        again_at: `planned`: when to send it again. Once it was tried `max_attempts` times it is exhausted instead.
    """
    d = deliveries.c
    columns = (d.id, d.code_id, d.channel, d.slot, d.state, d.attempts)
    known = select(*columns).where(d.id == delivery_id, d.channel == channel)
    row = conn.execute(known.with_for_update()).one_or_none()
    if row is None:
        return None
    if row.state not in _FINDS[state]:
        return Settled(row.id, row.code_id, row.channel, row.slot, row.state, row.state)
    becomes: DeliveryState = "exhausted" if state == "planned" and row.attempts >= max_attempts else state
    due_at = again_at if becomes == "planned" else None
    values: dict[str, Any] = {"state": becomes, "reason": reason, "due_at": due_at, "ref": func.coalesce(d.ref, ref)}
    if becomes in ("sent", "delivered"):
        values["sent_at"] = func.coalesce(d.sent_at, now)
    conn.execute(update(deliveries).where(d.id == delivery_id).values(**values))
    return Settled(row.id, row.code_id, row.channel, row.slot, row.state, becomes)
