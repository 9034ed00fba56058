"""Limits: what campaigns in force allow, and what of their budgets is spent, while deposits are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from promocast.campaign.document import Campaign
from promocast.campaign.verdict import Left
from promocast.errors import LedgerError
from promocast.flows.versions import Versions
from promocast.ledger import Connection, budgets, campaigns
from promocast.ledger.budgets import COUNT, Spent


@dataclass(slots=True)
class Limits:
    """`in_force` is {campaign: its version in force}, `spent` what is spent of budgets; held, and kept at the end."""

    in_force: dict[str, Campaign]
    spent: Spent
    changed: set[tuple[str, str]] = field(default_factory=set)

    @property
    def per_player(self) -> bool:
        """Whether any of the campaigns limits how often a player redeems it."""
        return any(campaign.redemption.per_player is not None for campaign in self.in_force.values())

    def left(self, campaign_id: str) -> Left | None:
        """What is left of the campaign's budget; None where it has none."""
        budget = self.in_force[campaign_id].redemption.budget
        if budget is None:
            return None
        rewards = {currency: self.spent[campaign_id, currency] for currency in budget.amount}
        return Left.of(budget, self.spent[campaign_id, COUNT] if budget.redemptions else 0, rewards)

    def spend(self, campaign_id: str, currency: str, reward_units: int) -> None:
        self._add(campaign_id, currency, reward_units, 1)

    def give_back(self, campaign_id: str, currency: str, reward_units: int) -> None:
        self._add(campaign_id, currency, -reward_units, -1)

    def keep(self, conn: Connection) -> None:
        kept = budgets.keep(conn, {key: self.spent[key] for key in sorted(self.changed)})
        if kept != len(self.changed):
            raise LedgerError(f"{len(self.changed)} budgets were held, and {kept} of them are there.")

    def _add(self, campaign_id: str, currency: str, reward_units: int, redemptions: int) -> None:
        for key, more in (((campaign_id, currency), reward_units), ((campaign_id, COUNT), redemptions)):
            if key in self.spent and more:
                self.spent[key] += more
                self.changed.add(key)


def hold(conn: Connection, campaign_ids: Sequence[str], versions: Versions, *, lock: bool = True) -> Limits:
    """The limits of the campaigns; with `lock`, in force until the transaction ends."""
    in_force = {
        campaign_id: versions.get(conn, campaign_id, version).campaign
        for campaign_id, version in campaigns.versions(conn, campaign_ids, lock=lock).items()
    }
    limited = [campaign_id for campaign_id, campaign in in_force.items() if campaign.redemption.budget is not None]
    return Limits(in_force, budgets.spent(conn, sorted(limited), lock=lock) if limited else {})
