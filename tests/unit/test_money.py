"""Money: exact, above zero, with the digits of its currency."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from promocast.money import digits, parse_amount, parse_currency, written


@pytest.mark.parametrize(
    ("currency", "count"), [("EUR", 2), ("USD", 2), ("JPY", 0), ("ISK", 0), ("KWD", 3), ("CLF", 4), ("XYZ", 2)]
)
def test_a_currency_has_the_digits_of_iso_4217_and_two_where_it_is_not_known(currency: str, count: int) -> None:
    assert digits(currency) == count


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("50.00", "EUR"),
        ("50", "EUR"),
        ("50.5", "EUR"),
        ("50.000", "EUR"),
        ("0.01", "EUR"),
        ("1000", "JPY"),
        ("1000.0", "JPY"),
        ("0.001", "KWD"),
        ("999999999999999.99", "EUR"),
    ],
)
def test_an_amount_is_taken_exactly(text: str, currency: str) -> None:
    assert parse_amount(text, currency) == Decimal(text)


@pytest.mark.parametrize(
    ("text", "currency", "reason"),
    [
        ("0", "EUR", "above zero"),
        ("0.00", "EUR", "above zero"),
        ("-0", "EUR", "above zero"),
        ("-50.00", "EUR", "above zero"),
        ("NaN", "EUR", "no decimal"),
        ("sNaN", "EUR", "no decimal"),
        ("Infinity", "EUR", "no decimal"),
        ("1_000", "EUR", "no decimal"),
        ("\uff15\uff10", "EUR", "no decimal"),
        (" 50", "EUR", "no decimal"),
        ("19.999999999999999999999999999999", "EUR", "more digits"),
        ("", "EUR", "no decimal"),
        ("fifty", "EUR", "no decimal"),
        ("50,00", "EUR", "no decimal"),
        ("1,000.00", "EUR", "no decimal"),
        ("0x32", "EUR", "no decimal"),
        ("\ud800", "EUR", "no decimal"),
        ("50.001", "EUR", "more digits than EUR has"),
        ("50.5", "JPY", "more digits than JPY has"),
        ("0.0001", "KWD", "more digits than KWD has"),
        ("1000000000000000", "EUR", "at most 15 digits"),
        ("1e400000", "EUR", "no decimal"),
        ("1e-400000", "EUR", "no decimal"),
    ],
    ids=ascii,
)
def test_what_is_no_amount_is_refused_with_the_reason(text: str, currency: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_amount(text, currency)


@given(st.sampled_from(["EUR", "JPY", "KWD", "CLF"]), st.integers(1, 10**15 - 1))
@hypothesis_settings(max_examples=200, derandomize=True)
def test_every_multiple_of_the_smallest_unit_is_written_as_it_was_read(currency: str, units: int) -> None:
    text = f"{Decimal(units).scaleb(-digits(currency)):f}"

    assert written(parse_amount(text, currency), currency) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [("50", "EUR", "50.00"), ("50.5", "EUR", "50.50"), ("1E+3", "JPY", "1000"), ("1.5", "KWD", "1.500")],
)
def test_money_is_written_with_the_digits_of_its_currency(amount: str, currency: str, text: str) -> None:
    assert written(Decimal(amount), currency) == text


@pytest.mark.parametrize("text", ["EUR", "eur", " Eur "])
def test_a_currency_is_known_in_any_case(text: str) -> None:
    assert parse_currency(text) == "EUR"


@pytest.mark.parametrize("text", ["", "EU", "EURO", "978", "E R", "\u20ac", "\u0415\u0423\u0420"], ids=ascii)
def test_what_is_no_currency_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no ISO 4217 currency"):
        parse_currency(text)
