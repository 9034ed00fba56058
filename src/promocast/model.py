"""The words of the domain as frozen types: instants, addresses, messages, outcomes, and the Channel protocol.

An `Instant` is an `int`: milliseconds since the Unix epoch, UTC. Both databases index, compare and add integers alike,
and no time zone can be lost on the way; RFC 3339 is spoken at the edges only.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

Instant = int
Clock = Callable[[], Instant]
RandomBytes = Callable[[int], bytes]

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

PLAYER_CHANNELS: Final = ("popup", "email", "push", "telegram", "sms")
CHANNELS: Final = (*PLAYER_CHANNELS, "call")

DeliveryState = Literal["planned", "sending", "sent", "delivered", "rejected", "exhausted", "unknown", "skipped"]

_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h|d)")
_UNITS: Final = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}


def system_clock() -> Instant:
    return time.time_ns() // 1_000_000


def parse_duration(text: str) -> int:
    """Milliseconds in `text`: a number and a unit, as in "10m", "7d" or "1h 30m".

    Raises:
        ValueError: for anything else.
    """
    parts = _DURATION.findall(text)
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(f'{text!r} is no duration; write a number and a unit of ms, s, m, h or d, as in "10m" or "7d"')
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def duration(milliseconds: int) -> str:
    """A duration as `parse_duration` reads it: "7d", "1h 30m"."""
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def rfc3339(instant: Instant) -> str:
    """`instant` as RFC 3339 in UTC; milliseconds only where there are any."""
    moment = datetime.fromtimestamp(instant / SECOND, UTC)
    timespec = "milliseconds" if instant % SECOND else "seconds"
    return moment.isoformat(timespec=timespec).replace("+00:00", "Z")


def parse_rfc3339(text: str) -> Instant:
    """The instant that `text` names.

    Raises:
        ValueError: if it is no RFC 3339 date-time, or lacks its zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; add Z or an offset")
    return round(moment.timestamp() * SECOND)


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """A browser's Web Push subscription (W3C Push API): where to post, and the keys to encrypt for (RFC 8291)."""

    endpoint: str = field(repr=False)
    p256dh: str = field(repr=False)
    auth: str = field(repr=False)

    @property
    def service(self) -> str:
        """The push service, by the host and port that the endpoint names; empty where it names none."""
        try:
            return urlsplit(self.endpoint).netloc.lower()
        except ValueError:
            return ""


Address = str | PushSubscription


@dataclass(frozen=True, slots=True)
class Message:
    """One rendered message, ready for an adapter. What could identify a player or spend money stays out of its repr.

    `key` is the same on every attempt of a delivery, and unique over all ledgers: a provider that can recognise a
    repetition does it by this. `content` holds the rendered template by its keys (contract: popup title, body,
    cta_text, cta_link, image_url; email subject, text, html; push title, body, link; telegram text; sms text;
    call body). `address` of a call is the endpoint's name.
    """

    key: str
    channel: str
    campaign: str
    address: Address = field(repr=False)
    content: Mapping[str, str] = field(repr=False)
    player_id: str = field(default="", repr=False)
    code: str = field(default="", repr=False)
    locale: str | None = None
    when_shown: str | None = None
    expires_at: Instant | None = None
    # How what comes back finds its delivery, where there is a way back: a link for the player, an address for the
    # provider's reports, and a token for the return path of a mail.
    unsubscribe_url: str = field(default="", repr=False)
    report_url: str = field(default="", repr=False)
    return_token: str = field(default="", repr=False)
    # Of a call: how it is made, and the campaign's own headers, by their names in lower case.
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider took responsibility. `ref` is its own id of the message; `moved_to` is where the address has gone
    for good, if the provider said so."""

    ref: str | None = None
    moved_to: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now, and nobody's fault: rate limit, 429, greylisting. Costs no attempt.

    `account`: the provider meant all that we send it, not this message; nobody sends there before `until`. Most
    channels are one account; a push service is one by itself, and so is an endpoint.
    """

    until: Instant
    why: str
    account: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt was spent. `maybe_sent` says whether the provider may have taken the message all the same."""

    why: str
    maybe_sent: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """Final for this delivery. `address_dead`: nothing will ever arrive at this address. `opted_out`: because its owner
    told the provider so, which holds until they tell it otherwise."""

    why: str
    address_dead: bool
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Halted:
    """Our own configuration is at fault (credentials, sender, quota): it stays planned and no attempt is spent.

    `gone`: a system of the operator's wants nothing more; nothing is tried there until the operator says so.
    """

    why: str
    gone: bool = False


# `why` is a short word of ours plus the provider's code, never its free text: that may quote an address or a code.
Outcome = Sent | Deferred | Failed | Rejected | Halted


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider tells later of a message: it has it (`sent`), it has arrived, it never will, or it is to be sent
    again. Reports come late, twice and in any order; `delivered` and `rejected` are the end.

    `key` is the message's; `halted`: our own configuration is at fault.
    """

    key: str
    says: Literal["sent", "delivered", "rejected", "again"]
    why: str | None = None
    ref: str | None = None
    address_dead: bool = False
    opted_out: bool = False
    halted: bool = False


@dataclass(frozen=True, slots=True)
class Reachability:
    """What a provider tells of an address: whether its owner wants to hear from us, since `at` (None: since now)."""

    channel: str
    address: str = field(repr=False)
    reachable: bool
    why: str
    at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """An address has another name from now on."""

    channel: str
    old: str = field(repr=False)
    new: str = field(repr=False)


Told = Report | Reachability | Moved


class Channel(Protocol):
    """A way to a player or a system. Adapters implement this and nothing else is known of them.

    An adapter that writes through the shared transport, or awaits `gate.about_to_write` itself right before its first
    byte, says so by `asks_gate = True`; the gate is then closed until that moment.
    """

    async def send(self, message: Message) -> Outcome:
        """Send once; never retry. Raises nothing that belongs to the provider: every answer is an outcome."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


Json = Mapping[str, Any]
