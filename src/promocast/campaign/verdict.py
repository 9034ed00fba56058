"""What judging is about: the code that may be redeemed, the rules that were asked, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from promocast.campaign.document import Campaign
from promocast.campaign.terms import Budget
from promocast.model import Instant
from promocast.money import units

Result = Literal["accepted", "refused", "no_code", "pending", "waiting", "rolled_back"]


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a campaign's budget: redemptions (None: no limit of them), and units of reward by currency, where
    currencies are limited at all."""

    redemptions: int | None = None
    units: Mapping[str, int] | None = None

    @classmethod
    def of(cls, budget: Budget, redemptions: int, rewards: Mapping[str, int]) -> Left:
        """What is left after so many redemptions, and so many units of reward by currency. A lowered limit may be
        passed already."""
        count = None if budget.redemptions is None else max(0, budget.redemptions - redemptions)
        by_currency = {
            currency: max(0, units(Decimal(most), currency) - rewards[currency])
            for currency, most in budget.amount.items()
        }
        return cls(count, by_currency or None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A code as committed now, and what else judging it needs.

    `player_redemptions` counts the depositing player's active redemptions of the campaign. `campaign` is what the code
    was issued with; `per_player` and `left` are of the version in force: limits act when they are committed.
    """

    code_id: int
    code: str
    campaign: Campaign
    player_id: str | None
    issued_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None
    redeemed: int
    max_redemptions: int | None
    player_redemptions: int
    per_player: int | None = None
    left: Left | None = None

    @property
    def used_up(self) -> bool:
        return self.max_redemptions is not None and self.redeemed >= self.max_redemptions


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a trace: the rule, named by the reason it gives, whether it held, and the facts it compared."""

    rule: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a deposit. `code_id` is null where the code is unknown or another player's."""

    result: Result
    code_id: int | None = None
    code: str | None = None
    campaign: str | None = None
    reason: str | None = None
    detail: str | None = None
    reward: dict[str, Any] | None = None
    near_miss: dict[str, Any] | None = None
    trace: tuple[Check, ...] = ()

    def as_json(self, deposit_id: str | None) -> dict[str, Any]:
        """The verdict object of contract section 4; of a deposit that was not made, its id is null."""
        return {
            "deposit_id": deposit_id,
            "result": self.result,
            "code": self.code,
            "campaign": self.campaign,
            "reason": self.reason,
            "detail": self.detail,
            "reward": self.reward,
            "near_miss": self.near_miss,
            # Written out: `dataclasses.asdict` takes longer than all of the judging.
            "trace": [{"rule": check.rule, "passed": check.passed, "detail": check.detail} for check in self.trace],
        }


def listed(values: Any) -> str:
    """Values for a trace or a text, sorted."""
    return ", ".join(str(value) for value in (sorted(values) if values is not None else ())) or "any"


def allowed_currencies(code: Candidate) -> frozenset[str] | None:
    """The currencies in which the code can be redeemed; None where the terms name none (contract section 4.8)."""
    reward = code.campaign.reward
    named = [
        frozenset(code.campaign.redemption.min_deposit),
        frozenset(reward.fixed if reward else ()),
        frozenset(code.left.units or () if code.left else ()),
    ]
    limits = [currencies for currencies in named if currencies]
    return frozenset.intersection(*limits) if limits else None
