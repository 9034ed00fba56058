"""The near miss: what a depositor could have done otherwise so that the deposit had passed (contract section 4.12)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any, Final

from promocast.campaign.deposit import Deposit
from promocast.campaign.reward import most_rewarded_within
from promocast.campaign.verdict import Candidate, Check, allowed_currencies, listed
from promocast.money import digits, written

BUDGET: Final = "budget_exhausted"
# What an amount or a currency can change: where another rule speaks first, also what is left of the budget.
MONEY: Final = frozenset({"wrong_currency", "below_minimum", "above_maximum", BUDGET})
# Everything else is not the depositor's to change.
CHANGEABLE: Final = MONEY | {"wrong_payment_method", "wrong_deposit_index"}


def near_miss(deposit: Deposit, code: Candidate, failed: Sequence[Check]) -> dict[str, Any] | None:
    """The least change to the deposit with which it would pass: fewest fields, then the smallest change of amount.

    `{changes: {field: value}, text}`; null where no change of amount, currency, payment method or index would do.
    """
    rules = {check.rule for check in failed}
    if failed[0].rule == BUDGET or not rules <= CHANGEABLE or (code.left and code.left.redemptions == 0):
        return None
    changes: dict[str, Any] = {}
    texts: list[str] = []
    if rules & MONEY:
        money = _money_change(deposit, code)
        if money is None:
            return None
        changes |= money[0]
        texts.append(money[1])
    terms = code.campaign.redemption
    if "wrong_payment_method" in rules:
        changes["payment_method"] = terms.payment_methods[0]
        texts.append(f"pay by {listed(terms.payment_methods)}")
    if "wrong_deposit_index" in rules:
        changes["deposit_index"] = min(terms.deposit_index, key=lambda i: abs(i - (deposit.deposit_index or 0)))
        texts.append(f"deposit number {listed(terms.deposit_index)}")
    return {"changes": changes, "text": ", ".join(texts)}


def _money_change(deposit: Deposit, code: Candidate) -> tuple[dict[str, str], str] | None:
    """The least change of currency and amount that satisfies the bounds, over the currencies that the terms name and
    allow; None where none does."""
    terms, now = code.campaign.redemption, deposit.currency or ""
    told = deposit.amount
    allowed = allowed_currencies(code)
    options = {now, *terms.max_deposit} - {""} if allowed is None else allowed
    best: tuple[int, Decimal, bool, str, Decimal] | None = None
    for currency in options:
        amount = _clamped(told or Decimal(0), currency, code)
        if amount is not None:
            fields = (currency != now) + (amount != told)
            option = (fields, abs(amount - (told or 0)), currency != now, currency, amount)
            best = option if best is None else min(best, option)
    if best is None:
        return None
    _, by, _, currency, amount = best
    changes = {"currency": currency} if currency != now else {}
    texts = [f"in {currency}"] if currency != now else []
    if amount != told:
        changes["amount"] = written(amount, currency)
        texts.append(_by(told, amount, by, currency))
    return changes, ", ".join(texts)


def _by(told: Decimal | None, amount: Decimal, by: Decimal, currency: str) -> str:
    if told is None or by < Decimal(1).scaleb(-digits(currency)):
        return f"an amount of {written(amount, currency)} {currency}"
    return f"{written(by, currency)} {currency} {'short' if amount > told else 'too much'}"


def _clamped(amount: Decimal, currency: str, code: Candidate) -> Decimal | None:
    """The amount nearest to `amount` that lies within the bounds of `currency` and has no more digits than it."""
    terms = code.campaign.redemption
    unit = Decimal(1).scaleb(-digits(currency))
    least = Decimal(terms.min_deposit.get(currency, unit))
    mosts = [Decimal(terms.max_deposit[currency])] if currency in terms.max_deposit else []
    reward, left = code.campaign.reward, code.left.units if code.left else None
    if reward is not None and left is not None and currency in left:
        within = most_rewarded_within(reward, left[currency], currency)
        mosts += [] if within is None else [within]
    most = min(mosts, default=None)
    if most is not None and most < least:
        return None
    clamped = max(amount, least)
    clamped = clamped if most is None else min(clamped, most)
    rounded = clamped.quantize(unit, ROUND_HALF_UP)
    if rounded < least:
        return clamped.quantize(unit, ROUND_UP)
    return clamped.quantize(unit, ROUND_DOWN) if most is not None and rounded > most else rounded
