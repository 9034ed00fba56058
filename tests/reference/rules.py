"""What speaks against a claim on a known code, what it is rewarded with, and the least change that would pass.

The least change is found by trying all that could be it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from tests.reference import history
from tests.reference.history import Entry, Past, cut

DIGITS = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3}
REASONS = (
    "not_approved",
    "too_many_attempts",
    "unknown_code",
    "other_player",
    "player_excluded",
    "revoked",
    "not_started",
    "expired",
    "already_redeemed",
    "limit_reached",
    "wrong_currency",
    "below_minimum",
    "above_maximum",
    "wrong_payment_method",
    "wrong_deposit_index",
    "budget_exhausted",
)
CHANGEABLE = ("amount", "currency", "method", "index")


def reasons(past: Past, claim: Entry, holding: Entry, now: datetime) -> list[str]:
    """All that speaks against a claim on a known code, in the contract's order."""
    terms = history.issue_terms(past, holding)
    limits = history.current_terms(past, holding["campaign"])
    player, time = claim["player"], claim["time"]
    ends = history.expires_at(past, holding)
    used_up = history.uses(past, holding) >= terms["max_redemptions"]
    of_player = [r for r in history.active(past) if r["player"] == player]
    of_player = [r for r in of_player if r["holding"]["campaign"] == holding["campaign"]]
    per_player = limits["per_player"] is not None and len(of_player) >= limits["per_player"]
    against = {
        "other_player": history.is_anothers(past, holding, player),
        "player_excluded": history.is_blocked(past, player, now),
        "revoked": history.is_revoked(past, holding),
        "not_started": terms["starts_at"] is not None and time < cut(terms["starts_at"]),
        "expired": ends is not None and time >= cut(ends),
        "already_redeemed": used_up and terms["max_redemptions"] == 1,
        "limit_reached": (used_up and terms["max_redemptions"] > 1) or per_player,
        **unfit(terms, limits, claim),
        "budget_exhausted": is_exhausted(past, claim, holding),
    }
    return [reason for reason in REASONS if against.get(reason)]


def unfit(terms: Entry, limits: Entry, claim: Entry) -> dict[str, bool]:
    amount, currency, method = claim["amount"], claim["currency"], claim["method"]
    fixed = (terms["reward"] or {}).get("fixed")
    tables = [table for table in (terms["min_deposit"], limits["budget_amount"], fixed) if table]
    methods = [allowed.casefold() for allowed in terms["payment_methods"]]
    return {
        "wrong_currency": any(currency not in table for table in tables),
        "below_minimum": currency in terms["min_deposit"] and amount < terms["min_deposit"][currency],
        "above_maximum": currency in terms["max_deposit"] and amount > terms["max_deposit"][currency],
        "wrong_payment_method": bool(methods) and (method is None or method.casefold() not in methods),
        "wrong_deposit_index": bool(terms["deposit_index"]) and claim["index"] not in terms["deposit_index"],
    }


def is_exhausted(past: Past, claim: Entry, holding: Entry) -> bool:
    limits = history.current_terms(past, holding["campaign"])
    count, money = history.spent(past, holding["campaign"])
    if limits["budget_redemptions"] is not None and count >= limits["budget_redemptions"]:
        return True
    reward = reward_of(past, claim, holding)
    if reward is None or "amount" not in reward or claim["currency"] not in limits["budget_amount"]:
        return False
    return bool(money.get(claim["currency"], 0) + reward["amount"] > limits["budget_amount"][claim["currency"]])


