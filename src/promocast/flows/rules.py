"""Firing a journey's rules: an event becomes planned deliveries, in the transaction that records it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from promocast import recipients
from promocast.campaign import journey, quiet
from promocast.campaign.document import Campaign
from promocast.campaign.journey import Cause
from promocast.flows import Ring
from promocast.ledger import Connection, codes, deliveries, players
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
    at: Instant | None = None  # when it happened; None: now


def fire(conn: Connection, fired: Iterable[Fired], now: Instant) -> Planned:
    """Plan what the events lead to; what was planned for them before is not planned again."""
    wanted = [(one, list(journey.plan(one.campaign, one.cause, _address_counts(one.recipient)))) for one in fired]
    zones = _zones(conn, [one for one, plans in wanted if any(one.campaign.journey[p.rule].at for p in plans)])
    new: list[NewDelivery] = []
    for one, plans in wanted:
        for p in plans:
            rule = one.campaign.journey[p.rule]
            at = now if one.at is None else one.at
            due_at = at + p.after if rule.at is None else journey.due(rule, at, zones[one.code_id])
            new.append(NewDelivery(one.code_id, p.rule, p.channel, p.slot, due_at, one.event_id, one.event_key))
    return deliveries.plan(conn, new, now) if new else []


def waited_for(campaign: Campaign, event: str) -> bool:
    """Whether any rule of the campaign waits for events of the type: most campaigns need not look further."""
    return any(rule.on == event for rule in campaign.journey)


def _zones(conn: Connection, fired: Sequence[Fired]) -> dict[int, tzinfo]:
    """{code: its player's time zone}, for rules that go by the player's clock."""
    if not fired:
        return {}
    nowhere = [one.code_id for one in fired if not one.recipient.get("timezone")]
    known = codes.by_ids(conn, nowhere) if nowhere else {}
    holders = players.by_ids(conn, sorted({code.player_id for code in known.values() if code.player_id}))
    zones = {}
    for one in fired:
        code = known.get(one.code_id)
        holder = holders.get(code.player_id or "") if code is not None else None
        recorded = holder.timezone if holder else None
        zones[one.code_id] = quiet.zone_of(one.recipient.get("timezone"), recorded, one.campaign.timezone)
    return zones


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
