"""Journeys: which deliveries an event causes, and what may still stop one.

A journey is a set of event-condition-action rules. An event's rules become planned deliveries in the transaction that
records the event; `unless` and the code's own state are asked again whenever a delivery is about to be sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from promocast.campaign.document import Campaign, Rule
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class Planned:
    """One delivery to be: which rule asks for it, on which channel, to which of its addresses, how long after."""

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


@dataclass(frozen=True, slots=True)
class Cause:
    """What may fire a rule: the event's type, and of a client action its name, of a failed delivery its channel."""

    event: str
    action: str | None = None
    of: str | None = None


def plan(campaign: Campaign, cause: Cause, addresses: Mapping[str, int]) -> Iterator[Planned]:
    """The deliveries that `cause` leads to for a recipient who has `addresses[channel]` addresses on each channel.

    Where a rule waits for a channel's failure, a recipient without an address there is planned for as well: it fails
    when it is due, and not before, for a reminder may turn out not to be needed.
    """
    awaited = {rule.of for rule in campaign.journey if rule.of is not None}
    for i, rule in enumerate(campaign.journey):
        if rule.on != cause.event or rule.action != cause.action or rule.of != cause.of:
            continue
        if rule.call:
            yield Planned(i, "call", 0, rule.after)
        for channel in rule.send:
            for slot in range(addresses.get(channel, 0) or (channel in awaited)):
                yield Planned(i, channel, slot, rule.after)


def withheld(rule: Rule, code: CodeFacts) -> str | None:
    """Which of the rule's `unless` conditions has come true, if any."""
    if "code.shown" in rule.unless and code.shown_at is not None:
        return "unless code.shown"
    if "code.redeemed" in rule.unless and code.redeemed > 0:
        return "unless code.redeemed"
    return None


def dead(code: CodeFacts, now: Instant, min_ttl: int) -> str | None:
    """Why the code is of no more use to a player, or will be before they can act on it."""
    if code.revoked_at is not None:
        return "revoked"
    if code.max_redemptions is not None and code.redeemed >= code.max_redemptions:
        return "redeemed"
    if code.expires_at is not None and now + min_ttl > code.expires_at:
        return "expired" if now >= code.expires_at else "min_ttl"
    return None


def expiry(campaign: Campaign, anchor: Instant | None) -> Instant | None:
    """When a code stops being redeemable: the earlier of `anchor` + `valid_for` and `ends_at`.

    `anchor` is None while what `valid_from` waits for has not happened; then only `ends_at` ends the code.
    """
    ends = [] if campaign.ends_at is None else [campaign.ends_at]
    if anchor is not None and campaign.code.valid_for is not None:
        ends.append(anchor + campaign.code.valid_for)
    return min(ends, default=None)
