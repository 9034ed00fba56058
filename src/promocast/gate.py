"""The gate's last question, asked by whoever is about to write a message's first byte to a socket.

A send is claimed, waits for a connection and shakes hands, all of which takes time, and a player who is excluded
meanwhile must not be written to. The flow puts the question into `CHECK`; the shared transport and the SMTP adapter ask
it. It travels in a context variable, because SDKs lie between the two that know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final


def _open() -> None:
    return None


CHECK: Final[ContextVar[Callable[[], None]]] = ContextVar("gate", default=_open)


def about_to_write() -> None:
    """
    Raises:
        Withheld: the message must not be written any more. Adapters let it pass.
    """
    CHECK.get()()


@contextmanager
def unasked() -> Iterator[None]:
    """For what is written on behalf of many messages at once, as the request for an access token is: no player's gate
    may decide it."""
    token = CHECK.set(_open)
    try:
        yield
    finally:
        CHECK.reset(token)
