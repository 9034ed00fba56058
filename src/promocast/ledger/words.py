"""What happened to a code in the words of a support agent: its events, and what became of its deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from promocast.campaign.reasons import in_words

# Every type of event that a code can have. What the braces name is in the event's data.
EVENTS: Final[Mapping[str, str]] = {
    "code.issued": "issued",
    "code.shown": "shown to the player",
    "code.bound": "taken to be player {player_id}'s",
    "code.redeemed": "redeemed by deposit {deposit_id}: {amount} {currency}",
    "code.rolled_back": "deposit {deposit_id} was undone; the redemption was given back",
    "code.expired": "expired unused",
    "code.revoked": "revoked by {by}",
    "code.report_refused": "reported by another player; refused",
    "client_action": "client action {action}",
    "delivery.sent": "sent by {channel}",
    "delivery.delivered": "arrived by {channel}",
    "delivery.failed": "{channel} failed for good",
    "deposit.refused": "deposit {deposit_id}{paid} refused",
    "deposit.reverified": "deposit {deposit_id} judged anew for {by}",
}

# Why a message was not sent, or waits: our own words in the ledger, and what they mean.
REASONS: Final[Mapping[str, str]] = {
    "unless code.shown": "the player has seen the code already",
    "unless code.redeemed": "the code was redeemed already",
    "unless code.expired": "the code has expired",
    "unless code.revoked": "the code was revoked",
    "unless delivery.sent": "the player was sent something else of the code already",
    "unless delivery.delivered": "something else of the code has reached the player already",
    "quiet_hours": "the player is not to be disturbed at this time",
    "capped": "the player was sent as many messages as are allowed",
    "revoked": "the code was revoked",
    "redeemed": "the code is used up",
    "expired": "the code has expired",
    "min_ttl": "the code is too near its end to be of use",
    "player_excluded": "the player is excluded or blocked",
    "opted_out": "the player wants no messages on this channel",
    "gate_unsure": "it is not certain that the player may be contacted",
    "cancelled": "its request was cancelled",
    "player_erased": "the player was erased",
    "not_configured": "it is not set up here",
    "no_address": "the player has no address for it",
    "too_late": "it was not possible for too long",
    "late": "it missed its moment, and takes the next",
    "stopped": "the sender was being stopped",
    "on hold": "the provider asked us to wait",
    "out of turn": "the address was sent to a moment ago",
    "lease_ended": "the sender died before it could tell what became of it",
}
_BEGINNINGS: Final[Mapping[str, str]] = {
    "suppressed: ": "the address must not be used any more",
    "template: ": "the template cannot be filled in for this player",
    "raised ": "the channel's adapter broke down",
}
_STOPPED: Final = " is stopped"
_PAUSED: Final = " is paused"


def of_event(type_: str, data: Mapping[str, Any]) -> str:
    """An event in words; one that this release does not know goes by its name."""
    paid = f" ({data['amount']} {data['currency']})" if data.get("amount") and data.get("currency") else ""
    facts = {name: value for name, value in data.items() if value is not None}
    said = EVENTS.get(type_, type_).format_map(_Told(facts, paid=paid))
    match type_:
        case "code.issued" if data.get("external"):
            return "recorded for a CRM"
        case "code.revoked" | "deposit.reverified" if data.get("reason"):
            return f"{said}: {data['reason']}"
        case "client_action" if data.get("refused"):
            return f"{said} (refused: another player's code)"
        case "delivery.failed":
            return f"{said}: {of_reason(data.get('reason'))}"
        case "deposit.refused":
            return f"{said}: {in_words(data.get('reason'), data.get('near_miss'))}"
    return said


def of_reason(reason: str | None) -> str:
    """Why a delivery is what it is. A provider's own code is told as it is: the provider's support knows it."""
    reason = reason or "no reason was recorded"
    for beginning, meaning in _BEGINNINGS.items():
        if reason.startswith(beginning):
            return f"{meaning} ({reason.removeprefix(beginning)})"
    if reason.endswith(_PAUSED):
        return reason
    if reason.endswith(_STOPPED):
        return f"{reason.removesuffix(_STOPPED).removeprefix('endpoints.')} is stopped, and goes on when it does"
    return REASONS.get(reason, reason)


class _Told(dict[str, Any]):
    """An event's data; what it lacks is told as unknown."""

    def __missing__(self, key: str) -> str:
        return "?"
