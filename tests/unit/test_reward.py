"""Rewards and budgets: exact to the smallest unit, and spent whole or not at all."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from promocast.campaign.redemption import judge
from promocast.campaign.reward import most_rewarded_within, promised
from promocast.campaign.terms import Reward
from promocast.campaign.verdict import Candidate, Left, Verdict
from promocast.errors import CampaignError
from promocast.money import digits, units
from tests.conftest import NOW
from tests.unit.makers import campaign, candidate, deposit

PERCENT = {"percent": "100", "max": {"EUR": "100.00"}}


def verdict(code: Candidate, **facts: Any) -> Verdict:
    told = {"promo_code": code.code} | facts
    return judge(deposit(**told), code, [], excluded=False, grace_until=NOW, now=NOW)


@pytest.mark.parametrize(
    ("reward", "amount", "currency", "given"),
    [
        ({"percent": "100"}, "50.00", "EUR", {"type": "percent", "amount": "50.00", "currency": "EUR"}),
        (PERCENT, "250.00", "EUR", {"type": "percent", "amount": "100.00", "currency": "EUR"}),
        (PERCENT, "250.00", "USD", {"type": "percent", "amount": "250.00", "currency": "USD"}),
        ({"percent": "12.5"}, "0.20", "EUR", {"type": "percent", "amount": "0.03", "currency": "EUR"}),  # 0.025, up
        ({"percent": "33.333"}, "10.00", "EUR", {"type": "percent", "amount": "3.33", "currency": "EUR"}),
        ({"percent": "10"}, "5", "JPY", {"type": "percent", "amount": "1", "currency": "JPY"}),  # 0.5, up
        ({"percent": "50"}, "1.001", "KWD", {"type": "percent", "amount": "0.501", "currency": "KWD"}),
        ({"fixed": {"EUR": "10.00"}}, "500.00", "EUR", {"type": "fixed", "amount": "10.00", "currency": "EUR"}),
        ({"free_spins": 20}, "50.00", "EUR", {"type": "free_spins", "count": 20}),
    ],
)
def test_a_reward_is_what_the_campaign_promises(
    reward: dict[str, Any], amount: str, currency: str, given: dict[str, Any]
) -> None:
    found = verdict(candidate(reward=reward), amount=amount, currency=currency)

    assert (found.result, found.reward) == ("accepted", given)


def test_without_a_reward_none_is_promised() -> None:
    assert verdict(candidate()).reward is None


@pytest.mark.parametrize(
    ("reward", "facts", "reason"),
    [
        ({"percent": "100"}, {"amount": None}, "below_minimum"),
        ({"percent": "100"}, {"currency": None}, "wrong_currency"),
        ({"fixed": {"EUR": "10.00"}}, {"currency": "USD"}, "wrong_currency"),
        ({"fixed": {"EUR": "10.00"}}, {"currency": None}, "wrong_currency"),
    ],
)
def test_a_fact_that_a_reward_needs_and_the_deposit_lacks_fails_it(
    reward: dict[str, Any], facts: dict[str, Any], reason: str
) -> None:
    assert verdict(candidate(reward=reward), **facts).reason == reason


@pytest.mark.parametrize(
    ("terms", "reward", "left", "facts", "reason"),
    [
        ({}, {"percent": "100"}, Left(units={"EUR": 5_000}), {}, None),
        ({}, {"percent": "100"}, Left(units={"EUR": 4_999}), {}, "budget_exhausted"),
        ({}, {"percent": "100"}, Left(units={"EUR": 5_000}), {"currency": "USD"}, "wrong_currency"),
        ({}, {"fixed": {"EUR": "10.00"}}, Left(units={"EUR": 999}), {}, "budget_exhausted"),
        ({}, {"free_spins": 20}, Left(redemptions=1), {}, None),
        ({}, {"free_spins": 20}, Left(redemptions=0), {}, "budget_exhausted"),
        ({}, None, Left(redemptions=0), {}, "budget_exhausted"),
        ({"min_deposit": {"EUR": "60.00"}}, None, Left(redemptions=0), {}, "below_minimum"),
    ],
)
def test_a_budget_is_the_last_rule_and_is_spent_whole_or_not_at_all(
    terms: dict[str, Any], reward: dict[str, Any] | None, left: Left, facts: dict[str, Any], reason: str | None
) -> None:
    found = verdict(candidate(terms, reward, left=left), **facts)

    assert found.reason == reason
    assert found.trace[-1].rule == ("wrong_currency" if reason == "wrong_currency" else "budget_exhausted")


@pytest.mark.parametrize(
    ("terms", "left", "facts", "changes"),
    [
        ({}, Left(units={"EUR": 4_999}), {}, None),
        ({"min_deposit": {"EUR": "60.00"}}, Left(redemptions=0), {}, None),
        ({"min_deposit": {"EUR": "60.00"}}, Left(units={"EUR": 5_999}), {}, None),
        ({"min_deposit": {"EUR": "60.00"}}, Left(units={"EUR": 6_000}), {}, {"amount": "60.00"}),
        ({"max_deposit": {"EUR": "40.00"}}, Left(units={"EUR": 3_000}), {}, {"amount": "30.00"}),
        ({"payment_methods": ["VISA"]}, Left(units={"EUR": 4_000}), {}, {"amount": "40.00", "payment_method": "VISA"}),
        ({}, Left(units={"EUR": 100}), {"currency": "USD"}, {"currency": "EUR", "amount": "1.00"}),
        ({}, Left(units={"EUR": 0, "GBP": 9_999}), {"currency": "USD"}, {"currency": "GBP"}),
    ],
)
def test_a_near_miss_knows_what_is_left_of_the_budget(
    terms: dict[str, Any], left: Left, facts: dict[str, Any], changes: dict[str, Any] | None
) -> None:
    found = verdict(candidate(terms, {"percent": "100"}, left=left), **facts)

    assert (found.near_miss or {}).get("changes") == changes


REWARDS = st.builds(
    lambda percent, most: Reward(percent=percent, max={} if most is None else {"EUR": most}),
    st.decimals("0.01", "1000", places=2).map(str),
    st.none() | st.decimals("0.01", "500", places=2).map(str),
)


@given(REWARDS, st.decimals("0.01", "100000", places=2))
def test_a_percentage_is_rounded_half_up_as_fractions_have_it(reward: Reward, amount: Decimal) -> None:
    exact = Fraction(amount) * Fraction(reward.percent or "") / 100 * 100  # in cents
    expected = int(exact + Fraction(1, 2))
    if "EUR" in reward.max:
        expected = min(expected, units(Decimal(reward.max["EUR"]), "EUR"))

    found = promised(reward, amount, "EUR")

    assert found is not None
    assert found.units == expected


@given(REWARDS, st.integers(0, 200_000))
def test_the_largest_deposit_within_a_budget_is_the_largest(reward: Reward, left: int) -> None:
    most = most_rewarded_within(reward, left, "EUR")
    assume(most is not None)
    assert most is not None

    within, beyond = promised(reward, most, "EUR"), promised(reward, most + Decimal("0.01"), "EUR")
    assert most == 0 or (within is not None and within.units <= left)
    assert beyond is not None
    assert beyond.units > left


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"reward": {}}, "one of `percent`, `fixed` and `free_spins`"),
        ({"reward": {"percent": "10", "free_spins": 1}}, "one of"),
        ({"reward": {"percent": "0"}}, "percentage above zero"),
        ({"reward": {"percent": "-5"}}, "percentage above zero"),
        ({"reward": {"percent": "1e3"}}, "percentage above zero"),
        ({"reward": {"free_spins": 20, "max": {"EUR": "1.00"}}}, "`max` caps"),
        ({"reward": {"fixed": {"JPY": "1.5"}}}, "more digits"),
        ({"redemption": {"budget": {}}}, "`redemptions`, `amount`, or both"),
        ({"redemption": {"budget": {"amount": {"EUR": "10.00"}}}}, "needs a [reward] in money"),
        ({"redemption": {"budget": {"amount": {"EUR": "10.00"}}}, "reward": {"free_spins": 2}}, "in money"),
    ],
)
def test_terms_that_make_no_sense_are_refused(sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(CampaignError) as refused:
        campaign(**sections)

    assert any(reason in fault.reason for fault in refused.value.faults)


CURRENCIES = ("EUR", "USD", "JPY", "KWD")


def money(count: int, currency: str) -> str:
    return f"{Decimal(count).scaleb(-digits(currency)):.{digits(currency)}f}"


def amounts(chance: random.Random) -> dict[str, str]:
    picked = chance.sample(CURRENCIES, chance.choice((0, 0, 1, 2)))
    return {currency: money(chance.randint(1, 30_000), currency) for currency in picked}


def any_reward(chance: random.Random) -> dict[str, Any] | None:
    match chance.randrange(4):
        case 0:
            return None
        case 1:
            return {"free_spins": 20}
        case 2:
            return {"fixed": amounts(chance) or {"EUR": "10.00"}}
    return {"percent": chance.choice(("10", "33.3", "100", "150")), "max": amounts(chance)}


def judged(chance: random.Random) -> tuple[Candidate, dict[str, Any]]:
    """A code on any terms, and a deposit that quotes it."""
    terms = {
        "min_deposit": amounts(chance),
        "max_deposit": amounts(chance),
        "payment_methods": chance.sample(("VISA", "Skrill"), chance.randrange(3)),
        "deposit_index": chance.sample((1, 2, 3, 4), chance.choice((0, 0, 1, 2))),
    }
    reward = any_reward(chance)
    limited = None
    if reward is not None and "free_spins" not in reward:
        limited = {c: chance.randint(0, 40_000) for c in chance.sample(CURRENCIES, chance.randrange(4))}
    left = Left(chance.choice((None, 0, 1, 2)), limited or None) if chance.random() < 0.5 else None
    currency = chance.choice((*CURRENCIES, *CURRENCIES, None))
    facts = {
        "currency": currency,
        "amount": chance.choice((None, *[money(chance.randint(1, 30_000), currency or "EUR")] * 9)),
        "payment_method": chance.choice((None, "visa", "Skrill", "PayPal")),
        "deposit_index": chance.choice((None, 1, 2, 3, 4, 5)),
    }
    return candidate(terms, reward, left=left), facts


def test_a_near_miss_applied_flips_its_verdict_in_ten_thousand_cases() -> None:
    results: Counter[str] = Counter()
    for seed in range(10_000):
        code, facts = judged(random.Random(seed))
        found = verdict(code, **facts)
        results[found.result if found.near_miss is None else "near"] += 1
        if found.near_miss is not None:
            mended = facts | found.near_miss["changes"]
            assert found.result == "refused", seed
            assert verdict(code, **mended).result == "accepted", (seed, facts, found.near_miss)
    assert min(results["accepted"], results["refused"], results["near"]) > 500, results
