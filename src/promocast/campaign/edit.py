"""An edit: what a campaign document changes in another, of what deposits are judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from promocast.campaign.document import Campaign
from promocast.campaign.terms import CodeTerms, RedemptionTerms

# What judging reads, by section. Codes are as they were issued: label tags, templates and journeys play no part.
JUDGED_BY: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"starts_at", "ends_at", "reward"}),
    "code": frozenset(CodeTerms.model_fields) - {"label_tag"},
    "redemption": frozenset(RedemptionTerms.model_fields),
}


@dataclass(frozen=True, slots=True)
class Edit:
    """`changes` is {section: {field: its new value}}; what is not named stays as every version has it."""

    campaign_id: str
    changes: Mapping[str, Mapping[str, Any]]

    @classmethod
    def between(cls, old: Campaign, new: Campaign) -> Edit:
        changes = {}
        for section, fields in JUDGED_BY.items():
            was, will = (_section(campaign, section) for campaign in (old, new))
            found = {name: getattr(will, name) for name in sorted(fields) if getattr(was, name) != getattr(will, name)}
            if found:
                changes[section] = found
        return cls(new.id, changes)

    @property
    def names(self) -> list[str]:
        """The fields that it changes, as a document spells them."""
        return sorted(f"{section}.{name}".lstrip(".") for section, fields in self.changes.items() for name in fields)

    def of(self, version: Campaign) -> Campaign:
        """The version with the edit; itself where there is nothing to change."""
        update: dict[str, Any] = dict(self.changes.get("", {}))
        for section in self.changes.keys() - {""}:
            update[section] = _section(version, section).model_copy(update=dict(self.changes[section]))
        return version.model_copy(update=update) if update else version


def _section(campaign: Campaign, name: str) -> Any:
    return getattr(campaign, name) if name else campaign
