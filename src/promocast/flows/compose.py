"""From a claimed delivery to a message: may it be sent at all, to which address, with what words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import orjson
from liquid.exceptions import LiquidError

from promocast import recipients
from promocast.campaign import journey, quiet
from promocast.campaign.journey import CodeFacts
from promocast.campaign.rule import QuietHours, Rule
from promocast.flows.versions import Version
from promocast.ledger import events
from promocast.ledger.codes import Code
from promocast.ledger.deliveries import Claimed
from promocast.ledger.players import EXCLUDED, Player
from promocast.model import (
    PLAYER_CHANNELS,
    Address,
    DeliveryState,
    Instant,
    Message,
    PushSubscription,
    Rejected,
    rfc3339,
)
from promocast.returns import Returns
from promocast.settings import LONGEST_LIFE_OF_A_CALL


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that is known of one claimed delivery, read in the transaction that claimed it."""

    delivery: Claimed
    code: Code
    version: Version
    player: Player | None
    event: tuple[str, Instant, dict[str, Any]]  # type, at, data
    suppressed: str | None = None  # why the address must not be used
    excluded: bool = False  # says the exclusion service
    reached: frozenset[str] = frozenset()  # how far other messages of the code have come: sent, delivered
    quiet_from: Instant | None = None  # when the player's next quiet hours begin

    @property
    def rule(self) -> Rule:
        return self.version.campaign.journey[self.delivery.rule]

    @property
    def zone(self) -> tzinfo:
        """Where the player's clock is: as the recipient has it, or the player's record, or the campaign."""
        recorded = self.player.timezone if self.player else None
        return quiet.zone_of(self.code.recipient.get("timezone"), recorded, self.version.campaign.timezone)

    @property
    def hours(self) -> QuietHours | None:
        """The quiet hours that hold for it; none for calls to systems."""
        if self.delivery.channel not in PLAYER_CHANNELS:
            return None
        return self.rule.hours(self.version.campaign.quiet_hours)

    @property
    def last_use(self) -> Instant | None:
        """The last moment at which the player can still use what is sent; None where the code has no end."""
        ends_at = self.code.expires_at
        return None if ends_at is None else ends_at - self.version.campaign.min_ttl

    @property
    def ends_at(self) -> Instant | None:
        """When the delivery is of no use any more: a call's own end, some time after it was due, else that of the
        code."""
        if self.delivery.channel != "call":
            return self.code.expires_at
        return self.delivery.planned_at + journey.longest_wait(self.rule) + LONGEST_LIFE_OF_A_CALL

    @property
    def circuit(self) -> str:
        """What is stopped as one with this delivery: its channel, or the endpoint that it calls."""
        return f"endpoints.{self.rule.call}" if self.delivery.channel == "call" else self.delivery.channel


def withheld(dossier: Dossier, now: Instant) -> tuple[DeliveryState, str] | None:
    """How this delivery ends without being sent, and why, if it must not be sent.

    Calls to systems pass everything but the rule's `unless` and their own end. An address that is suppressed is
    rejected, as its provider would do it, so that the journey can fall back on another channel; the rest is skipped.
    """
    code, channel = dossier.code, dossier.delivery.channel
    facts = CodeFacts(
        code.shown_at,
        code.revoked_at,
        code.expires_at,
        code.redeemed,
        code.max_redemptions,
        expired=code.expires_at is not None and now >= code.expires_at,
        sent="sent" in dossier.reached,
        delivered="delivered" in dossier.reached,
    )
    reason = journey.withheld(dossier.rule, facts)
    if channel == "call":
        too_late = dossier.ends_at is not None and now >= dossier.ends_at
        return ("skipped", reason) if reason else ("exhausted", "too_late") if too_late else None
    reason = reason or journey.dead(facts, now, dossier.version.campaign.min_ttl)
    reason = reason or (dossier.player.refusal(channel, now) if dossier.player else None)
    reason = reason or (EXCLUDED if dossier.excluded else None)
    if reason:
        return "skipped", reason
    return ("rejected", f"suppressed: {dossier.suppressed}") if dossier.suppressed is not None else None


