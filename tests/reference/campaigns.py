"""Random campaigns, in the reference's words: most terms as they usually are, some out of the ordinary."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.conftest import NOW
from tests.reference.history import Entry
from tests.reference.rules import DIGITS
from tests.reference.table import moment_of

START = moment_of(NOW)

ROUND = ("10", "20", "33.33", "50", "100")
ODD = (
    "0.01",
    "0.05",
    "1",
    "9.99",
    "10.01",
    "10.03",
    "12.35",
    "19.99",
    "20.01",
    "50.01",
    "75.5",
    "99.99",
    "100.01",
    "150",
)


def amount_in(currency: str, texts: tuple[str, ...]) -> st.SearchStrategy[Decimal]:
    """Amounts near each other in every currency: with its digits, and never zero."""
    unit = Decimal(1).scaleb(-DIGITS[currency])
    return st.sampled_from(sorted({max(unit, Decimal(text).quantize(unit)) for text in texts}))


@st.composite
def tables(draw: st.DrawFn, texts: tuple[str, ...] = ROUND) -> dict[str, Decimal]:
    others = draw(st.lists(st.sampled_from(["JPY", "KWD", "USD"]), unique=True, max_size=2))
    currencies = [*(["EUR"] if not others or draw(st.integers(0, 7)) else []), *others]
    return {currency: draw(amount_in(currency, texts)) for currency in currencies}


def mostly_empty(tables: st.SearchStrategy[dict[str, Decimal]]) -> st.SearchStrategy[dict[str, Decimal]]:
    return st.one_of(st.just({}), tables)


@st.composite
def rewards(draw: st.DrawFn) -> tuple[Entry | None, dict[str, Decimal]]:
    kind = draw(st.sampled_from(["none", "percent", "percent", "fixed", "free_spins"]))
    if kind == "none":
        return None, {}
    if kind == "percent":
        percent = Decimal(draw(st.sampled_from(["100", "50", "12.5", "33.333", "0.5", "150"])))
        return {"percent": percent}, draw(mostly_empty(tables()))
    if kind == "fixed":
        return {"fixed": draw(tables(("5", "10.01")))}, {}
    return {"free_spins": draw(st.integers(1, 3))}, {}


# Of every term what is usual and what else it may be; a reward and what is spent of it belong together (`rewards`).
_USUAL: dict[str, list[Any]] = {
    "starts_at": [None, START + timedelta(minutes=30), START + timedelta(seconds=3600.5)],
    "ends_at": [None, START + timedelta(hours=2), START + timedelta(days=1, seconds=0.25)],
    "valid_for": [timedelta(days=7), None, timedelta(minutes=5), timedelta(hours=1)],
    "valid_from": ["issued", "sent", "shown"],
    "max_redemptions": [1, 2, 3],
    "holder_only": [True, False],
    "external": [True, False],
    "match": [["code", "player"], ["code"], ["player"]],
    "payment_methods": [[], ["VISA"], ["visa", "STRASSE"]],
    "deposit_index": [[], [1], [2, 3]],
    "per_player": [None, 1, 2],
    "budget_redemptions": [None, 1, 2, 3],
}
_TABLES = ("min_deposit", "max_deposit")
PLAIN: Entry = {name: values[0] for name, values in _USUAL.items()}
PLAIN |= {"min_deposit": {}, "max_deposit": {}, "budget_amount": {}, "reward": None, "reward_max": {}}


@st.composite
def terms(draw: st.DrawFn, names: Iterable[str] = PLAIN) -> Entry:
    """A campaign of which only the named terms are out of the ordinary, each half of the time."""
    drawn: Entry = {}
    for name in sorted(names):
        if name in _USUAL:
            usual, *others = _USUAL[name]
            drawn[name] = draw(st.sampled_from([usual] * len(others) + others))
        elif name in _TABLES:
            drawn[name] = draw(mostly_empty(tables()))
    if "reward" in names:
        reward, most = draw(rewards())
        in_money = reward is not None and "free_spins" not in reward
        budget = draw(mostly_empty(tables(ROUND + ODD))) if in_money else {}
        drawn |= {"reward": reward, "reward_max": most, "budget_amount": budget}
    return PLAIN | drawn


@st.composite
def changed(draw: st.DrawFn, base: Entry, names: Iterable[str]) -> Entry:
    """Another version of a campaign: some of these terms are replaced."""
    replaced = draw(st.lists(st.sampled_from(sorted(names)), min_size=1, max_size=3, unique=True))
    other = draw(terms(replaced))
    together = ("reward", "reward_max", "budget_amount") if "reward" in replaced else ()
    return base | {name: other[name] for name in (*replaced, *together)}
