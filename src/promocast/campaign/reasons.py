"""Why a deposit was refused, in the words of whoever answers for it: the end of a sentence for each reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Contract section 4.7, in its order.
REASONS: Final[Mapping[str, str]] = {
    "not_approved": "the payment was not approved",
    "too_many_attempts": "the player had tried too many codes that are not theirs",
    "unknown_code": "no such code is recorded",
    "other_player": "the code is another player's",
    "player_excluded": "the player is excluded or blocked",
    "revoked": "the code had been revoked",
    "not_started": "the campaign had not started yet",
    "expired": "the code had expired",
    "already_redeemed": "the code had been redeemed already",
    "limit_reached": "as many redemptions as are allowed had been made",
    "wrong_currency": "the campaign does not take this currency",
    "below_minimum": "the amount is below the minimum",
    "above_maximum": "the amount is above the maximum",
    "wrong_payment_method": "the campaign does not take this payment method",
    "wrong_deposit_index": "the campaign is for another deposit of the player's, such as the first",
    "budget_exhausted": "the campaign's budget is spent",
}


def in_words(reason: str | None, near_miss: Mapping[str, Any] | None = None) -> str:
    """A verdict's reason, and how near the deposit was: "the amount is below the minimum (5.00 EUR short)"."""
    said = REASONS.get(reason or "", reason or "no reason was recorded")
    return f"{said} ({near_miss['text']})" if near_miss else said
