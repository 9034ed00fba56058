"""Amounts: exact decimals above zero, with no more digits than their currency has (ISO 4217)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

_CURRENCY: Final = re.compile(r"[A-Z]{3}")

# ISO 4217 minor units where they are not two.
_DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"], 0),
    **dict.fromkeys(["RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}

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
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no decimal amount") from None
    if not amount.is_finite() or amount <= 0:
        raise ValueError("an amount is above zero")
    if amount >= Decimal(10) ** 15:
        raise ValueError("an amount has at most 15 digits before the point")
    exponent = amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > digits(currency):
        raise ValueError(f"{text} has more digits than {currency} has ({digits(currency)})")
    return amount


def written(amount: Decimal, currency: str) -> str:
    """`amount` with the digits of its currency, as contract.md writes money: "50.00"."""
    return f"{amount:.{digits(currency)}f}"
