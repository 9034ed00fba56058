"""The verbs: issue, deliver, show, verify, sweep. Each is one or two ledger transactions around pure rules.

A flow is given what it works on: the ledger, the clock, randomness, and `ring`, which tells a queue that there is work.
A ring that is lost costs time, never work: the sweeper reads the same book.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from promocast.model import Instant

# (queue, ids): there is work for these rows.
Ring = Callable[[str, Sequence[int | str]], None]


# How far ahead moments are given out, in milliseconds: what is claimed for them waits so long at most.
AHEAD: Final = 250
# How late a message may be for its moment, in milliseconds. The limiter's pace leaves room for it.
SLACK: Final = 50


@dataclass(frozen=True, slots=True)
class Moment:
    """When one request may begin: from `opens` until `closes`, in seconds of the monotonic clock."""

    opens: float
    closes: float


ANY_MOMENT: Final = Moment(-inf, inf)


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to send, with a moment for each message; more of them in `more` ms."""

    moments: Sequence[Moment]
    more: float


class Limiter(Protocol):
    """The limits of provider accounts, common to all processes."""

    def take(self, account: str, wanted: int, rate: float, ahead: int) -> Grant:
        """Moments for up to `wanted` sends at `rate` per second, none more than `ahead` ms from now. A rate of 0 is no
        limit, but for holds."""
        ...

    def hold(self, account: str, until: Instant) -> None:
        """Nobody sends on the account before `until`."""
        ...

    def holds(self, accounts: Sequence[str]) -> list[int]:
        """For each account the milliseconds until it may be sent on again; 0: now."""
        ...

    def turns(self, account: str, turns: Sequence[tuple[str, str]], interval: int) -> list[int]:
        """For each (address, holder) the ms until the address may be sent to; 0: the holder has its turn, and for
        `interval` ms nobody else has."""
        ...
