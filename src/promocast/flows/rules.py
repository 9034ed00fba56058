"""Firing a journey's rules: an event becomes planned deliveries, in the transaction that records it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from promocast import recipients
from promocast.campaign import journey
from promocast.campaign.document import Campaign
from promocast.campaign.journey import Cause
from promocast.flows import Ring
from promocast.ledger import Connection, deliveries
from promocast.ledger.deliveries import NewDelivery
from promocast.model import Instant

# What was planned, as triples of channel, delivery and the instant at which it is due.
Planned = list[tuple[str, int, Instant]]


@dataclass(frozen=True, slots=True)
class Fired:
    """An event of one code. `recipient` is the stored one; `event_id` is null for code.issued, which is derived."""

    campaign: Campaign
    code_id: int
    recipient: dict[str, Any]
    cause: Cause
    event_id: int | None = None
    event_key: str = ""


def fire(conn: Connection, fired: Iterable[Fired], now: Instant) -> Planned:
    """Plan what the events lead to; what was planned for them before is not planned again."""
    new: list[NewDelivery] = []
    for one in fired:
        wanted = journey.plan(one.campaign, one.cause, _address_counts(one.recipient))
        new.extend(
            NewDelivery(one.code_id, p.rule, p.channel, p.slot, now + p.after, one.event_id, one.event_key)
            for p in wanted
        )
    return deliveries.plan(conn, new, now) if new else []


def ring_due(ring: Ring, planned: Sequence[tuple[str, int, Instant]], now: Instant) -> None:
    """Ring for those of the planned deliveries that are due at once; the sweeper will for the others."""
    due: dict[str, list[int]] = {}
    for channel, delivery_id, due_at in planned:
        if due_at <= now:
            due.setdefault(channel, []).append(delivery_id)
    for channel, ids in due.items():
        ring(f"deliver.{channel}", ids)


def _address_counts(recipient: dict[str, Any]) -> dict[str, int]:
    return {channel: len(recipients.addresses_on(recipient, channel)) for channel in recipient.get("addresses", {})}