def reward_of(past: Past, claim: Entry, holding: Entry) -> Entry | None:
    terms = history.issue_terms(past, holding)
    offer, currency = terms["reward"], claim["currency"]
    if offer is None:
        return None
    if "free_spins" in offer:
        return {"count": offer["free_spins"]}
    if "fixed" in offer:
        if currency not in offer["fixed"]:
            return None
        exact = Fraction(offer["fixed"][currency])
    else:
        exact = Fraction(claim["amount"]) * Fraction(offer["percent"]) / 100
    units = int(exact * 10 ** DIGITS[currency] + Fraction(1, 2))  # half up: amounts are above zero
    amount = Decimal(units).scaleb(-DIGITS[currency])
    most = terms["reward_max"].get(currency)
    return {"amount": amount if most is None else min(amount, most), "currency": currency}


def near_misses(past: Past, claim: Entry, holding: Entry, now: datetime) -> list[dict[str, Any]]:
    """All least changes that pass: the fewest fields first, then the smallest change of the amount."""
    against = reasons(past, claim, holding, now)
    if not against or against[0] == "budget_exhausted":
        return []
    for size in range(1, len(CHANGEABLE) + 1):
        passing = []
        for fields in itertools.combinations(CHANGEABLE, size):
            tried_out = [change for change in changes(past, claim, holding, fields) if fits(claim | change)]
            passing += [change for change in tried_out if not reasons(past, claim | change, holding, now)]
        if passing:
            least = min(distance(claim, change) for change in passing)
            return [change for change in passing if distance(claim, change) == least]
    return []


def distance(claim: Entry, change: dict[str, Any]) -> Decimal:
    return abs(Decimal(change.get("amount", claim["amount"]) - claim["amount"]))


def fits(claim: Entry) -> bool:
    """Above zero, with no more digits than the currency has."""
    scaled = claim["amount"].scaleb(DIGITS[claim["currency"]])
    return bool(claim["amount"] > 0 and scaled == scaled.to_integral_value())


def changes(past: Past, claim: Entry, holding: Entry, fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """What each of these fields could be changed to, together."""
    terms = history.issue_terms(past, holding)
    currencies = named_currencies(past, holding) if "currency" in fields else [claim["currency"]]
    methods = terms["payment_methods"] if "method" in fields else [claim["method"]]
    indexes = terms["deposit_index"] if "index" in fields else [claim["index"]]
    for currency, method, index in itertools.product(currencies, methods, indexes):
        amounts = telling_amounts(past, claim | {"currency": currency}, holding)
        for amount in amounts if "amount" in fields else [claim["amount"]]:
            change = {"amount": amount, "currency": currency, "method": method, "index": index}
            if all(change[field] != claim[field] for field in fields):
                yield {field: change[field] for field in fields}


def named_currencies(past: Past, holding: Entry) -> set[str]:
    """Nobody is told to pay in a currency of which the campaign says nothing."""
    terms = history.issue_terms(past, holding)
    limits = history.current_terms(past, holding["campaign"])
    fixed = (terms["reward"] or {}).get("fixed", {})
    return {*terms["min_deposit"], *terms["max_deposit"], *limits["budget_amount"], *fixed}


def telling_amounts(past: Past, claim: Entry, holding: Entry) -> set[Decimal]:
    """The amounts at which a rule can turn, each with its neighbours; a least change of the amount is among them."""
    terms, currency = history.issue_terms(past, holding), claim["currency"]
    limits = history.current_terms(past, holding["campaign"])
    unit = Decimal(1).scaleb(-DIGITS[currency])
    turning = [claim["amount"], unit]
    turning += [table[currency] for table in (terms["min_deposit"], terms["max_deposit"]) if currency in table]
    if "percent" in (terms["reward"] or {}) and currency in limits["budget_amount"]:
        left = limits["budget_amount"][currency] - history.spent(past, holding["campaign"])[1].get(currency, Decimal(0))
        turning += [(left + k * unit) * 100 / terms["reward"]["percent"] for k in (Decimal(0), Decimal("0.5"))]
    around = set()
    for amount in turning:
        floor = amount.quantize(unit, rounding=ROUND_FLOOR)
        around |= {floor + k * unit for k in range(-2, 3)}
    return {amount for amount in around if amount > 0}
