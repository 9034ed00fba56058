"""The near miss is a least change: no other that passes has fewer fields, or as few and a smaller change of amount."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from promocast.campaign.redemption import judge
from promocast.campaign.verdict import Left
from tests.conftest import NOW
from tests.reference import rules
from tests.reference.campaigns import PLAIN
from tests.reference.conftest import profile
from tests.reference.history import Entry, Past
from tests.reference.play import change_in_our_words
from tests.reference.rules import DIGITS
from tests.reference.table import as_document, moment_of
from tests.unit.makers import candidate, deposit

CURRENCIES = ("EUR", "JPY", "KWD")
MOST = 16  # units that a bound may have; with the percentages below, twice as many reach every bound of a budget


def in_units(currency: str, count: int) -> Decimal:
    return Decimal(count).scaleb(-DIGITS[currency])


@st.composite
def small_tables(draw: st.DrawFn, least: int = 0) -> dict[str, Decimal]:
    named = draw(st.lists(st.sampled_from(CURRENCIES), unique=True, min_size=least))
    return {currency: in_units(currency, draw(st.integers(1, MOST))) for currency in named}


@st.composite
def small_cases(draw: st.DrawFn) -> tuple[Entry, Entry]:
    """(terms, a claim) of few units, so that all amounts can be tried."""
    percent = draw(st.sampled_from(["50", "100", "66.7", "150"]))
    reward = draw(st.sampled_from([None, {"percent": Decimal(percent)}, {"fixed": draw(small_tables(1))}]))
    varied = {
        "min_deposit": draw(small_tables()),
        "max_deposit": draw(small_tables()),
        "payment_methods": draw(st.sampled_from([[], ["VISA"]])),
        "deposit_index": draw(st.sampled_from([[], [1], [2, 3]])),
        "reward": reward,
        "reward_max": draw(small_tables()) if reward and "percent" in reward else {},
        "budget_amount": draw(small_tables()) if reward else {},
    }
    currency = draw(st.sampled_from(CURRENCIES))
    claim = {
        "amount": in_units(currency, draw(st.integers(1, MOST + 6))),
        "currency": currency,
        "method": draw(st.sampled_from([None, "visa", "skrill"])),
        "index": draw(st.sampled_from([None, 1, 2])),
    }
    return PLAIN | varied, claim


def issued(terms: Entry) -> Past:
    """A past in which p1 was issued one code."""
    at = {"at": moment_of(NOW), "campaign": "a"}
    return [
        {"what": "apply", "terms": terms, **at},
        {"what": "accepted", "request": "r", **at},
        {"what": "issued", "request": "r", "code": "AAAA", "player": "p1", **at},
    ]


def all_changes(terms: Entry, claim: Entry) -> Iterator[dict[str, Any]]:
    """Every change of anything to anything that could matter."""
    limits = ("min_deposit", "max_deposit", "budget_amount")
    named = {currency for name in limits for currency in terms[name]} | {*(terms["reward"] or {}).get("fixed", {})}
    methods = [claim["method"], *terms["payment_methods"]]
    indexes = [claim["index"], *terms["deposit_index"]]
    for currency, method, index in itertools.product({claim["currency"], *named}, methods, indexes):
        unit = in_units(currency, 1)
        near = {claim["amount"].quantize(unit, rounding) for rounding in (ROUND_FLOOR, ROUND_CEILING)}
        for amount in {claim["amount"], *near, *(in_units(currency, n) for n in range(1, 2 * MOST + 4))}:
            made = {"amount": amount, "currency": currency, "method": method, "index": index}
            yield {name: value for name, value in made.items() if value != claim[name]}


@given(small_cases())
@profile(60, 0.2)
def test_no_other_change_that_passes_is_less(case: tuple[Entry, Entry]) -> None:
    terms, facts = case
    past, now = issued(terms), moment_of(NOW)
    claim = facts | {"player": "p1", "time": now}
    against = rules.reasons(past, claim, past[-1], now)
    event(against[0] if against else "accepted")

    passing = [
        change
        for change in all_changes(terms, facts)
        if rules.fits(claim | change) and not rules.reasons(past, claim | change, past[-1], now)
    ]
    costs = [(len(change), rules.distance(claim, change)) for change in passing]
    least = [change for change, cost in zip(passing, costs, strict=True) if cost == min(costs)]
    if against[:1] in ([], ["budget_exhausted"]):
        least = []

    found = rules.near_misses(past, claim, past[-1], now)
    assert unordered(found) == unordered(least)
    product = near_miss_of(terms, facts)
    assert (product in least) if least else product is None, (product, least)


def unordered(changes: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {tuple(sorted(change.items(), key=lambda item: item[0])) for change in changes}


def near_miss_of(terms: Entry, facts: Entry) -> dict[str, Any] | None:
    """What the product's rules say of it."""
    document = as_document("a", terms)
    document["redemption"].pop("budget", None)
    units = {currency: int(amount.scaleb(DIGITS[currency])) for currency, amount in terms["budget_amount"].items()}
    code = candidate(document["redemption"], document.get("reward"), left=Left(None, units or None))
    made = deposit(
        promo_code="AB12CD",
        amount=facts["amount"],
        currency=facts["currency"],
        payment_method=facts["method"],
        deposit_index=facts["index"],
    )
    verdict = judge(made, code, [], excluded=False, grace_until=NOW, now=NOW)
    return None if verdict.near_miss is None else change_in_our_words(verdict.near_miss["changes"])
