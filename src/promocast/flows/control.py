"""Control: what somebody orders of a campaign or a request while it runs. It acts when it is committed.

A paused campaign issues no codes and sends players nothing; deposits are judged and systems called all the same. A
cancelled request leaves unsent what was not sent, and its codes as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from promocast.errors import InputError, NotFound
from promocast.flows import outcomes
from promocast.flows.compose import Dossier
from promocast.ledger import Connection, Ledger, campaigns, deliveries, events, orders
from promocast.ledger.deliveries import Closing
from promocast.ledger.events import Event
from promocast.ledger.orders import Order
from promocast.model import HOUR, PLAYER_CHANNELS, DeliveryState, Instant

CANCELLED: Final = "cancelled"
# How soon what a pause holds is looked at again. Whoever resumes the campaign releases it before.
HELD_FOR: Final = HOUR
_STEP: Final = 2_000


def pause(ledger: Ledger, campaign_id: str, now: Instant, *, by: str) -> bool:
    """Hold a campaign; False where it is held already.

    Raises:
        NotFound: there is none such.
    """
    with ledger.begin() as conn:
        _known(conn, campaign_id)
        if not campaigns.pause(conn, campaign_id, now):
            return False
        events.append(conn, Event("campaign.paused", now, campaign_id, data={"by": by}, by=by))
        return True


def resume(ledger: Ledger, campaign_id: str, now: Instant, *, by: str) -> bool:
    """Let a campaign go on; False where it was not held.

    Raises:
        NotFound: there is none such.
    """
    with ledger.begin() as conn:
        _known(conn, campaign_id)
        if not campaigns.resume(conn, campaign_id):
            return False
        events.append(conn, Event("campaign.resumed", now, campaign_id, data={"by": by}, by=by))
        for channel in PLAYER_CHANNELS:
            deliveries.release(conn, channel, paused(campaign_id), now)
        return True


def _known(conn: Connection, campaign_id: str) -> None:
    if campaigns.in_force(conn, campaign_id) is None:
        raise NotFound("unknown_campaign", f"No campaign {campaign_id!r} is in force.")


def paused(campaign_id: str) -> str:
    """The reason by which a delivery that a pause holds is found again."""
    return f"campaign {campaign_id} is paused"


def held(conn: Connection, dossiers: Sequence[Dossier], now: Instant) -> list[Closing]:
    """The messages that a pause holds, given back, and those that were cancelled, closed."""
    ours = [dossier for dossier in dossiers if dossier.delivery.channel in PLAYER_CHANNELS]
    if not ours:
        return []
    stopped = campaigns.paused(conn, lock=True)
    ids = {dossier.code.request_id for dossier in ours if dossier.code.request_id is not None}
    cancelled = orders.cancelled_among(conn, ids)
    closings = []
    for dossier in ours:
        delivery, code = dossier.delivery, dossier.code
        if code.request_id in cancelled:
            state: DeliveryState = "unknown" if delivery.unknowns else "skipped"
            closings.append(Closing(delivery, state, CANCELLED, counts=False))
        elif code.campaign_id in stopped:
            why = paused(code.campaign_id)
            closings.append(outcomes.given_back(delivery, why, now + HELD_FOR, code.expires_at))
    return closings


def cancel(ledger: Ledger, ref: str, now: Instant, *, by: str) -> Order:
    """Leave unsent what was not sent of a request, and unissued what was not issued. Repeating it goes on where it was
    interrupted.

    Raises:
        NotFound: no part of it was accepted.
    """
    with ledger.begin() as conn:
        order = _order(conn, ref)
        if orders.cancel(conn, order.id, now):
            data = {"request_id": ref, "by": by}
            events.append(conn, Event("request.cancelled", now, order.campaign_id, data=data, by=by))
    after: int | None = 0
    while after is not None:
        with ledger.begin() as conn:
            _, after = orders.skip_unsent(conn, order.id, after, _STEP)
    with ledger.read() as conn:
        return _order(conn, ref, lock=False)


def confirm(ledger: Ledger, ref: str, now: Instant, *, by: str) -> Order:
    """Let a request be issued that was held for its size.

    Raises:
        NotFound: no part of it was accepted.
        InputError: it does not wait for that.
    """
    with ledger.begin() as conn:
        order = _order(conn, ref)
        if not orders.confirm(conn, order.id, now):
            raise InputError("not_held", f"Request {ref!r} does not wait to be confirmed.")
        data = {"request_id": ref, "recipients": order.accepted, "by": by}
        events.append(conn, Event("request.confirmed", now, order.campaign_id, data=data, by=by))
        return order


def _order(conn: Connection, ref: str, *, lock: bool = True) -> Order:
    order = orders.get(conn, ref, lock=lock)
    if order is None:
        raise NotFound("unknown_request", f"No part of request {ref!r} was accepted.")
    return order
