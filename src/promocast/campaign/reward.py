"""Rewards: what a redemption promises, to the currency's smallest unit, rounded half up (contract section 4.14)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any, Literal

from promocast.campaign.terms import Reward
from promocast.money import WIDE, digits, units, written


@dataclass(frozen=True, slots=True)
class Promise:
    """A reward of money (`units` of `currency`), or of free spins (`count`)."""

    type: Literal["percent", "fixed", "free_spins"]
    currency: str = ""
    units: int = 0
    count: int = 0

    def as_json(self) -> dict[str, Any]:
        if self.type == "free_spins":
            return {"type": self.type, "count": self.count}
        amount = Decimal(self.units).scaleb(-digits(self.currency), WIDE)
        return {"type": self.type, "amount": written(amount, self.currency), "currency": self.currency}


def promised(reward: Reward, amount: Decimal | None, currency: str) -> Promise | None:
    """What the reward is for a deposit of `amount`; None where it names nothing for such a deposit."""
    if reward.free_spins is not None:
        return Promise("free_spins", count=reward.free_spins)
    if reward.percent is None:
        fixed = reward.fixed.get(currency)
        return None if fixed is None else Promise("fixed", currency, units(Decimal(fixed), currency))
    if amount is None or not currency:
        return None
    exact = WIDE.multiply(WIDE.multiply(amount, Decimal(reward.percent)), Decimal("0.01"))
    given = exact.quantize(_unit(currency), ROUND_HALF_UP, WIDE)
    most = reward.max.get(currency)
    return Promise("percent", currency, units(given if most is None else min(given, Decimal(most)), currency))


def most_rewarded_within(reward: Reward, left: int, currency: str) -> Decimal | None:
    """The largest deposit whose reward takes no more than `left` units; zero where none does, None where all do."""
    whole = promised(reward, Decimal(10) ** 16, currency)
    if whole is None or whole.units <= left:
        return None
    if reward.percent is None:
        return Decimal(0)
    # Half a unit more would be rounded up, and take one unit too many.
    bound = (Decimal(left) + Decimal("0.5")) * _unit(currency) * 100 / Decimal(reward.percent)
    amount = bound.quantize(_unit(currency), ROUND_DOWN, WIDE)
    while (found := promised(reward, amount, currency)) is not None and found.units > left and amount > 0:
        amount -= _unit(currency)
    return amount


def _unit(currency: str) -> Decimal:
    return Decimal(1).scaleb(-digits(currency))
