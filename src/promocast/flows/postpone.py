"""Postpone: what is claimed and must wait, for the player's morning or until they were sent less. Part of the gate.

Waiting costs no attempt. What could only be sent when its code is of no use any more is skipped at once, so that the
journey can fall back on another channel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from promocast.campaign import caps, quiet
from promocast.campaign.caps import Cap, Contact
from promocast.flows import outcomes
from promocast.flows.compose import Dossier
from promocast.flows.desk import Desk
from promocast.flows.fallback import CAPPED, QUIET
from promocast.ledger import Connection, contacts
from promocast.ledger.contacts import Contacted
from promocast.ledger.deliveries import Closing
from promocast.model import Instant

# A message, whatever number of addresses it goes to: a player with three telephones was sent one push.
_Message = tuple[int, int, str, str]


def until_morning(dossiers: Iterable[Dossier], now: Instant) -> list[Closing]:
    """Those whose players are not to be disturbed now."""
    closings = []
    for dossier in dossiers:
        if dossier.hours is not None:
            key = str(dossier.delivery.id)
            until = quiet.release(dossier.hours, dossier.zone, now, key, dossier.last_use)
            if until != now:
                closings.append(_put_off(dossier, QUIET, until))
    return closings


def over_the_cap(
    conn: Connection, desk: Desk, dossiers: Iterable[Dossier], claimed: Collection[int], now: Instant
) -> list[Closing]:
    """Those whose players were sent enough; the first ones go. The caller holds the players against other senders.

    Args:
        claimed: all that this transaction claimed, of which most will go, but not what is held up elsewhere.
    """
    limits = desk.caps
    asking = sorted((d for d in dossiers if _is_capped(d, limits)), key=lambda d: d.delivery.id)
    if not asking:
        return []
    sent, known = _contacts(conn, desk, asking, claimed, now)
    closings = []
    for dossier in asking:
        player_id, message = dossier.code.player_id or "", _message(dossier)
        if message in known:
            continue  # the same to another address, or once more
        until = caps.frees_at(limits, sent[player_id], dossier.delivery.channel, now)
        if until is None:
            sent[player_id].append(Contact(now, dossier.delivery.channel, open=True))
            known.add(message)
        else:
            closings.append(_put_off(dossier, CAPPED, until))
    return closings


def _is_capped(dossier: Dossier, limits: Sequence[Cap]) -> bool:
    channel = dossier.delivery.channel
    return dossier.rule.cap and bool(dossier.code.player_id) and any(channel in cap.channels for cap in limits)


def _contacts(
    conn: Connection, desk: Desk, asking: Sequence[Dossier], claimed: Collection[int], now: Instant
) -> tuple[dict[str, list[Contact]], set[_Message]]:
    """({player: what else they were sent, of each message the last}, the messages that these are)."""
    channels = sorted(frozenset().union(*(cap.channels for cap in desk.caps)))
    since = now - max(cap.per for cap in desk.caps)

    @lru_cache
    def counts(campaign_id: str, version: int, rule: int) -> bool:
        return desk.versions.get(conn, campaign_id, version).campaign.journey[rule].cap

    last: dict[_Message, Contacted] = {}
    for one in contacts.of_players(conn, sorted({d.code.player_id or "" for d in asking}), channels, since):
        if one.id not in claimed and counts(one.campaign_id, one.campaign_version, one.rule):
            message = (one.code_id, one.rule, one.event_key, one.channel)
            if message not in last or one.at > last[message].at:
                last[message] = one
    found: dict[str, list[Contact]] = {d.code.player_id or "": [] for d in asking}
    for one in last.values():
        found[one.player_id].append(Contact(one.at, one.channel, open=one.state == "sending"))
    return found, set(last)


def _message(dossier: Dossier) -> _Message:
    delivery = dossier.delivery
    return delivery.code_id, delivery.rule, delivery.event_key, delivery.channel


def _put_off(dossier: Dossier, why: str, until: Instant | None) -> Closing:
    if until is None or (dossier.last_use is not None and until > dossier.last_use):
        return outcomes.closed_unsent(dossier.delivery, "skipped", why)
    return outcomes.given_back(dossier.delivery, why, until, dossier.ends_at)
