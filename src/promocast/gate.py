"""The gate's last question, asked by whoever is about to write a message's first byte to a socket.

A send is claimed, waits for a connection and shakes hands, all of which takes time. A player who is excluded meanwhile
must not be written to, and an account's pace is kept by when its messages begin. The flow puts who knows into `GATE`;
the shared transport and the SMTP adapter ask. It travels in a context variable, because SDKs lie between the two that
know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol


class Gate(Protocol):
    """What may stop one message. Both raise `Withheld` where it must not be written any more, or not now."""

    async def begin(self) -> None:
        """Return when a request may be written, and has to be at once."""
        ...

    def check(self) -> None:
        """For a request that has begun, and takes its time."""
        ...


class _Open:
    async def begin(self) -> None:
        return None

    def check(self) -> None:
        return None


GATE: Final[ContextVar[Gate]] = ContextVar("gate", default=_Open())  # noqa: B039 - it has no state


async def about_to_write() -> None:
    """Return when the first byte of a request may be written; write it at once.

    Raises:
        Withheld: the message must not be written any more. Adapters let it pass.
    """
    await GATE.get().begin()


def still_open() -> None:
    """Asked between the parts of a request that goes to and fro.

    Raises:
        Withheld: as above.
    """
    GATE.get().check()


@contextmanager
def unasked() -> Iterator[None]:
    """For what is written on behalf of many messages at once, as the request for an access token is: no player's gate
    may decide it."""
    token = GATE.set(_Open())
    try:
        yield
    finally:
        GATE.reset(token)
