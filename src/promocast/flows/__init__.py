"""The verbs: issue, deliver, show, verify, sweep. Each is one or two ledger transactions around pure rules.

A flow is given what it works on: the ledger, the clock, randomness, and `ring`, which tells a queue that there is work.
A ring that is lost costs time, never work: the sweeper reads the same book.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from promocast.model import Instant

# (queue, ids): there is work for these rows.
Ring = Callable[[str, Sequence[int | str]], None]


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to send `count` messages: the first in `first` ms, each next `interval` ms later. More in `more` ms."""

    count: int
    first: float
    interval: float
    more: float


class Limiter(Protocol):
    """The limits of provider accounts, common to all processes."""

    def take(self, account: str, wanted: int, rate: float) -> Grant:
        """Moments for up to `wanted` sends at `rate` per second; 0 is no limit, but for holds."""
        ...

    def hold(self, account: str, until: Instant) -> None:
        """Nobody sends on the account before `until`."""
        ...

    def holds(self, accounts: Sequence[str]) -> list[int]:
        """For each account the milliseconds until it may be sent on again; 0: now."""
        ...

    def turns(self, account: str, addresses: Sequence[str], interval: int) -> list[int]:
        """For each address the milliseconds until it may be sent to again; 0 takes its turn now."""
        ...
