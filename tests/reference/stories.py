"""Stories: random steps in random order, with a leaning to where rules turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tests.reference.campaigns import ODD, PLAIN, ROUND, amount_in, changed, terms
from tests.reference.history import Entry

CAMPAIGNS = ("a", "b")
PLAYERS = ("p1", "p2", "p3")

# Three times of four.
CHANCES = st.sampled_from([True, True, True, False])


@dataclass(frozen=True)
class Theme:
    """What a story is about: the terms that are out of the ordinary in it; which deposits are made (number n by player
    n % 3 + 1); what is quoted, and done, more often than in others; how much is told at once."""

    terms: Iterable[str]
    numbers: Sequence[int] = tuple(range(9))
    quotes: Sequence[tuple[str, int]] = (("own", 0),) * 16 + (("own", 1),) * 8
    steps: Mapping[str, int] = field(default_factory=dict)
    at_once: int = 1
    payments: bool = False
    times: bool = True


_LIMITS = {"reward", "max_redemptions", "per_player", "budget_redemptions", "holder_only"}
_MONEY = {"reward", "min_deposit", "max_deposit", "payment_methods", "deposit_index"}
THEMES: dict[str, Theme] = {
    "everything": Theme(frozenset(PLAIN) - {"reward_max", "budget_amount"}, payments=True),
    "limits": Theme(_LIMITS, steps={"issue": 6, "apply": 3}, times=False),
    "money": Theme(_MONEY, payments=True),
    "times": Theme({"starts_at", "ends_at", "valid_for", "valid_from"}, steps={"sent": 2, "action": 3}),
    "messages": Theme({"match", "max_redemptions"}, numbers=(0, 1), steps={"issue": 4, "reverify": 3}),
    "guesses": Theme({"holder_only"}, numbers=range(0, 60, 3), quotes=(("own", 0),) * 4, at_once=3, times=False),
    "externals": Theme(
        {"external", "holder_only", "valid_from", "max_redemptions"},
        quotes=(("external", 0), ("external", 1)) * 8,
        steps={"report": 8, "action": 2},
        times=False,
    ),
}


# Steps: (its name, what it needs). What a step refers to by a number is looked up when it is taken.

_QUOTES = [("issued", number) for number in range(6)] + [("external", 0), ("external", 1)]
_QUOTES += [("unknown", number) for number in range(3)]


moments = st.one_of(
    *[st.just(("now", 0))] * 4,
    st.tuples(
        st.sampled_from(["now", "receipt", "earliest", "latest", "starts", "ends", "issued", "expires"]),
        st.sampled_from([-1000, -999, -1, 0, 1, 999, 1000, 60_000]),
    ),
)


@st.composite
def waits(draw: st.DrawFn) -> Any:
    """Milliseconds; or until about the n-th of the moments ahead at which something turns."""
    if draw(CHANCES):
        return draw(st.sampled_from([0, 1, 500, 1000, 60_000, 300_000]))
    return "turn", draw(st.sampled_from([0, 0, 0, 1, 2, 5])), draw(st.sampled_from([-1, 0, 1]))


USUAL_PAYMENT: Entry = {"amount": Decimal("50.00"), "currency": "EUR", "method": None, "index": None}


@st.composite
def payments(draw: st.DrawFn) -> Entry:
    currency = draw(st.sampled_from(["EUR"] * 6 + ["USD", "JPY", "KWD"]))
    return {
        "amount": draw(amount_in(currency, ROUND + ODD)),
        "currency": currency,
        "method": draw(st.sampled_from([None, "visa", "VISA", "Strasse", "skrill"])),
        "index": draw(st.sampled_from([None, 1, 1, 2, 3])),
    }


ANEW = [(), (), (), ("quote",), ("method", "index"), ("occurred_at",), ("amount",), "all"]
LEFT_OUT = [(), (), (), (), (), ("quote",), ("method", "index"), ("quote", "occurred_at")]


@st.composite
def messages(draw: st.DrawFn, theme: Theme) -> Entry:
    statuses = ["approved"] * 14 + ["requested", "requested", "rejected", "cancelled", "rolled_back", "rolled_back"]
    message = {
        "number": draw(st.sampled_from(theme.numbers)),
        "status": draw(st.sampled_from(statuses)),
        "quote": draw(st.sampled_from([*_QUOTES, *theme.quotes])) if draw(CHANCES) else None,
        "occurred_at": draw(moments) if theme.times and draw(CHANCES) else None,
        # Of a deposit that was told before, the same is told again, but for what is named here.
        "anew": (),
        "left_out": (),
        "stranger": False,
    }
    message |= draw(payments()) if theme.payments else USUAL_PAYMENT
    if theme.at_once > 1:
        return message
    return message | {
        "anew": draw(st.sampled_from(ANEW)),
        "left_out": draw(st.sampled_from(LEFT_OUT)),
        "stranger": draw(st.integers(0, 39)) == 7,
    }


def needs(theme: Theme, bases: dict[str, Entry]) -> dict[str, tuple[int, list[st.SearchStrategy[Any]]]]:
    """{a step: how often it is taken, what it needs}"""
    quotes = st.sampled_from([*_QUOTES, *theme.quotes])
    player, campaign = st.sampled_from(PLAYERS), st.sampled_from(CAMPAIGNS)
    anybody = st.sampled_from([None, *PLAYERS])
    until = st.sampled_from([None, timedelta(minutes=10), timedelta(seconds=0.5)])
    ill = {"type": st.sampled_from(["Excluded", "Blocked"]), "active": st.sampled_from([True, True, False])}
    version = campaign.flatmap(lambda name: st.tuples(st.just(name), changed(bases[name], theme.terms)))
    return {
        "tell": (24, [st.lists(messages(theme), min_size=theme.at_once, max_size=theme.at_once + 2)]),
        "issue": (5, [player, campaign]),
        "accept": (1, [player, campaign]),
        "sent": (1, [quotes]),
        "report": (3, [quotes, anybody, campaign]),
        "action": (1, [quotes, anybody]),
        "revoke": (1, [quotes]),
        "blocks": (1, [player, st.lists(st.fixed_dictionaries(ill | {"until": until}), max_size=2)]),
        "validate": (2, [player, quotes, payments()]),
        "reverify": (2, [st.integers(0, 8)]),
        "apply": (2, [version]),
    }


@st.composite
def stories(draw: st.DrawFn, theme: Theme) -> tuple[dict[str, Entry], list[tuple[Any, ...]]]:
    """The campaigns at the beginning, and [(how long is waited, (a step, what it needs))]."""
    bases = {campaign: draw(terms(theme.terms)) for campaign in CAMPAIGNS}
    known = needs(theme, bases)
    bag = [name for name, (weight, _) in known.items() for _ in range(theme.steps.get(name, weight))]
    names = draw(st.lists(st.sampled_from(bag), min_size=4, max_size=14))
    first = [(0, ("issue", player, draw(st.sampled_from("aaab")))) for player in PLAYERS]
    return bases, first + [(draw(waits()), (name, *[draw(need) for need in known[name][1]])) for name in names]
