"""The lint of a campaign: what a document may say and still not mean."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from promocast.campaign import label_tags, reach, templates
from promocast.campaign.document import TEMPLATE_KEYS, Campaign


@dataclass(frozen=True, slots=True)
class Finding:
    """`error` keeps a campaign from being applied; `warning` does not."""

    level: Literal["error", "warning"]
    pointer: str
    reason: str


def check(campaign: Campaign, configured: Collection[str], endpoints: Collection[str]) -> list[Finding]:
    """All findings, in the document's order.

    Args:
        configured: the player channels that this installation can send on.
        endpoints: the names under [endpoints] in promocast.toml.
    """
    return [*_errors(campaign), *_warnings(campaign, configured, endpoints)]


def _errors(campaign: Campaign) -> Iterator[Finding]:
    for name, tag in campaign.label_tags.items():
        for reason in label_tags.faults(tag):
            yield Finding("error", f"/label_tags/{name}", reason)
    for channel, template in campaign.templates.items():
        for key in template.keys() - set(TEMPLATE_KEYS[channel]):
            yield Finding("error", f"/templates/{channel}/{key}", f"a {channel} template has no {key!r}")
    for pointer, reason in templates.faults(campaign):
        yield Finding("error", pointer, reason)
    for i, rule in enumerate(campaign.journey):
        for channel in rule.send:
            if channel not in campaign.templates and "popup" not in campaign.templates:
                yield Finding("error", f"/journey/{i}/send", f"nothing to say on {channel}: no [templates.{channel}]")
    for pointer, reason in reach.errors(campaign):
        yield Finding("error", pointer, reason)
    for currency, least in campaign.redemption.min_deposit.items():
        most = campaign.redemption.max_deposit.get(currency)
        if most is not None and Decimal(most) < Decimal(least):
            yield Finding("error", f"/redemption/max_deposit/{currency}", "below min_deposit: no deposit could pass")


def _warnings(campaign: Campaign, configured: Collection[str], endpoints: Collection[str]) -> Iterator[Finding]:
    for i, rule in enumerate(campaign.journey):
        for channel in rule.send:
            if channel not in configured:
                yield Finding("warning", f"/journey/{i}/send", f"{channel} is not configured here: it will be skipped")
        if rule.call and rule.call not in endpoints:
            yield Finding(
                "warning", f"/journey/{i}/call", f"no [endpoints.{rule.call}] in promocast.toml: it will be skipped"
            )
        if rule.when_shown and not any(
            other.on == "client_action" and other.action == rule.when_shown for other in campaign.journey
        ):
            yield Finding(
                "warning", f"/journey/{i}/when_shown", f"no rule waits for the client action {rule.when_shown!r}"
            )
    for pointer, reason in reach.warnings(campaign):
        yield Finding("warning", pointer, reason)