def account(dossier: Dossier) -> str:
    """What a provider means that asks us to wait with all that we send it: the channel, or where a channel leads to
    many providers, the one endpoint or push service."""
    try:
        adapter, address = _address(dossier)
    except LookupError:
        return dossier.circuit
    return f"{adapter} {address.service}" if isinstance(address, PushSubscription) else dossier.circuit


def message(dossier: Dossier, returns: Returns) -> tuple[str, Message] | Rejected:
    """(adapter, message), or why none can be made: no such address, or a template that fails on these values."""
    delivery, code, campaign = dossier.delivery, dossier.code, dossier.version.campaign
    key = returns.key_of(delivery.id)
    unsubscribe_url = returns.unsubscribe_url(key) if delivery.channel == "email" else ""
    try:
        adapter, address = _address(dossier)
        values = _values(dossier)
        content = _content(dossier, values, key, unsubscribe_url)
        headers = dossier.version.templates.headers(delivery.rule, values) if delivery.channel == "call" else {}
    except LookupError:
        return Rejected("no_address", address_dead=False)
    except LiquidError as exc:
        return Rejected(f"template: {type(exc).__name__}", address_dead=False)
    return adapter, Message(
        key=key,
        channel=delivery.channel,
        campaign=campaign.id,
        address=address,
        content=content,
        player_id=code.player_id or "",
        code=code.code,
        locale=_locale(dossier),
        when_shown=dossier.rule.when_shown,
        expires_at=code.expires_at,
        unsubscribe_url=unsubscribe_url,
        report_url=returns.report_url(delivery.channel, key) if delivery.channel == "sms" else "",
        return_token=returns.token("bounce", key) if delivery.channel == "email" else "",
        method=dossier.rule.method,
        headers=headers,
    )


def _address(dossier: Dossier) -> tuple[str, Address]:
    if dossier.delivery.channel == "call":
        return "call", str(dossier.rule.call)
    return recipients.address_at(dossier.code.recipient, dossier.delivery.channel, dossier.delivery.slot)


def _content(dossier: Dossier, values: dict[str, Any], key: str, unsubscribe_url: str) -> dict[str, str]:
    values["message"] = {"unsubscribe_url": unsubscribe_url}
    if dossier.delivery.channel != "call":
        return dossier.version.templates.render(dossier.delivery.channel, values)
    body = dossier.version.templates.body(dossier.delivery.rule, values)
    return {"body": _event_body(dossier, key) if body is None else body}


def _values(dossier: Dossier) -> dict[str, Any]:
    code, campaign = dossier.code, dossier.version.campaign
    type_, at, data = dossier.event
    recipient = code.recipient
    return {
        "label": {**code.labels, campaign.code.label_tag: code.code},
        "player": {
            **recipient.get("attributes", {}),
            "id": code.player_id,
            "locale": _locale(dossier),
            "timezone": recipient.get("timezone"),
        },
        "event": {**data, "type": type_, "at": rfc3339(at), "code": code.code, "sequence": _sequence(dossier)},
        "campaign": {"id": campaign.id, "name": campaign.name},
    }


def _event_body(dossier: Dossier, key: str) -> str:
    """A call's body where the rule has none of its own: {type, timestamp, data}."""
    type_, at, data = dossier.event
    code = dossier.code
    body = {
        "delivery_id": key,
        "code": code.code,
        "campaign": code.campaign_id,
        "player_id": code.player_id,
        **data,
        "sequence": _sequence(dossier),
    }
    return orjson.dumps({"type": type_, "timestamp": rfc3339(at), "data": body}).decode()


def _sequence(dossier: Dossier) -> int:
    """The number of what fired the rule among the events of its code, as `GET /v1/events` tells it (contract 5)."""
    return dossier.delivery.event_id or events.FIRST


def _locale(dossier: Dossier) -> str | None:
    locale = dossier.code.recipient.get("locale")
    return locale or (dossier.player.locale if dossier.player else None)
