"""Journeys: which deliveries an event causes, and what may still stop one.

A journey is a set of event-condition-action rules. An event's rules become planned deliveries in the transaction that
records the event; `unless` and the code's own state are asked again whenever a delivery is about to be sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from promocast.campaign import quiet
from promocast.campaign.document import Campaign
from promocast.campaign.rule import Rule
from promocast.model import DAY, Instant


@dataclass(frozen=True, slots=True)
class Planned:
    """One delivery to be: which rule asks for it, on which channel, to which of its addresses, how long after (the
    rule's `at` comes on top of that)."""

    rule: int
    channel: str
    slot: int
    after: int


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What a send depends on, as the ledger has it at the moment of asking."""

    shown_at: Instant | None
    revoked_at: Instant | None
    expires_at: Instant | None
    redeemed: int
    max_redemptions: int | None
    expired: bool = False  # its end has come
    sent: bool = False  # something else of it was, to its player
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """What may fire a rule: the event's type, and of a client action its name, of a delivery its channel, of a refused
    deposit the reason."""

    event: str
    action: str | None = None
    of: str | None = None
    reason: str | None = None

    def fires(self, rule: Rule) -> bool:
        if rule.on != self.event or rule.action != self.action:
            return False
        return rule.of in (None, self.of) and rule.reason in (None, self.reason)


def key_of(rule: Rule, index: int, channel: str, event_key: str) -> str:
    """The event key of what becomes of a rule's deliveries on a channel: once for all addresses there, and once for
    whatever set the first rule off. `event_key` is that of the deliveries themselves.

    It does not grow from one rule to the next, so rules that set each other off come to an end: there are only so many
    rules and channels.
    """
    origin = event_key
    if rule.on.startswith("delivery."):
        origin = "".join(event_key.split(":", 2)[2:])
    return f"{index}:{channel}:{origin}" if origin else f"{index}:{channel}"


def plan(campaign: Campaign, cause: Cause, addresses: Mapping[str, int]) -> Iterator[Planned]:
    """The deliveries that `cause` leads to for a recipient who has `addresses[channel]` addresses on each channel.

    Where a rule waits for a channel's failure, a recipient without an address there is planned for as well: it fails
    when it is due, and not before, for a reminder may turn out not to be needed.
    """
    awaited = {rule.of for rule in campaign.journey if rule.on == "delivery.failed"}
    for i, rule in enumerate(campaign.journey):
        if not cause.fires(rule):
            continue
        if rule.call:
            yield Planned(i, "call", 0, rule.after)
        for channel in rule.send:
            for slot in range(addresses.get(channel, 0) or (channel in awaited)):
                yield Planned(i, channel, slot, rule.after)


def due(rule: Rule, at: Instant, zone: tzinfo) -> Instant:
    """When a delivery is due that an event at `at` leads to: `after` it, and then at the next `at` of the player's
    day."""
    earliest = at + rule.after
    return earliest if rule.at is None else quiet.next_time(rule.at, zone, earliest)


def longest_wait(rule: Rule) -> int:
    """How long, in milliseconds, after its event a delivery of the rule may be due."""
    return rule.after + (2 * DAY if rule.at is not None else 0)


def withheld(rule: Rule, code: CodeFacts) -> str | None:
    """Which of the rule's `unless` conditions has come true, if any."""
    true = {
        "code.shown": code.shown_at is not None,
        "code.redeemed": code.redeemed > 0,
        "code.expired": code.expired,
        "code.revoked": code.revoked_at is not None,
        "delivery.sent": code.sent,
        "delivery.delivered": code.delivered,
    }
    return next((f"unless {condition}" for condition in rule.unless if true[condition]), None)


def dead(code: CodeFacts, now: Instant, min_ttl: int) -> str | None:
    """Why the code is of no more use to a player, or will be before they can act on it."""
    if code.revoked_at is not None:
        return "revoked"
    if code.max_redemptions is not None and code.redeemed >= code.max_redemptions:
        return "redeemed"
    if code.expires_at is not None and now + min_ttl > code.expires_at:
        return "expired" if now >= code.expires_at else "min_ttl"
    return None


def held_out(campaign: Campaign, player_id: str) -> bool:
    """Whether the player belongs to the campaign's control group: by the ids of the two alone, so that they stay in it
    over requests and versions, and a group that grows keeps those that it has."""
    if not campaign.control_group:
        return False
    digest = hashlib.sha256(f"{campaign.id}\n{player_id}".encode()).digest()
    return int.from_bytes(digest[:8]) * 100 < campaign.control_group << 64


def expiry(campaign: Campaign, anchor: Instant | None) -> Instant | None:
    """When a code stops being redeemable: the earlier of `anchor` + `valid_for` and `ends_at`.

    `anchor` is None while what `valid_from` waits for has not happened; then only `ends_at` ends the code.
    """
    ends = [] if campaign.ends_at is None else [campaign.ends_at]
    if anchor is not None and campaign.code.valid_for is not None:
        ends.append(anchor + campaign.code.valid_for)
    return min(ends, default=None)
