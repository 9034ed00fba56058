"""A rig: one adapter, wired to a server that speaks its protocol and can be told what to do.

The channel suite (test_suite.py) knows only this class. Each adapter brings its own in `rig_<adapter>.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from ipaddress import IPv4Network
from typing import Self

from promocast.channels.http import Http
from promocast.model import Channel, Clock, Message

# Long enough for a loaded machine to answer, short enough to wait for in a test that lets it run out.
TIMEOUT = 700


class Rig(ABC):
    """Subclasses make `channel` and the server in `start`; the other methods say what it shall answer."""

    channel: Channel
    clock: Clock

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    @abstractmethod
    async def start(self) -> None:
        """Start the server and make the channel."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the channel and stop the server; called once more after `unreachable` is fine."""

    @abstractmethod
    def message(self, key: str = "d-test-1") -> Message:
        """A message that the server takes."""

    @abstractmethod
    def received(self) -> int:
        """How many messages reached the server, however it answered."""

    @abstractmethod
    def keys(self) -> list[str]:
        """What of each received message tells a repetition from a new one, in order."""

    @abstractmethod
    def throttle(self) -> None:
        """From now on: too many, come back later."""

    @abstractmethod
    def hang(self) -> None:
        """From now on: take the message, never answer."""

    @abstractmethod
    def drop(self) -> None:
        """From now on: take the message, then reset the connection."""

    @abstractmethod
    def misconfigure(self) -> None:
        """From now on: refuse us for something only our operator can mend."""

    def dead_address(self) -> bool:
        """From now on: the address does not exist. False where the protocol cannot say so."""
        return False

    def can_tell_repetitions(self) -> bool:
        """Whether the protocol carries our key at all."""
        return True

    @abstractmethod
    async def unreachable(self) -> None:
        """Nothing listens at the server's port any more."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


class HttpRig(Rig):
    """A rig that also owns the shared HTTP transport."""

    http: Http

    async def open_http(self) -> None:
        # For tests that ask the server themselves; an adapter puts what its settings allow in place of this.
        self.http = Http(allow=frozenset({IPv4Network("127.0.0.1")}))

    async def close_http(self) -> None:
        await self.http.close()
