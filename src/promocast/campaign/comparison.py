"""Comparison: who gains and who loses by an edit, and what the rewards cost before and after, over many deposits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from itertools import groupby, islice
from typing import Any, Final, Literal

from promocast.campaign.judging import Compared, Outcome
from promocast.model import rfc3339
from promocast.money import WIDE, digits, written

Change = Literal["gained", "lost", "reward", "code", "refusal"]

# What rewards are counted in: a currency, or this.
FREE_SPINS: Final = "free_spins"


def change(compared: Compared) -> Change | None:
    """What the edit changes for a deposit: it is accepted now (`gained`), or no more (`lost`), with another reward, or
    by another code; or it is refused for another reason. None: nothing."""
    before, after = compared.before, compared.after
    if before == after:
        return None
    accepted = (before.result == "accepted", after.result == "accepted")
    if accepted == (True, True):
        return "reward" if before.reward != after.reward else "code"
    return "gained" if accepted[1] else "lost" if accepted[0] else "refusal"


@dataclass(slots=True)
class Side:
    """What is counted, before the edit or after it."""

    accepted: int = 0
    rewards: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        if outcome.result == "accepted":
            self.accepted += 1
            unit, given = reward_of(outcome)
            if unit:
                self.rewards[unit] += given
        elif outcome.result in ("refused", "no_code"):
            self.reasons[outcome.reason or outcome.result] += 1


@dataclass(slots=True)
class Sides:
    before: Side = field(default_factory=Side)
    after: Side = field(default_factory=Side)


@dataclass(slots=True)
class Comparison:
    """Counts over the deposits of a period. `others` are campaigns whose codes are redeemed differently because of the
    edit; `players` are those for whom a deposit changes, by what their rewards are counted in."""

    campaign_id: str
    replayed: int = 0
    concerned: int = 0
    own: Sides = field(default_factory=Sides)
    others: dict[str, Sides] = field(default_factory=dict)
    changes: Counter[Change] = field(default_factory=Counter)
    players: dict[tuple[str, str], Sides] = field(default_factory=dict)

    def add(self, compared: Compared) -> None:
        self.replayed += 1
        changed = change(compared)
        if changed is not None:
            self.changes[changed] += 1
            self._add_player(compared)
        if compared.concerns(self.campaign_id):
            self.concerned += 1
        for side, outcome in (("before", compared.before), ("after", compared.after)):
            if outcome.result == "accepted" and outcome.campaign != self.campaign_id:
                if changed is not None:
                    getattr(self.others.setdefault(outcome.campaign or "", Sides()), side).add(outcome)
            elif compared.concerns(self.campaign_id):
                getattr(self.own, side).add(outcome)

    def _add_player(self, compared: Compared) -> None:
        for side, outcome in (("before", compared.before), ("after", compared.after)):
            if outcome.result == "accepted":
                key = (compared.deposit.player_id, reward_of(outcome)[0])
                getattr(self.players.setdefault(key, Sides()), side).add(outcome)

    def ranked(self, *, gaining: bool) -> list[tuple[str, str, Sides]]:
        """[(player, unit, before and after)] of those who gain, or who lose, by unit, the most first. Where the rewards
        are the same, the accepted deposits decide."""
        found = [(player_id, unit, sides) for (player_id, unit), sides in self.players.items()]
        sign = 1 if gaining else -1
        found = [row for row in found if _rank(row, sign) > (0, 0)]
        return sorted(found, key=lambda row: (row[1], *(-by for by in _rank(row, sign)), row[0]))

    def as_json(self, top: int) -> dict[str, Any]:
        """All of it, with up to `top` players of each unit who gain most, and who lose most."""
        ranked = {name: self.ranked(gaining=gaining) for name, gaining in (("gain", True), ("lose", False))}
        return {
            "deposits": {"replayed": self.replayed, "concerned": self.concerned},
            "changes": {name: self.changes[name] for name in ("gained", "lost", "reward", "code", "refusal")},
            **_sides_json(self.own),
            "reasons": {
                name: {"before": self.own.before.reasons[name], "after": self.own.after.reasons[name]}
                for name in sorted(self.own.before.reasons.keys() | self.own.after.reasons.keys())
            },
            "other_campaigns": {name: _sides_json(sides) for name, sides in sorted(self.others.items())},
            "players": {
                name: {"number": len({row[0] for row in rows}), "most": [_player_json(row) for row in _most(rows, top)]}
                for name, rows in ranked.items()
            },
        }


def _sides_json(sides: Sides) -> dict[str, Any]:
    before, after = sides.before, sides.after
    return {
        "accepted": {"before": before.accepted, "after": after.accepted},
        "rewards": {
            unit: {
                "before": amount(before.rewards[unit], unit),
                "after": amount(after.rewards[unit], unit),
                "difference": amount(after.rewards[unit] - before.rewards[unit], unit),
            }
            for unit in sorted(before.rewards.keys() | after.rewards.keys())
        },
    }


def _player_json(row: tuple[str, str, Sides]) -> dict[str, Any]:
    player_id, unit, sides = row
    return {
        "player_id": player_id,
        "unit": unit or None,
        "accepted": {"before": sides.before.accepted, "after": sides.after.accepted},
        "reward": {
            "before": amount(sides.before.rewards[unit], unit),
            "after": amount(sides.after.rewards[unit], unit),
        },
    }


def _most(rows: list[tuple[str, str, Sides]], top: int) -> Iterator[tuple[str, str, Sides]]:
    for _, of_unit in groupby(rows, key=lambda row: row[1]):
        yield from islice(of_unit, top)


def _rank(row: tuple[str, str, Sides], sign: int) -> tuple[int, int]:
    _, unit, sides = row
    more = sides.after.rewards[unit] - sides.before.rewards[unit]
    return sign * more, sign * (sides.after.accepted - sides.before.accepted)


def reward_of(outcome: Outcome) -> tuple[str, int]:
    """(currency, smallest units) of a reward in money, (FREE_SPINS, count), or ("", 0)."""
    reward = outcome.reward
    if not reward:
        return "", 0
    if "count" in reward:
        return FREE_SPINS, int(reward["count"])
    return str(reward["currency"]), int(Decimal(reward["amount"]).scaleb(digits(reward["currency"]), WIDE))


def as_line(compared: Compared) -> dict[str, Any]:
    """A deposit for which the edit changes something, for a line of JSON."""
    deposit = compared.deposit
    return {
        "deposit_id": deposit.deposit_id,
        "player_id": deposit.player_id,
        "judged_at": rfc3339(compared.at),
        "amount": None if deposit.amount is None else written(deposit.amount, deposit.currency or ""),
        "currency": deposit.currency,
        "change": change(compared),
        "before": asdict(compared.before),
        "after": asdict(compared.after),
    }


def amount(units: int, unit: str) -> str | int:
    """Units of a reward as they are written: "12.50" of a currency, a number of free spins."""
    return units if unit in ("", FREE_SPINS) else written(Decimal(units).scaleb(-digits(unit), WIDE), unit)
