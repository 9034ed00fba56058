"""Leave to write one message: its moment has come, its lease holds, and the gate is open.

All three are looked at by whoever is about to write the first byte. Between the claim and that byte lie a queue, a
connection and a handshake, and nobody knows how long they take; the process may even have been stopped meanwhile. What
has missed its moment does not go at once, beside others that have theirs now: it takes another.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from promocast.errors import Withheld
from promocast.flows import AHEAD, SLACK, Grant, Moment, aftermath, compose
from promocast.flows.compose import Dossier
from promocast.flows.desk import Desk
from promocast.flows.fallback import QUIET
from promocast.ledger import suppressions
from promocast.model import PLAYER_CHANNELS, SECOND
from promocast.settings import LEASE_RESERVE

LATE: Final = "late"
STOPPED: Final = "stopped"

# How long before its moment a message may ask for a connection, in milliseconds.
LEAD: Final = 100
# How far ahead the second moment of a message may be: further than the first ones of others, so that it comes before.
LATE_AHEAD: Final = 1_000
# How many moments a message may miss before it is given back.
MOMENTS: Final = 3

_MISSED: Final = Moment(0, 0)


class Leave:
    """`begun` says whether it was ever used: nothing can have been sent before."""

    def __init__(self, desk: Desk, dossier: Dossier, moment: Moment) -> None:
        self.begun = False
        self._desk = desk
        self._dossier = dossier
        self._policy = desk.policies[dossier.delivery.channel]
        self._moment = moment
        self._withdrawn = False

    def withdraw(self) -> bool:
        """Let nothing begin from now on; whether it was ever used. For another thread than the one that sends."""
        self._withdrawn = True
        return self.begun

    async def approach(self) -> None:
        """Return when it is time to ask for a connection.

        Raises:
            Withheld: it took so long that the send might outlive its lease.
        """
        await _sleep_until(self._moment.opens - LEAD / SECOND)
        if self._desk.clock() > self._dossier.delivery.attempted_at + LEASE_RESERVE:
            raise Withheld(LATE, 0)

    async def begin(self) -> None:
        """Return when a request may be written, and has to be at once. Each request of a message needs another leave.

        Raises:
            Withheld: it must not be written any more, or not now.
        """
        if self._policy.rate:
            await self._its_moment()
        self.check()
        self.begun = True  # before the look: of two threads at once, one sees what the other has done
        if self._withdrawn:
            raise Withheld(STOPPED, 0)

    def check(self) -> None:
        """
        Raises:
            Withheld: the lease has ended, so it may be somebody else's by now; quiet hours have begun since the claim,
                which is to be made anew; or the gate is closed.
        """
        delivery, now = self._dossier.delivery, self._desk.clock()
        if now >= delivery.attempted_at + self._policy.lease:
            raise Withheld(LATE, 0)
        quiet_from = self._dossier.quiet_from
        if quiet_from is not None and now >= quiet_from:
            raise Withheld(QUIET, 0)
        if delivery.channel in PLAYER_CHANNELS:
            self._desk.watch.check(self._dossier.code, delivery.channel, now)

    async def _its_moment(self) -> None:
        moment, self._moment = self._moment, _MISSED
        for left in reversed(range(MOMENTS)):
            await _sleep_until(moment.opens)
            if time.monotonic() <= moment.closes:
                return
            if left:
                moment = await asyncio.to_thread(self._another)
        raise Withheld(LATE, SECOND)

    def _another(self) -> Moment:
        """The next moment that is free. An address keeps its turn until then, if nobody else has it by now."""
        channel, account = self._dossier.delivery.channel, compose.account(self._dossier)
        if account != channel and (held := self._desk.limiter.holds([account])[0]):
            raise Withheld(LATE, held)
        if self._policy.per_address:
            lasting = self._policy.per_address + LATE_AHEAD + SLACK
            [wait] = self._desk.limiter.turns(channel, [turn_of(self._dossier)], lasting)
            if wait:
                raise Withheld(LATE, wait)
        grant: Grant = self._desk.limiter.take(channel, 1, self._policy.rate, LATE_AHEAD)
        if not grant.moments:
            raise Withheld(LATE, round(grant.more))
        return grant.moments[0]


def turn_of(dossier: Dossier) -> tuple[str, str]:
    """(address, holder) by which an address is sent to by one at a time: this attempt and no other."""
    delivery = dossier.delivery
    address = aftermath.address_of(delivery, dossier.code)
    whom = str(delivery.id) if address is None else suppressions.digest(address)
    return whom, f"{delivery.id}.{delivery.attempted_at}"


def turn_lasts(per_address: int) -> int:
    """How long a turn lasts from its claim, in ms: the message may go out as late as its moment allows."""
    return per_address + AHEAD + SLACK


async def _sleep_until(moment: float) -> None:
    left = moment - time.monotonic()
    if left > 0:
        await asyncio.sleep(left)
