"""Apply: put a campaign's document in force. What was accepted before keeps the version of its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from promocast.campaign.check import Finding
from promocast.campaign.diff import Change, changes
from promocast.campaign.document import Campaign
from promocast.errors import CampaignError, Fault
from promocast.jobs import digest_of
from promocast.ledger import Connection, Ledger, campaigns, events
from promocast.ledger.events import Event
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class Applied:
    """`changed` is empty where the same document was in force already, and where it is the first."""

    version: int
    is_new: bool
    changed: list[Change]


def apply(ledger: Ledger, campaign: Campaign, findings: Sequence[Finding], now: Instant, *, by: str) -> Applied:
    """Put it in force.

    Raises:
        CampaignError: the check found errors; the version in force stays.
    """
    errors = [Fault(finding.pointer, finding.reason) for finding in findings if finding.level == "error"]
    if errors:
        raise CampaignError(campaign.id, errors)
    text = stored(campaign)
    with ledger.begin() as conn:
        before = in_force(conn, campaign.id)
        version, is_new = campaigns.apply(conn, campaign.id, text, digest_of(orjson.loads(text)), now)
        changed = changes(before, orjson.loads(text)) if is_new and before is not None else []
        if is_new:
            data = {"version": version, "by": by, "changed": [change.pointer for change in changed]}
            events.append(conn, Event("campaign.applied", now, campaign.id, data=data, by=by))
    return Applied(version, is_new, changed)


def stored(campaign: Campaign) -> str:
    """The document as the ledger keeps it: JSON, template files inline."""
    return orjson.dumps(campaign.model_dump(mode="json")).decode()


def in_force(conn: Connection, campaign_id: str) -> dict[str, Any] | None:
    """The document in force, as JSON; None where the campaign is new."""
    current = campaigns.in_force(conn, campaign_id)
    return None if current is None else dict(orjson.loads(campaigns.document(conn, campaign_id, current.version)))
