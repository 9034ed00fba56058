"""Fallback: `delivery.failed` fires once per code, rule and channel, when no address there can succeed any more."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from promocast.campaign import journey
from promocast.campaign.journey import Cause, CodeFacts
from promocast.flows import rules
from promocast.flows.rules import Fired, Planned
from promocast.flows.versions import Versions
from promocast.ledger import Connection, codes, deliveries, events
from promocast.ledger.codes import Code
from promocast.ledger.deliveries import Ended
from promocast.ledger.events import Event
from promocast.model import PLAYER_CHANNELS, Instant

# What ends a delivery without its message having arrived, or being known to have.
FAILED: Final = frozenset({"rejected", "exhausted", "unknown"})
# Why a message was skipped that was wanted, and whose channel had no time for it while its code lived.
QUIET: Final = "quiet_hours"
CAPPED: Final = "capped"


def is_failure(state: str, reason: str | None) -> bool:
    """Whether a delivery has ended so that another channel is to be tried. What is skipped otherwise is not wanted, on
    any channel."""
    return state in FAILED or (state == "skipped" and reason in (QUIET, CAPPED))


def fire_failed(conn: Connection, ended: Collection[Ended], versions: Versions, now: Instant) -> Planned:
    """Record `delivery.failed` where the last hope has gone, and plan the rules that wait for it.

    Args:
        ended: deliveries that have just ended badly; their siblings, to other addresses, are looked up.
    """
    # Two addresses may fail in two transactions at once: whoever holds the code second sees what the first has done.
    codes.hold(conn, sorted({one.code_id for one in ended}))
    hopeless = {
        (one.code_id, one.rule, one.channel): one
        for one in ended
        if one.channel in PLAYER_CHANNELS and _is_hopeless(conn, one)
    }
    known = codes.by_ids(conn, sorted({one.code_id for one in hopeless.values()}))
    fired = [_failed(conn, known[one.code_id], one, versions, now) for one in hopeless.values()]
    return rules.fire(conn, [one for one in fired if one is not None], now)


def _is_hopeless(conn: Connection, one: Ended) -> bool:
    states = deliveries.siblings(conn, one)
    return all(is_failure(state, reason) and not open_ for state, reason, open_ in states)


def _failed(conn: Connection, code: Code, one: Ended, versions: Versions, now: Instant) -> Fired | None:
    """The event, unless it was recorded before or the code is of no use to the player any more."""
    facts = CodeFacts(code.shown_at, code.revoked_at, code.expires_at, code.redeemed, code.max_redemptions)
    if journey.dead(facts, now, 0) or code.redeemed:
        return None
    data = {"channel": one.channel, "rule": one.rule, "reason": one.reason}
    once = f"delivery.failed:{code.id}:{one.rule}:{one.channel}"
    event_id = events.append_once(conn, Event("delivery.failed", now, code.campaign_id, code.id, data), once)
    if event_id is None:
        return None
    return Fired(
        campaign=versions.get(conn, code.campaign_id, code.campaign_version).campaign,
        code_id=code.id,
        recipient=code.recipient,
        cause=Cause("delivery.failed", of=one.channel),
        event_id=event_id,
        event_key=f"{one.rule}:{one.channel}",
    )
