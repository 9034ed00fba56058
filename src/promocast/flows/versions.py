"""Campaign versions, parsed and compiled once per process. They never change, so nothing here grows stale."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import orjson

from promocast.campaign import document
from promocast.campaign.document import Campaign
from promocast.campaign.templates import Templates
from promocast.ledger import Connection, campaigns


@dataclass(frozen=True, slots=True)
class Version:
    campaign: Campaign
    number: int
    templates: Templates


class Versions:
    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Version] = {}
        self._lock = threading.Lock()

    def get(self, conn: Connection, campaign_id: str, number: int) -> Version:
        """The version, from memory or from the ledger."""
        known = self._known.get((campaign_id, number))
        if known is None:
            with self._lock:
                values = orjson.loads(campaigns.document(conn, campaign_id, number))
                campaign = document.from_json(values, f"{campaign_id} version {number}")
                known = Version(campaign, number, Templates(campaign))
                self._known[campaign_id, number] = known
        return known
