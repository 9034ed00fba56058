"""Callbacks: what providers tell us of messages and addresses after the send, read into the domain's words.

A reader knows one provider: it refuses what is not proven to come from there, and takes the rest apart. What follows
from it is `flows/settle.py`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from promocast.model import Told
from promocast.returns import Returns
from promocast.settings import Settings


@dataclass(frozen=True, slots=True)
class Callback:
    """A request as it came. `path` has the query with it, as it was sent; names of `headers` are in lower case."""

    path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


class Unproven(Exception):
    """Nothing shows that the callback comes from the provider."""


class Unreadable(Exception):
    """It comes from the provider, and cannot be understood. `why` holds nothing of its content."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Reader(Protocol):
    def read(self, callback: Callback) -> Sequence[Told]:
        """What the callback says; nothing, where it is of no interest.

        Raises:
            Unproven: the signature or the secret is missing or wrong.
            Unreadable: it is not what the provider's documentation promises.
        """
        ...


def reader(channel: str, settings: Settings, returns: Returns) -> Reader | None:
    """The reader of a channel's callbacks; None where the channel has none, or its secret is not set."""
    channels = settings.channels
    if channel == "sms" and channels.sms.auth_token.get_secret_value() and returns.public_url:
        from promocast.callbacks.twilio import Twilio  # noqa: PLC0415 - an SDK that is not needed costs nothing

        return Twilio(channels.sms, returns.public_url)
    if channel == "telegram" and channels.telegram.callback_secret.get_secret_value():
        from promocast.callbacks.telegram import Telegram  # noqa: PLC0415

        return Telegram(channels.telegram)
    if channel == "email" and channels.email.callback_secret.get_secret_value():
        from promocast.callbacks.bounces import Bounces  # noqa: PLC0415

        return Bounces(channels.email, returns)
    return None


def same(given: str, secret: str) -> bool:
    """Whether a secret was given, in a time that says nothing of how much of it was right."""
    return hmac.compare_digest(given.encode(), secret.encode())
