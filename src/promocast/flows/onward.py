"""Onward: a message was sent, or has arrived, and the journey's rules that wait for that are planned.

They fire once for a code, a rule, a channel and what had set that rule off, whatever number of addresses there are.
"""

from __future__ import annotations

from collections.abc import Mapping

from promocast.campaign import journey
from promocast.campaign.journey import Cause
from promocast.campaign.rule import Trigger
from promocast.flows import rules
from promocast.flows.rules import Fired, Planned
from promocast.flows.versions import Versions
from promocast.ledger import Connection, codes, deliveries
from promocast.model import PLAYER_CHANNELS, Instant


def fire(conn: Connection, event: Trigger, told: Mapping[int, int], versions: Versions, now: Instant) -> Planned:
    """Plan what follows from `delivery.sent` or `delivery.delivered`.

    Args:
        told: {delivery: the row id of its event}.
    """
    found = [one for one in deliveries.ended(conn, sorted(told)) if one.channel in PLAYER_CHANNELS]
    known = codes.by_ids(conn, sorted({one.code_id for one in found}))
    fired = []
    for one in found:
        code = known[one.code_id]
        campaign = versions.get(conn, code.campaign_id, code.campaign_version).campaign
        key = journey.key_of(campaign.journey[one.rule], one.rule, one.channel, one.event_key)
        cause = Cause(event, of=one.channel)
        fired.append(Fired(campaign, code.id, code.recipient, cause, told[one.id], event_key=key))
    return rules.fire(conn, fired, now)
