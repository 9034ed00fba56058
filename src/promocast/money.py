"""Amounts: exact decimals above zero, with no more digits than their currency has (ISO 4217)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Final

_CURRENCY: Final = re.compile(r"[A-Z]{3}")
# Decimal takes more than is written for money: underscores, other scripts' digits, NaN.
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")

# ISO 4217 minor units where they are not two.
_DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"], 0),
    **dict.fromkeys(["RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}

# Amounts have up to 19 digits, percentages up to 12; nothing is rounded but where it is said.
WIDE: Final = Context(prec=60)

WIDEST: Final = "CLF"  # no currency has more digits


def digits(currency: str) -> int:
    """How many digits after the point the currency's amounts have."""
    return _DIGITS.get(currency, 2)


def parse_currency(text: str) -> str:
    """An ISO 4217 code, upper case.

    Raises:
        ValueError: if it is not three letters.
    """
    currency = text.strip().upper()
    if not _CURRENCY.fullmatch(currency):
        raise ValueError(f"{text!r} is no ISO 4217 currency, as EUR is one")
    return currency


def parse_amount(text: str, currency: str) -> Decimal:
    """The amount that `text` names in `currency`.

    Raises:
        ValueError: not a finite decimal above zero, or more digits than the currency has.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is no decimal amount, as 50.00 is one")
    amount = Decimal(text)
    if amount <= 0:
        raise ValueError("an amount is above zero")
    if amount >= Decimal(10) ** 15:
        raise ValueError("an amount has at most 15 digits before the point")
    if _places(amount) > digits(currency):
        raise ValueError(f"{text} has more digits than {currency} has ({digits(currency)})")
    return amount


def _places(amount: Decimal) -> int:
    """Digits after the point, trailing zeros aside. `normalize` would round at 28 digits first."""
    _, figures, exponent = amount.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - the amount is finite
    zeros = len(figures) - len("".join(map(str, figures)).rstrip("0"))
    return max(0, -(exponent + zeros))


def units(amount: Decimal, currency: str) -> int:
    """`amount`, which has no more digits than its currency, in the currency's smallest unit."""
    return int(amount.scaleb(digits(currency), WIDE))


def from_units(count: int, currency: str) -> str:
    """The amount that is so many of the currency's smallest unit, as a decimal string."""
    return written(Decimal(count).scaleb(-digits(currency)), currency)


def written(amount: Decimal, currency: str) -> str:
    """`amount` with the digits of its currency, as contract.md writes money: "50.00"."""
    return f"{amount:.{digits(currency)}f}"
