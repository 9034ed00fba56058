"""Deposits: what is believed depends on what was told, never on the order in which it was told."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promocast.campaign.deposit import RANK, Deposit, Message, Window, added, believed, contradicts, highest
from promocast.model import HOUR, MINUTE, SECOND, Instant
from tests.conftest import NOW

WINDOW = Window()


def told(*messages: Message) -> dict[str, Message]:
    """What is kept when `messages` come in this order."""
    kept: dict[str, Message] = {}
    for message in messages:
        kept, _ = added(kept, message)
    return kept


def believed_of(*messages: Message, received_at: Instant = NOW) -> Deposit:
    return believed("tx-1", "ann", told(*messages), received_at, WINDOW)


def approved(**facts: Any) -> Message:
    return {"status": "approved", "amount": "50.00", "currency": "EUR"} | facts


facts_of_a_message = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.sampled_from(["20.00", "50.00"]),
        "currency": st.sampled_from(["EUR", "USD"]),
        "payment_method": st.sampled_from(["VISA", "PAYPAL"]),
        "deposit_index": st.integers(0, 3),
        "promo_code": st.sampled_from(["AB12CD", "XY34ZW"]),
        "occurred_at": st.integers(NOW - 100 * HOUR, NOW + HOUR),
    },
)
messages_of_one_deposit = st.dictionaries(st.sampled_from(sorted(RANK)), facts_of_a_message, min_size=1).map(
    lambda by_status: [{"status": status, **facts} for status, facts in by_status.items()]
)


@given(messages_of_one_deposit)
@settings(max_examples=150, derandomize=True)
def test_every_order_of_the_messages_is_believed_alike(messages: list[Message]) -> None:
    ends = [believed_of(*order) for order in permutations(messages)]

    assert all(end == ends[0] for end in ends)


@given(messages_of_one_deposit, st.randoms(use_true_random=False))
@settings(max_examples=150, derandomize=True)
def test_messages_that_are_repeated_change_nothing(messages: list[Message], random: Any) -> None:
    repeated = messages + random.choices(messages, k=5)
    random.shuffle(repeated)

    assert believed_of(*repeated) == believed_of(*messages)


@pytest.mark.parametrize(
    ("statuses", "rank", "was_approved", "negated"),
    [
        (["requested"], 0, False, False),
        (["requested", "approved"], 1, True, False),
        (["approved", "requested"], 1, True, False),
        (["approved", "rejected"], 2, True, True),
        (["cancelled", "approved"], 2, True, True),
        (["rolled_back"], 2, False, True),
        (["rolled_back", "requested"], 2, False, True),
    ],
)
def test_the_highest_status_rules_in_whatever_order_they_come(
    statuses: list[str], rank: int, was_approved: bool, negated: bool
) -> None:
    messages = [{"status": status} for status in statuses]

    end = believed_of(*messages)

    assert (end.rank, end.approved, end.negated) == (rank, was_approved, negated)
    assert RANK[highest(told(*messages))] == rank


def test_the_three_ways_to_undo_a_deposit_are_one() -> None:
    ends = [believed_of(approved(), {"status": status}) for status in ("rejected", "cancelled", "rolled_back")]

    assert ends[0] == ends[1] == ends[2]


def test_the_approvals_word_goes_before_that_of_the_others() -> None:
    end = believed_of(
        {"status": "requested", "amount": "60.00", "payment_method": "PAYPAL"}, approved(payment_method="VISA")
    )

    assert (end.amount, end.payment_method) == (Decimal("50.00"), "VISA")


def test_what_the_approval_leaves_out_is_taken_from_the_others() -> None:
    end = believed_of(
        {"status": "approved", "amount": "50.00"},
        {"status": "requested", "currency": "EUR", "promo_code": "AB12CD", "deposit_index": 1},
        {"status": "rolled_back", "payment_method": "VISA"},
    )

    assert (end.currency, end.promo_code, end.deposit_index, end.payment_method) == ("EUR", "AB12CD", 1, "VISA")


def test_a_first_deposit_of_index_zero_is_not_taken_for_none() -> None:
    end = believed_of({"status": "requested", "deposit_index": 3}, approved(deposit_index=0))

    assert end.deposit_index == 0


def test_what_nobody_told_is_not_known() -> None:
    end = believed_of({"status": "requested"})

    assert (end.amount, end.currency, end.payment_method, end.deposit_index, end.promo_code) == (None,) * 5


@pytest.mark.parametrize("nothing", ["", "  ", "-", " \u2014 ", "\u200b"], ids=ascii)
def test_a_promo_code_of_nothing_but_spaces_and_dashes_is_none(nothing: str) -> None:
    assert believed_of(approved(promo_code=nothing)).promo_code is None
    assert believed_of(approved(promo_code=nothing), {"status": "requested", "promo_code": "AB12CD"}).promo_code == (
        "AB12CD"
    )


# Additions.


def test_the_first_message_of_a_status_is_news() -> None:
    kept, changed = added({}, approved())

    assert changed
    assert kept == {"approved": approved()}


def test_a_message_that_says_the_same_again_is_no_news() -> None:
    kept, changed = added(told(approved()), approved())

    assert not changed
    assert kept == told(approved())


def test_a_promo_code_that_comes_late_is_added() -> None:
    kept, changed = added(told(approved()), approved(promo_code="AB12CD"))

    assert changed
    assert kept["approved"]["promo_code"] == "AB12CD"


def test_a_promo_code_that_comes_after_an_empty_one_is_added() -> None:
    kept, changed = added(told(approved(promo_code="-")), approved(promo_code="AB12CD"))

    assert changed
    assert kept["approved"]["promo_code"] == "AB12CD"


def test_an_empty_promo_code_after_none_is_no_news() -> None:
    _, changed = added(told(approved()), approved(promo_code=" "))

    assert not changed


def test_another_promo_code_is_not_believed_after_the_first() -> None:
    kept, changed = added(told(approved(promo_code="AB12CD")), approved(promo_code="XY34ZW"))

    assert not changed
    assert kept["approved"]["promo_code"] == "AB12CD"


def test_a_fact_that_another_message_told_is_not_told_again() -> None:
    before = told(approved(), {"status": "requested", "promo_code": "AB12CD"})

    _, changed = added(before, approved(promo_code="XY34ZW"))

    assert not changed


def test_adding_leaves_what_was_kept_before_as_it_was() -> None:
    before = told(approved())

    added(before, approved(promo_code="AB12CD"))

    assert before == {"approved": approved()}


# Contradictions.


@pytest.mark.parametrize("later", [approved(amount="60.00"), approved(currency="USD")])
def test_a_second_approval_of_another_amount_or_currency_contradicts_the_first(later: Message) -> None:
    assert contradicts(told(approved()), later)


@pytest.mark.parametrize(
    "later",
    [
        approved(),
        approved(amount="50"),
        approved(amount="50.000"),
        approved(promo_code="AB12CD", payment_method="VISA", occurred_at=NOW),
        {"status": "approved"},
        {"status": "requested", "amount": "60.00", "currency": "USD"},
        {"status": "rolled_back", "amount": "60.00"},
    ],
)
def test_whatever_else_comes_later_contradicts_nothing(later: Message) -> None:
    assert not contradicts(told(approved()), later)


def test_the_first_approval_contradicts_nothing() -> None:
    assert not contradicts(told({"status": "requested", "amount": "60.00"}), approved())


# Time.


@pytest.mark.parametrize(
    ("occurred_at", "doubted"),
    [
        (NOW, False),
        (NOW - 72 * HOUR, False),
        (NOW - 72 * HOUR - SECOND, True),
        (NOW + 5 * MINUTE, False),
        (NOW + 5 * MINUTE + SECOND, True),
        (0, True),
    ],
)
def test_the_senders_time_is_believed_within_the_window_around_the_receipt(occurred_at: Instant, doubted: bool) -> None:
    end = believed_of(approved(occurred_at=occurred_at))

    assert end.occurred_at_doubted is doubted
    assert end.occurred_at == (NOW if doubted else occurred_at)


def test_a_deposit_without_a_time_occurred_when_it_was_received() -> None:
    end = believed_of(approved())

    assert (end.occurred_at, end.occurred_at_doubted) == (NOW, False)


@pytest.mark.parametrize(("milliseconds", "cut"), [(0, 0), (1, 0), (999, 0), (1_000, 1_000)])
def test_times_are_cut_to_whole_seconds(milliseconds: int, cut: int) -> None:
    assert believed_of(approved(occurred_at=NOW - HOUR + milliseconds)).occurred_at == NOW - HOUR + cut
    assert believed_of(approved(), received_at=NOW + milliseconds).occurred_at == NOW + cut


def test_the_window_is_as_wide_as_it_is_set() -> None:
    narrow = Window(before=SECOND, after=0)
    messages = told(approved(occurred_at=NOW - 2 * SECOND))

    assert believed("tx-1", "ann", messages, NOW, narrow).occurred_at_doubted
