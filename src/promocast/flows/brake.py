"""The size brake: a request far beyond what is usual for its campaign waits for somebody to confirm it.

It is accepted like any other, and recorded whole; it is only not issued. The usual is the median of the campaign's last
requests, so a campaign without a history has no brake.
"""

from __future__ import annotations

from statistics import median

from promocast.ledger import Connection, events, orders
from promocast.ledger.events import Event
from promocast.model import Instant
from promocast.settings import BrakeSettings


def brake(
    conn: Connection,
    request_id: int,
    ref: str,
    campaign_id: str,
    recipients: int,
    *,
    settings: BrakeSettings | None,
    now: Instant,
) -> str | None:
    """Count a part of `recipients`, and hold its request if it has grown too far; what to say of that."""
    accepted = orders.add(conn, request_id, recipients)
    if settings is None or not settings.times or accepted < settings.least:
        return None
    before = orders.sizes(conn, campaign_id, request_id, settings.history)
    if len(before) < settings.history or accepted <= settings.times * (usual := median(before)):
        return None
    if orders.hold(conn, request_id, now):
        data = {"request_id": ref, "recipients": accepted, "usual": int(usual)}
        events.append(conn, Event("request.held", now, campaign_id, data=data))
    elif not orders.waits(conn, request_id):
        return None  # it was confirmed, however it grows, or cancelled
    times = f"{accepted / usual:.0f}" if usual else "many"
    return f"{accepted} recipients are {times} times the usual {usual:.0f}: confirm the request, or cancel it"
