"""Judgings: what the ledger holds of how a deposit was judged, as far as it can be judged again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from promocast.campaign.deposit import Deposit
from promocast.campaign.verdict import Result, Verdict
from promocast.model import Instant
from promocast.money import units

# The currency under which redemptions are counted, as budgets do.
COUNT: Final = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a deposit, as far as outcomes are compared; in the words of a verdict."""

    result: Result
    code: str | None = None
    campaign: str | None = None
    reason: str | None = None
    reward: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> Outcome:
        return cls(verdict.result, verdict.code, verdict.campaign, verdict.reason, verdict.reward)

    def rolled_back(self) -> Outcome:
        return Outcome("rolled_back", self.code, self.campaign)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a redemption takes: of its code, of its player's limit and of its campaign's budget (`units` of reward)."""

    code_id: int
    campaign_id: str
    player_id: str
    currency: str
    units: int


@dataclass(frozen=True, slots=True)
class Claim:
    """That a player reported or redeemed a code that nobody gave them; the first one has it from then on."""

    event_id: int
    at: Instant
    player_id: str
    by_redemption: bool


@dataclass(frozen=True, slots=True)
class KnownCode:
    """A code with the moments of what became of it. `holder` is whoever it was issued to; a code that somebody else
    made has none, but `claims`, oldest first. `redeemed` counts its active redemptions when the period began."""

    id: int
    code: str
    campaign_id: str
    version: int
    holder: str | None
    issued_at: Instant
    sent_at: Instant | None = None
    shown_at: Instant | None = None
    revoked_at: Instant | None = None
    redeemed: int = 0
    claims: Sequence[Claim] = ()


@dataclass(frozen=True, slots=True)
class Judging:
    """A moment at which a deposit was judged, or its redemption given back, and what was known then.

    Args:
        event_id: of the event that it left; None: it left none.
        deposit: as it was believed.
        outcome: what was recorded.
        taken, given_back: what its redemption took at this moment, or gave back.
        quoted: the code that it quoted, if it was recorded by then.
        held: the codes of its player; asked only where nothing is quoted.
        active: {campaign: the player's active redemptions when the period began}.
        may_change: whether the same deposit may come again.
    """

    at: Instant
    event_id: int | None
    deposit: Deposit
    outcome: Outcome
    taken: Taken | None = None
    given_back: Taken | None = None
    quoted: KnownCode | None = None
    held: Sequence[KnownCode] = ()
    active: Mapping[str, int] = field(default_factory=dict)
    excluded: bool = False
    guessed_enough: bool = False
    may_change: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """A deposit of the period, and what became of it: `before` as recorded, `after` under the edit."""

    deposit: Deposit
    at: Instant
    before: Outcome
    after: Outcome
    quoted_campaign: str | None

    def concerns(self, campaign_id: str) -> bool:
        return campaign_id in (self.before.campaign, self.after.campaign, self.quoted_campaign)


def reward_units(reward: Mapping[str, Any] | None, currency: str) -> int:
    """What a reward takes of a budget, in the currency's smallest unit; nothing where it is not money."""
    return units(Decimal(reward["amount"]), currency) if reward and "amount" in reward else 0
