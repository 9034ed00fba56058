"""Backtest: what an edited campaign would have made of the deposits of a period. It only reads, in one transaction, so
it sees one moment of the book.

What is held at a time: a chunk of judgings with the codes that they ask for, the versions of their campaigns, a count
for each code and player of a redemption in the period, and the deposits for which the edit changes something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from promocast.campaign.backtest import Replay, Terms
from promocast.campaign.comparison import Comparison, amount
from promocast.campaign.deposit import Window
from promocast.campaign.document import Campaign
from promocast.campaign.edit import Edit
from promocast.campaign.judging import COUNT, Compared
from promocast.errors import UnknownCampaign
from promocast.flows.past import Past, Period
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, campaigns, history
from promocast.model import rfc3339
from promocast.money import written
from promocast.settings import VerificationSettings


@dataclass(slots=True)
class Result:
    """What came of a backtest. `version` is the one in force; `replay` holds what is spent at the end."""

    version: int
    in_force: Campaign
    edited: Campaign
    edit: Edit
    period: Period
    comparison: Comparison
    replay: Replay

    def as_json(self, top: int) -> dict[str, Any]:
        """All of it, with up to `top` of the players who gain most, and who lose most."""
        told = self.comparison.as_json(top)
        told["deposits"]["not_reproduced"] = len(self.replay.not_reproduced)
        return {
            "campaign": self.edited.id,
            "version": self.version,
            "since": rfc3339(self.period.since),
            "until": rfc3339(self.period.until),
            "edited": self.edit.names,
            **told,
            "budget": self._budget(),
        }

    def _budget(self) -> dict[str, Any]:
        """{"redemptions" or a currency: {limit, used}} of what is limited before the edit or after it."""
        limits = [_limits(campaign) for campaign in (self.in_force, self.edited)]
        return {
            currency or "redemptions": {
                "limit": dict(zip(("before", "after"), (limit.get(currency) for limit in limits), strict=True)),
                "used": {
                    name: amount(self.replay.spent(self.edited.id, currency, edited=name == "after"), currency)
                    for name in ("before", "after")
                },
            }
            for currency in sorted(limits[0].keys() | limits[1].keys())
        }


def backtest(
    ledger: Ledger,
    edited: Campaign,
    period: Period,
    *,
    versions: Versions,
    terms: VerificationSettings,
    each: Callable[[Compared], None] = lambda _: None,
) -> Result:
    """Judge the deposits of the period again, as if what `edited` changes in the version in force had been so for all
    of the campaign's codes all the time. `each` is told of every deposit.

    Raises:
        UnknownCampaign: no version of the campaign was ever applied, so there is nothing to compare with.
    """
    with ledger.read() as conn:
        current = campaigns.in_force(conn, edited.id)
        if current is None:
            raise UnknownCampaign(edited.id)
        in_force = versions.get(conn, edited.id, current.version).campaign
        edit = Edit.between(in_force, edited)
        past = Past(conn, period, Window(terms.occurred_before, terms.occurred_after), versions, Terms(edit))
        past.know_campaigns([edited.id])
        replay = Replay(past.terms, period.since, history.spent(conn, period.since))
        comparison = Comparison(edited.id)
        for compared in _replayed(past, replay):
            comparison.add(compared)
            each(compared)
    return Result(current.version, in_force, edited, edit, period, comparison, replay)


def _limits(campaign: Campaign) -> dict[str, Any]:
    budget = campaign.redemption.budget
    if budget is None:
        return {}
    count = {COUNT: budget.redemptions} if budget.redemptions is not None else {}
    return {**count, **{currency: written(Decimal(most), currency) for currency, most in budget.amount.items()}}


def _replayed(past: Past, replay: Replay) -> Iterator[Compared]:
    for judging in past.judgings():
        if isinstance(judging, int):
            replay.revoke(judging)
        else:
            yield from replay.judge(judging)
    yield from replay.rest()
