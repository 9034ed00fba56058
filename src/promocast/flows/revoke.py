"""Revoke: a code is out of use from the moment of the commit. What was not sent stays unsent: claims look again."""

from __future__ import annotations

from promocast.campaign.journey import Cause
from promocast.campaign.label_tags import fold
from promocast.errors import NotFound
from promocast.flows import Ring, rules
from promocast.flows.rules import Fired, Planned
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, codes, events
from promocast.ledger.codes import Code
from promocast.ledger.events import Event
from promocast.model import Instant


def revoke(
    ledger: Ledger, text: str, now: Instant, *, versions: Versions, ring: Ring, by: str, reason: str | None = None
) -> Code:
    """Take a code out of use, and plan the rules that wait for that; the code as it is since. Repeating it changes
    nothing.

    Raises:
        NotFound: no such code is recorded.
    """
    folded = fold(text)
    planned: Planned = []
    with ledger.begin() as conn:
        code = codes.by_folded(conn, [folded], lock=True).get(folded)
        if code is None:
            raise NotFound("unknown_code", "No such code is recorded.")
        if codes.revoke(conn, code.id, now):
            data = {"by": by, "reason": reason}
            event_id = events.append(conn, Event("code.revoked", now, code.campaign_id, code.id, data, by=by))
            campaign = versions.get(conn, code.campaign_id, code.campaign_version).campaign
            planned = rules.fire(conn, [Fired(campaign, code.id, code.recipient, Cause("code.revoked"), event_id)], now)
        revoked = codes.by_ids(conn, [code.id])[code.id]
    rules.ring_due(ring, planned, now)
    return revoked
