"""Which deposit redeems which code, rule by rule, in the order in which the contract ranks the reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from promocast.campaign.deposit import Deposit, Message, Window, added, believed
from promocast.campaign.redemption import judge
from promocast.campaign.verdict import Candidate, Left, Verdict
from promocast.model import DAY, MINUTE, SECOND, Instant, rfc3339
from promocast.money import digits
from tests.conftest import NOW
from tests.unit.makers import campaign, candidate, deposit

GRACE_UNTIL = NOW + 10 * MINUTE


def judged(
    made: Deposit,
    quoted: Candidate | None = None,
    *held: Candidate,
    excluded: bool = False,
    now: Instant = NOW,
) -> Verdict:
    return judge(made, quoted, held, excluded=excluded, grace_until=GRACE_UNTIL, now=now)


def on_code(code: Candidate, *, excluded: bool = False, **facts: Any) -> Verdict:
    """The verdict on a deposit that quotes `code`."""
    return judged(deposit(promo_code=code.code, **facts), code, excluded=excluded)


def on_terms(terms: dict[str, Any], **facts: Any) -> Verdict:
    return on_code(candidate(terms), **facts)


# What the result is.


def test_a_deposit_that_quotes_a_good_code_redeems_it() -> None:
    verdict = on_code(candidate())

    assert verdict.result == "accepted"
    assert (verdict.code_id, verdict.code, verdict.campaign) == (1, "AB12CD", "welcome")
    assert (verdict.reason, verdict.detail, verdict.near_miss) == (None, None, None)


def test_a_deposit_that_is_only_requested_is_pending() -> None:
    verdict = on_code(candidate(), rank=0, approved=False)

    assert verdict == Verdict("pending")


def test_a_deposit_undone_before_it_was_approved_is_refused_as_not_approved() -> None:
    verdict = on_code(candidate(), rank=2, approved=False)

    assert (verdict.result, verdict.reason) == ("refused", "not_approved")


def test_an_undone_deposit_keeps_the_code_and_the_campaign_and_nothing_else() -> None:
    verdict = on_code(candidate({"min_deposit": {"EUR": "500.00"}}), rank=2)

    assert verdict.result == "rolled_back"
    assert (verdict.code, verdict.campaign) == ("AB12CD", "welcome")
    assert (verdict.reason, verdict.detail, verdict.near_miss) == (None, None, None)


def test_the_verdict_is_written_as_the_contract_has_it() -> None:
    written = on_terms({"min_deposit": {"EUR": "60.00"}}).as_json("tx-1")

    trace = written.pop("trace")
    assert written == {
        "deposit_id": "tx-1",
        "result": "refused",
        "code": "AB12CD",
        "campaign": "welcome",
        "reason": "below_minimum",
        "detail": "50.00, at least 60.00 EUR",
        "reward": None,
        "near_miss": {"changes": {"amount": "60.00"}, "text": "10.00 EUR short"},
    }
    assert {"rule": "below_minimum", "passed": False, "detail": "50.00, at least 60.00 EUR"} in trace


# A quoted code decides alone.


def test_an_unknown_code_is_waited_for_within_the_grace_time() -> None:
    unknown = deposit(promo_code="NOPE")

    waiting = judged(unknown, None, now=GRACE_UNTIL - 1)
    refused = judged(unknown, None, now=GRACE_UNTIL)

    assert (waiting.result, waiting.reason, waiting.code) == ("waiting", "unknown_code", None)
    assert (refused.result, refused.reason, refused.code) == ("refused", "unknown_code", None)


def test_a_quoted_code_that_is_unknown_falls_back_to_no_other() -> None:
    verdict = judged(deposit(promo_code="NOPE"), None, candidate(), now=GRACE_UNTIL)

    assert (verdict.result, verdict.reason) == ("refused", "unknown_code")


def test_a_quoted_code_that_is_refused_falls_back_to_no_other() -> None:
    dead = candidate(revoked_at=NOW)
    good = candidate(code_id=2, code="GOOD")

    verdict = judged(deposit(promo_code=dead.code), dead, good)

    assert (verdict.result, verdict.code, verdict.reason) == ("refused", "AB12CD", "revoked")


@pytest.mark.parametrize("match", [["code"], ["player"], ["code", "player"], []])
def test_a_quoted_code_redeems_whatever_match_says(match: list[str]) -> None:
    assert on_terms({"match": match}).result == "accepted"


def test_of_a_quoted_code_the_time_of_issue_is_not_asked() -> None:
    assert on_code(candidate(issued_at=NOW + DAY)).result == "accepted"


# Without a quote.


def test_the_newest_code_that_passes_is_redeemed() -> None:
    newest = candidate({"min_deposit": {"EUR": "100.00"}}, code_id=3, code="NEWEST")
    newer = candidate(code_id=2, code="NEWER")
    older = candidate(code_id=1, code="OLDER")

    verdict = judged(deposit(), None, newest, newer, older)

    assert (verdict.result, verdict.code) == ("accepted", "NEWER")


def test_where_none_passes_the_newest_says_why() -> None:
    newest = candidate({"min_deposit": {"EUR": "100.00"}}, code_id=2, code="NEWEST")
    older = candidate({"max_deposit": {"EUR": "10.00"}}, code_id=1, code="OLDER")

    verdict = judged(deposit(), None, newest, older)

    assert (verdict.result, verdict.code, verdict.reason) == ("refused", "NEWEST", "below_minimum")


@pytest.mark.parametrize(
    "code",
    [
        candidate({"match": ["code"]}),
        candidate(revoked_at=NOW),
        candidate(redeemed=1),
        candidate(expires_at=NOW),
        candidate(issued_at=NOW + SECOND),
    ],
    ids=["matched by code only", "revoked", "used up", "expired", "issued later"],
)
def test_a_code_that_is_out_of_the_question_is_no_candidate(code: Candidate) -> None:
    assert judged(deposit(), None, code) == Verdict("no_code")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (replace(candidate(), campaign=campaign(starts_at=rfc3339(NOW + SECOND))), "not_started"),
        (candidate({"per_player": 1}, player_redemptions=1), "limit_reached"),
    ],
    ids=["campaign not yet started", "the player's limit"],
)
def test_what_is_a_rule_makes_a_candidate_fail_and_not_vanish(code: Candidate, reason: str) -> None:
    verdict = judged(deposit(), None, code)

    assert (verdict.result, verdict.reason) == ("refused", reason)


def test_a_code_issued_within_the_same_second_is_a_candidate() -> None:
    assert judged(deposit(), None, candidate(issued_at=NOW + 999)).result == "accepted"


def test_a_player_without_codes_has_none() -> None:
    assert judged(deposit()) == Verdict("no_code")


# The rules, one by one: (terms of the campaign, facts of the code, facts of the deposit, the reason or None).

STARTS = {"starts_at": rfc3339(NOW)}
RULES = [
    ("of another player", {}, {"player_id": "bob"}, {}, "other_player"),
    ("of nobody yet", {}, {"player_id": None}, {}, None),
    ("revoked", {}, {"revoked_at": NOW - DAY}, {}, "revoked"),
    ("revoked later than the deposit", {}, {"revoked_at": NOW + DAY}, {}, "revoked"),
    ("starts now", {}, {"campaign": campaign(**STARTS)}, {}, None),
    ("starts a second later", {}, {"campaign": campaign(**STARTS)}, {"occurred_at": NOW - SECOND}, "not_started"),
    ("ends now", {}, {"expires_at": NOW}, {}, "expired"),
    ("ends within this second", {}, {"expires_at": NOW + 999}, {}, "expired"),
    ("ends a second later", {}, {"expires_at": NOW + SECOND}, {}, None),
    ("never ends", {}, {"expires_at": None}, {}, None),
    ("used up, of one", {}, {"redeemed": 1}, {}, "already_redeemed"),
    ("used up, of three", {}, {"redeemed": 3, "max_redemptions": 3}, {}, "limit_reached"),
    ("one left", {}, {"redeemed": 2, "max_redemptions": 3}, {}, None),
    ("without limit", {}, {"redeemed": 1_000, "max_redemptions": None}, {}, None),
    ("the player's last", {"per_player": 2}, {"player_redemptions": 1}, {}, None),
    ("one too many for the player", {"per_player": 2}, {"player_redemptions": 2}, {}, "limit_reached"),
    ("no limit per player", {}, {"player_redemptions": 1_000}, {}, None),
    ("currency listed", {"min_deposit": {"EUR": "1.00"}}, {}, {}, None),
    ("currency not listed", {"min_deposit": {"USD": "1.00"}}, {}, {}, "wrong_currency"),
    ("currency not told", {"min_deposit": {"EUR": "1.00"}}, {}, {"currency": None}, "wrong_currency"),
    ("no currency needed", {}, {}, {"currency": None}, None),
    ("the least", {"min_deposit": {"EUR": "50.00"}}, {}, {}, None),
    ("a cent short", {"min_deposit": {"EUR": "50.01"}}, {}, {}, "below_minimum"),
    ("amount not told", {"min_deposit": {"EUR": "50.00"}}, {}, {"amount": None}, "below_minimum"),
    ("the most", {"max_deposit": {"EUR": "50.00"}}, {}, {}, None),
    ("a cent too much", {"max_deposit": {"EUR": "49.99"}}, {}, {}, "above_maximum"),
    ("a most that needs the amount", {"max_deposit": {"EUR": "50.00"}}, {}, {"amount": None}, "above_maximum"),
    ("a most of another currency", {"max_deposit": {"USD": "1.00"}}, {}, {}, None),
    ("exactly one amount", {"min_deposit": {"EUR": "50.00"}, "max_deposit": {"EUR": "50.00"}}, {}, {}, None),
    ("method listed", {"payment_methods": ["PAYPAL", "VISA"]}, {}, {"payment_method": "VISA"}, None),
    ("method in another case", {"payment_methods": ["Visa"]}, {}, {"payment_method": "vISA"}, None),
    ("method not listed", {"payment_methods": ["VISA"]}, {}, {"payment_method": "PAYPAL"}, "wrong_payment_method"),
    ("method not told", {"payment_methods": ["VISA"]}, {}, {}, "wrong_payment_method"),
    ("no method needed", {}, {}, {"payment_method": "CASH"}, None),
    ("index listed", {"deposit_index": [1, 2]}, {}, {"deposit_index": 2}, None),
    ("index not listed", {"deposit_index": [1]}, {}, {"deposit_index": 2}, "wrong_deposit_index"),
    ("index not told", {"deposit_index": [1]}, {}, {}, "wrong_deposit_index"),
]


@pytest.mark.parametrize(
    ("terms", "code", "facts", "reason"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES]
)
def test_a_rule_holds_up_to_its_bound_and_no_further(
    terms: dict[str, Any], code: dict[str, Any], facts: dict[str, Any], reason: str | None
) -> None:
    verdict = on_code(candidate(terms, **code), **facts)

    assert (verdict.result, verdict.reason) == ("accepted" if reason is None else "refused", reason)


def test_an_excluded_player_redeems_nothing() -> None:
    quoted = on_code(candidate(), excluded=True)
    unquoted = judged(deposit(), None, candidate(), excluded=True)

    assert quoted.reason == unquoted.reason == "player_excluded"


def test_a_code_that_is_not_its_holders_alone_redeems_for_anybody() -> None:
    shared = campaign(code={"label_tag": "promo_code", "holder_only": False})

    assert on_code(candidate(campaign=shared, player_id="bob")).result == "accepted"


def test_whoever_quotes_anothers_code_learns_that_and_nothing_more() -> None:
    secret_terms = {"min_deposit": {"USD": "77.00"}}

    verdict = on_code(candidate(secret_terms, player_id="bob", revoked_at=NOW))

    assert (verdict.code_id, verdict.code, verdict.campaign, verdict.near_miss) == (None, None, None, None)
    assert [check.rule for check in verdict.trace] == ["other_player"]


STRICT: dict[str, Any] = {
    "min_deposit": {"EUR": "60.00", "USD": "20.00"},
    "max_deposit": {"EUR": "40.00"},
    "payment_methods": ["VISA"],
    "deposit_index": [1],
    "per_player": 1,
}
# Each reason, and what has to be mended of the deposit, the code or the player to get past it.
RANKED: list[tuple[str, dict[str, Any]]] = [
    ("not_approved", {"deposit": {"rank": 1, "approved": True}}),
    ("other_player", {"code": {"player_id": "ann"}}),
    ("player_excluded", {"excluded": False}),
    ("revoked", {"code": {"revoked_at": None}}),
    ("not_started", {"code": {"campaign": campaign(redemption=STRICT)}}),
    ("expired", {"code": {"expires_at": None}}),
    ("already_redeemed", {"code": {"redeemed": 0}}),
    ("limit_reached", {"code": {"player_redemptions": 0}}),
    ("wrong_currency", {"deposit": {"currency": "EUR"}}),
    ("below_minimum", {"code": {"campaign": campaign(redemption=STRICT | {"min_deposit": {"EUR": "20.00"}})}}),
    ("above_maximum", {"deposit": {"amount": Decimal("40.00")}}),
    ("wrong_payment_method", {"deposit": {"payment_method": "VISA"}}),
    ("wrong_deposit_index", {"deposit": {"deposit_index": 1}}),
    ("budget_exhausted", {"code": {"left": Left(redemptions=1)}}),
]


def test_reasons_come_in_the_order_in_which_the_contract_ranks_them() -> None:
    made = deposit(promo_code="AB12CD", currency="GBP", rank=2, approved=False)
    not_started = campaign(starts_at=rfc3339(NOW + DAY), redemption=STRICT)
    used_up = candidate(campaign=not_started, redeemed=1, player_redemptions=1, per_player=1, left=Left(redemptions=0))
    code = replace(used_up, player_id="bob", revoked_at=NOW, expires_at=NOW)
    excluded = True

    for reason, mends in RANKED:
        assert judged(made, code, excluded=excluded).reason == reason
        made = replace(made, **mends.get("deposit", {}))
        code = replace(code, **mends.get("code", {}))
        excluded = mends.get("excluded", excluded)

    assert judged(made, code, excluded=excluded).result == "accepted"


def test_the_first_that_fails_is_the_reason_and_the_trace_holds_all() -> None:
    verdict = on_terms({"min_deposit": {"EUR": "60.00"}, "payment_methods": ["VISA"], "deposit_index": [1]})

    failed = [check.rule for check in verdict.trace if not check.passed]
    assert verdict.reason == "below_minimum"
    assert failed == ["below_minimum", "wrong_payment_method", "wrong_deposit_index"]
    assert {"other_player", "player_excluded", "revoked", "not_started", "expired", "already_redeemed"} <= {
        check.rule for check in verdict.trace if check.passed
    }


def test_the_trace_says_where_the_senders_time_was_not_believed() -> None:
    doubted = on_code(candidate(), occurred_at_doubted=True)
    believed_time = on_code(candidate())

    assert doubted.trace[0].rule == "occurred_at"
    assert "occurred_at" not in [check.rule for check in believed_time.trace]


# Undoing, in whatever order.

APPROVED: Message = {"status": "approved", "amount": "50.00", "currency": "EUR", "promo_code": "AB12CD"}


@pytest.mark.parametrize("undoing", ["rejected", "cancelled", "rolled_back"])
def test_an_undone_deposit_ends_alike_whichever_message_came_first(undoing: str) -> None:
    def end(*messages: Message) -> Verdict:
        kept: dict[str, Message] = {}
        for message in messages:
            kept, _ = added(kept, message)
        return judged(believed("tx-1", "ann", kept, NOW, Window()), candidate())

    ends = [end(*order) for order in permutations([APPROVED, {"status": undoing}, {"status": "requested"}])]

    assert ends[0].result == "rolled_back"
    assert all(verdict == ends[0] for verdict in ends)


@pytest.mark.parametrize("quoted", [candidate(), candidate(revoked_at=NOW), candidate(player_id="bob"), None])
def test_the_undoing_of_an_approved_deposit_is_rolled_back_whatever_it_had_been(quoted: Candidate | None) -> None:
    assert judged(deposit(promo_code="AB12CD", rank=2), quoted).result == "rolled_back"


# Near misses.


@pytest.mark.parametrize(
    ("terms", "facts", "changes", "text"),
    [
        ({"min_deposit": {"EUR": "55.00"}}, {}, {"amount": "55.00"}, "5.00 EUR short"),
        ({"max_deposit": {"EUR": "49.50"}}, {}, {"amount": "49.50"}, "0.50 EUR too much"),
        ({"min_deposit": {"USD": "20.00"}}, {}, {"currency": "USD"}, "in USD"),
        (
            {"min_deposit": {"USD": "60.00"}},
            {},
            {"currency": "USD", "amount": "60.00"},
            "in USD, 10.00 USD short",
        ),
        ({"min_deposit": {"USD": "60.00", "GBP": "50.00"}}, {}, {"currency": "GBP"}, "in GBP"),
        (
            {"min_deposit": {"USD": "70.00", "GBP": "60.00"}},
            {},
            {"currency": "GBP", "amount": "60.00"},
            "in GBP, 10.00 GBP short",
        ),
        ({"min_deposit": {"JPY": "20"}}, {"amount": "50.00"}, {"currency": "JPY"}, "in JPY"),
        ({"min_deposit": {"EUR": "60.00", "USD": "20.00"}}, {}, {"currency": "USD"}, "in USD"),
        ({"max_deposit": {"EUR": "40.00", "USD": "90.00"}}, {}, {"currency": "USD"}, "in USD"),
        ({"max_deposit": {"EUR": "40.00"}}, {"currency": None, "amount": "30.00"}, {"currency": "EUR"}, "in EUR"),
        (
            {"min_deposit": {"EUR": "60.00"}},
            {"amount": None},
            {"amount": "60.00"},
            "an amount of 60.00 EUR",
        ),
        ({"payment_methods": ["VISA"]}, {}, {"payment_method": "VISA"}, "pay by VISA"),
        ({"deposit_index": [1, 5]}, {"deposit_index": 4}, {"deposit_index": 5}, "deposit number 1, 5"),
        (
            {"min_deposit": {"EUR": "60.00"}, "payment_methods": ["VISA"]},
            {},
            {"amount": "60.00", "payment_method": "VISA"},
            "10.00 EUR short, pay by VISA",
        ),
    ],
)
def test_a_near_miss_is_the_least_change_that_would_have_passed(
    terms: dict[str, Any], facts: dict[str, Any], changes: dict[str, Any], text: str
) -> None:
    assert on_terms(terms, **facts).near_miss == {"changes": changes, "text": text}


def test_a_near_miss_in_another_currency_has_no_more_digits_than_it() -> None:
    near_miss = on_terms({"min_deposit": {"JPY": "20"}}, amount="50.55").near_miss

    assert near_miss == {"changes": {"currency": "JPY", "amount": "51"}, "text": "in JPY, an amount of 51 JPY"}


CURRENCIES = ("EUR", "USD", "JPY")


@st.composite
def bounds(draw: st.DrawFn) -> dict[str, Any]:
    """min_deposit and max_deposit that some deposit can meet, in whole units."""
    least = draw(st.dictionaries(st.sampled_from(CURRENCIES), st.integers(1, 100), max_size=2))
    most = draw(st.dictionaries(st.sampled_from(CURRENCIES), st.integers(1, 100), max_size=2))
    assume(all(least.get(currency, 0) <= limit for currency, limit in most.items()))
    return {
        "min_deposit": {currency: str(amount) for currency, amount in least.items()},
        "max_deposit": {currency: str(amount) for currency, amount in most.items()},
    }


@st.composite
def all_terms(draw: st.DrawFn) -> dict[str, Any]:
    return draw(bounds()) | {
        "payment_methods": draw(st.lists(st.sampled_from(["VISA", "PAYPAL"]), max_size=2, unique=True)),
        "deposit_index": draw(st.lists(st.integers(1, 3), max_size=2, unique=True)),
    }


@st.composite
def deposits(draw: st.DrawFn) -> Deposit:
    currency = draw(st.sampled_from([*CURRENCIES, "GBP", None]))
    units = draw(st.integers(1, 12_000))
    return deposit(
        promo_code="AB12CD",
        currency=currency,
        amount=draw(st.sampled_from([None, Decimal(units).scaleb(-digits(currency or ""))])),
        payment_method=draw(st.sampled_from([None, "VISA", "CASH"])),
        deposit_index=draw(st.sampled_from([None, 1, 7])),
    )


def applied(made: Deposit, changes: dict[str, Any]) -> Deposit:
    amount = {"amount": Decimal(changes["amount"])} if changes.get("amount") else {}
    return replace(made, **{**changes, **amount})


def alternatives(made: Deposit, terms: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every change that could matter: of each fact, to each value that a rule names."""
    named = {*terms["min_deposit"].values(), *terms["max_deposit"].values()}
    options: list[list[tuple[str, Any]]] = [
        [("currency", currency) for currency in (made.currency, *terms["min_deposit"], *terms["max_deposit"])],
        [("amount", amount) for amount in (made.amount, *named)],
        [("payment_method", method) for method in (made.payment_method, *terms["payment_methods"])],
        [("deposit_index", index) for index in (made.deposit_index, *terms["deposit_index"])],
    ]
    for chosen in product(*options):
        change = {name: value for name, value in chosen if applied(made, {name: value}) != made}
        if is_money(applied(made, change)):
            yield change


