"""Aftermath: what follows once it is known what became of messages, whoever brings the news: the answer to a send, or a
provider's report days later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from promocast import recipients
from promocast.campaign import journey
from promocast.flows import onward, rules
from promocast.flows.rules import Planned
from promocast.flows.versions import Versions
from promocast.ledger import Connection, codes, events, moves, players, suppressions
from promocast.ledger.codes import Code
from promocast.ledger.events import Event
from promocast.model import DAY, PLAYER_CHANNELS, Address, Instant

# How long a dead address is left alone: numbers and mailboxes are given to somebody else in time.
SUPPRESSED_FOR: Final = 180 * DAY
# The channels on which an address can get another name.
_MOVING: Final = frozenset({"telegram"})


class Sending(Protocol):
    """A delivery, as far as it concerns its code and its address."""

    @property
    def id(self) -> int: ...
    @property
    def code_id(self) -> int: ...
    @property
    def channel(self) -> str: ...
    @property
    def slot(self) -> int: ...


def sent(conn: Connection, versions: Versions, deliveries: Sequence[Sending], now: Instant) -> Planned:
    """Record `delivery.sent`, and plan the rules that wait for it; where a code's life begins when it is first sent, it
    begins now."""
    if not deliveries:
        return []
    told: dict[int, int] = {}
    for each_of_its_own_code in _rounds(deliveries):
        event_id = events.append(conn, Event("delivery.sent", now, subjects=each_of_its_own_code))
        told |= dict.fromkeys(each_of_its_own_code, event_id)
    awaited: set[int] = set()
    code_ids = sorted({one.code_id for one in deliveries if one.channel in PLAYER_CHANNELS})
    # Codes that live from another moment are not written on a send.
    for campaign_id, version, ids in codes.by_version(conn, code_ids):
        campaign = versions.get(conn, campaign_id, version).campaign
        if campaign.code.valid_from == "sent":
            codes.set_expiry(conn, codes.mark_sent(conn, ids, now), journey.expiry(campaign, now))
        if rules.waited_for(campaign, "delivery.sent"):
            awaited.update(ids)
    onward_ids = {one.id: told[one.id] for one in deliveries if one.code_id in awaited}
    return onward.fire(conn, "delivery.sent", onward_ids, versions, now) if onward_ids else []


def _rounds(deliveries: Sequence[Sending]) -> Iterator[list[int]]:
    """The deliveries' ids, parted so that no code is in a part twice: an entry gives all of its events one number."""
    left = sorted(deliveries, key=lambda one: one.id)
    while left:
        firsts = {one.code_id: one.id for one in reversed(left)}
        part = set(firsts.values())
        yield sorted(part)
        left = [one for one in left if one.id not in part]


def suppress(conn: Connection, dead: Iterable[tuple[Sending, str, bool]], now: Instant) -> None:
    """An address at which nothing arrives is not tried by the next campaign either; one whose owner opted out is not
    until they say otherwise.

    Args:
        dead: (delivery, why, whether the owner opted out).
    """
    dead = list(dead)
    known = holders(conn, [one for one, _, _ in dead])
    for one, why, opted_out in dead:
        address = address_of(one, known[one.code_id])
        if address is not None:
            until = None if opted_out else now + SUPPRESSED_FOR
            suppressions.suppress(conn, one.channel, suppressions.digest(address), why, now, until)


def opt_out(conn: Connection, player_id: str, channel: str, via: str, now: Instant) -> bool:
    """The player wants nothing more on the channel; CRMs hear of it. False where that was known."""
    if not players.opt_out(conn, player_id, channel, now):
        return False
    events.append(conn, Event("player.opted_out", now, data={"player_id": player_id, "channel": channel, "via": via}))
    return True


def holders(conn: Connection, deliveries: Sequence[Sending]) -> Mapping[int, Code]:
    """The codes of deliveries, their recipients' addresses under the names that they have by now."""
    known = codes.by_ids(conn, sorted({one.code_id for one in deliveries})) if deliveries else {}
    for channel in _MOVING & {one.channel for one in deliveries}:
        given = {code.id: code.recipient.get("addresses", {}).get(channel) for code in known.values()}
        moved = moves.among(conn, channel, {address for address in given.values() if address})
        for code_id, address in given.items():
            if address in moved:
                known[code_id] = _with_address(known[code_id], channel, moved[address])
    return known


def _with_address(code: Code, channel: str, address: str) -> Code:
    addresses = {**code.recipient["addresses"], channel: address}
    return replace(code, recipient={**code.recipient, "addresses": addresses})


def address_of(one: Sending, code: Code) -> Address | None:
    """The delivery's address; None for calls, and where there is none (any more)."""
    if one.channel == "call":
        return None
    try:
        return recipients.address_at(code.recipient, one.channel, one.slot)[1]
    except LookupError:
        return None
