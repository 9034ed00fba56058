"""Frequency caps: how many messages a player may be sent in how long, over all campaigns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from promocast.model import MINUTE, Instant

# How soon to look again where only what is under way stands in the way: it may come to nothing.
LOOK_AGAIN: Final = MINUTE


@dataclass(frozen=True, slots=True)
class Cap:
    """No more than `most` messages to one player on all of `channels` together within `per` milliseconds."""

    channels: frozenset[str]
    most: int
    per: int


@dataclass(frozen=True, slots=True)
class Contact:
    """A message that a player was sent, or may have been; `open`: it is under way."""

    at: Instant
    channel: str
    open: bool = False


def frees_at(caps: Iterable[Cap], contacts: Sequence[Contact], channel: str, now: Instant) -> Instant | None:
    """When one more message may go to a player on `channel`; None: now."""
    found = [freed for cap in caps if (freed := _frees_at(cap, contacts, channel, now)) is not None]
    return max(found, default=None)


def _frees_at(cap: Cap, contacts: Sequence[Contact], channel: str, now: Instant) -> Instant | None:
    if channel not in cap.channels:
        return None
    counted = [one for one in contacts if one.channel in cap.channels and one.at + cap.per > now]
    if len(counted) < cap.most:
        return None
    leave = sorted(min(one.at + cap.per, now + LOOK_AGAIN) if one.open else one.at + cap.per for one in counted)
    return leave[len(counted) - cap.most]
