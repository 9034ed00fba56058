"""The terms of a campaign: what a code is worth, for how long, to whom, and what may be spent."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from promocast.model import DAY, parse_duration
from promocast.money import WIDEST, parse_amount

_PERCENT: Final = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)

LONGEST: Final = 3_653 * DAY  # ten years: what is longer was mistyped


def _duration(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError('is no duration; write a number and a unit, as in "7d"')  # noqa: TRY004 - pydantic wants this one
    return parse_duration(value) if isinstance(value, str) else value


def _money(value: str) -> str:
    parse_amount(value, WIDEST)  # its own currency is known one level up
    return value


def _percent(value: str) -> str:
    if not _PERCENT.fullmatch(value) or Decimal(value) == 0:
        raise ValueError(f'{value!r} is no percentage above zero; write a decimal as text, as in "100" or "12.5"')
    return value


def _amounts(values: dict[str, str]) -> dict[str, str]:
    for currency, amount in values.items():
        try:
            parse_amount(amount, currency)
        except ValueError as exc:
            raise ValueError(f"{currency}: {exc}") from None
    return values


Duration = Annotated[int, BeforeValidator(_duration), Field(ge=0, le=LONGEST)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Amounts = Annotated[dict[Currency, Annotated[str, AfterValidator(_money)]], AfterValidator(_amounts)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CodeTerms(Part):
    label_tag: str
    valid_for: Duration | None = None
    valid_from: Literal["issued", "sent", "shown"] = "issued"
    max_redemptions: int | None = Field(1, ge=1)
    holder_only: bool = True


class Budget(Part):
    """What a campaign may spend: a number of redemptions, and rewards by currency. Spent by redemption, given back by
    rollback; the version in force counts, whatever a code was issued with."""

    redemptions: int | None = Field(None, ge=1)
    amount: Amounts = {}

    @model_validator(mode="after")
    def _limits_something(self) -> Budget:
        if self.redemptions is None and not self.amount:
            raise ValueError("a budget names `redemptions`, `amount`, or both")
        return self


class Reward(Part):
    """What a redemption promises; one of `percent`, `fixed` and `free_spins`. `max` caps a percentage."""

    percent: Annotated[str, AfterValidator(_percent)] | None = None
    fixed: Amounts = {}
    free_spins: int | None = Field(None, ge=1)
    max: Amounts = {}

    @model_validator(mode="after")
    def _is_one_thing(self) -> Reward:
        if [self.percent is not None, bool(self.fixed), self.free_spins is not None].count(True) != 1:
            raise ValueError("a reward is one of `percent`, `fixed` and `free_spins`")
        if self.max and self.percent is None:
            raise ValueError("`max` caps a `percent`")
        return self

    @property
    def in_money(self) -> bool:
        return self.free_spins is None


class RedemptionTerms(Part):
    match: tuple[Literal["code", "player"], ...] = ("code", "player")
    min_deposit: Amounts = {}
    max_deposit: Amounts = {}
    payment_methods: tuple[str, ...] = ()
    deposit_index: tuple[int, ...] = ()
    per_player: int | None = Field(None, ge=1)
    budget: Budget | None = None