def size(made: Deposit, change: dict[str, Any]) -> tuple[int, Decimal]:
    """How changes compare: by their fields, then by how far they move the amount."""
    return len(change), abs((applied(made, change).amount or Decimal(0)) - (made.amount or Decimal(0)))


def is_money(made: Deposit) -> bool:
    """Whether the currency has as many digits as the amount: there is no half a yen."""
    unit = Decimal(1).scaleb(-digits(made.currency or ""))
    return made.amount is None or made.amount % unit == 0


@given(all_terms(), deposits())
@settings(max_examples=400, derandomize=True)
def test_a_near_miss_applied_whole_is_accepted(terms: dict[str, Any], made: Deposit) -> None:
    code = candidate(terms)
    near_miss = judged(made, code).near_miss
    assume(near_miss is not None)
    assert near_miss is not None

    verdict = judged(applied(made, near_miss["changes"]), code)

    assert verdict.result == "accepted"
    assert near_miss["text"]


@given(all_terms(), deposits())
@settings(max_examples=150, derandomize=True)
def test_no_lesser_change_than_the_near_miss_would_pass(terms: dict[str, Any], made: Deposit) -> None:
    code = candidate(terms)
    verdict = judged(made, code)
    assume(verdict.result == "refused")

    passing = [
        size(made, change)
        for change in alternatives(made, terms)
        if judged(applied(made, change), code).result == "accepted"
    ]

    assert verdict.near_miss is not None
    assert size(made, verdict.near_miss["changes"]) <= min(passing)


@pytest.mark.parametrize(
    ("facts", "excluded"),
    [
        ({"player_id": "bob"}, False),
        ({}, True),
        ({"revoked_at": NOW}, False),
        ({"expires_at": NOW}, False),
        ({"redeemed": 1}, False),
        ({"player_redemptions": 1}, False),
        ({"campaign": campaign(starts_at=rfc3339(NOW + DAY), redemption={"min_deposit": {"EUR": "60.00"}})}, False),
    ],
    ids=["other player", "excluded", "revoked", "expired", "redeemed", "player's limit", "not started"],
)
def test_what_no_other_deposit_would_change_has_no_near_miss(facts: dict[str, Any], excluded: bool) -> None:
    code = candidate({"min_deposit": {"EUR": "60.00"}, "per_player": 1}, **facts)

    verdict = on_code(code, excluded=excluded)

    assert verdict.result == "refused"
    assert verdict.near_miss is None


def test_a_deposit_that_passes_has_no_near_miss() -> None:
    assert on_terms({"min_deposit": {"EUR": "50.00"}}).near_miss is None
