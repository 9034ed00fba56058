"""Limits of provider accounts, shared by all processes through Valkey or Redis: a pace, and holds.

The pace is GCRA (ITU-T I.371): every send is given its own moment, evenly spaced, and a little further apart than the
rate asks for. Sends are late for their moments, by up to `SLACK`, and so is the network: that is what the room between
them is for, so that no second holds more than the rate where it counts, at the provider. A hold is what a provider
asked for with a 429: the whole account waits, not the one message. Both are asked before anything is claimed, so
waiting costs neither an attempt nor a lease. Where a channel has many accounts (push services, endpoints), only what
was claimed says whose hold counts: that is given back, at no cost of an attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import redis

from promocast.broker import make_client
from promocast.flows import ANY_MOMENT, SLACK, Grant, Moment
from promocast.model import SECOND, Clock, Instant
from promocast.observe import log

# How much later than another's a message may come to the provider, each measured from its own moment, in milliseconds:
# SLACK here, and the rest on the way. With moments (1000 + ROOM) / rate apart, a second at the provider holds messages
# of 1000 + ROOM milliseconds' moments at most, and those are as many as the rate says.
ROOM: Final = SLACK + 30

# KEYS: pace, hold. ARGV: wanted, interval (ms), ahead (ms). Answers {granted, ms until the first, ms until more}.
_TAKE: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
local held = redis.call('PTTL', KEYS[2])
if held > 0 then return {0, '0', tostring(held)} end
local interval = tonumber(ARGV[2])
if interval == 0 then return {tonumber(ARGV[1]), '0', '0'} end
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local granted = math.min(tonumber(ARGV[1]), math.max(0, math.floor((now + ARGV[3] - free) / interval) + 1))
if free > now + ARGV[3] then granted = 0 end
local following = free + granted * interval
if granted > 0 then redis.call('SET', KEYS[1], tostring(following), 'PX', math.ceil(following - now) + 1000) end
return {granted, tostring(free - now), tostring(math.max(1, following - now - ARGV[3]))}
"""

# KEYS: one per address. ARGV: interval (ms), and for each address who wants it. Answers, for each, the ms until its
# turn; 0: it has its turn, for the interval from now.
_TURNS: Final = """
local waits = {}
for i, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left > 0 and redis.call('GET', key) ~= ARGV[i + 1] then
    waits[i] = left
  else
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
    waits[i] = 0
  end
end
return waits
"""


class SharedLimiter:
    """The limiter of flows/deliver, over the queue's own server."""

    def __init__(self, url: str, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = make_client(url)
        self._clock = clock
        self._monotonic = monotonic
        self._take = self._client.register_script(_TAKE)
        self._turns = self._client.register_script(_TURNS)

    def take(self, account: str, wanted: int, rate: float, ahead: int) -> Grant:
        """Moments for up to `wanted` sends at `rate` per second (0: no limit, but for holds), within `ahead` ms.

        The server counted them from some time between question and answer. So they open by the later of the two and
        close by the earlier, and after an answer that took longer than `SLACK` none is left of them.
        """
        interval = (SECOND + ROOM) / rate if rate else 0.0
        asked = self._monotonic()
        try:
            found = self._take(keys=[f"promocast:pace:{account}", _hold(account)], args=[wanted, interval, ahead])
        except redis.RedisError as exc:
            # Without the account's common clock nobody may send: two processes would send twice what is allowed.
            log.warning("limiter_unavailable", account=account, error=exc)
            return Grant((), SECOND)
        answered = self._monotonic()
        granted, first, more = int(found[0]), float(found[1]), float(found[2])
        if not rate:
            return Grant([ANY_MOMENT] * granted, more)
        if answered > asked + SLACK / SECOND:
            log.warning("limiter_slow", account=account, milliseconds=round((answered - asked) * SECOND))
        offsets = [(first + place * interval) / SECOND for place in range(granted)]
        return Grant([Moment(answered + at, asked + at + SLACK / SECOND) for at in offsets], more)

    def hold(self, account: str, until: Instant) -> None:
        """Nobody sends on the account before `until`."""
        milliseconds = until - self._clock()
        if milliseconds <= 0:
            return
        try:
            self._client.set(_hold(account), "1", px=milliseconds)
        except redis.RedisError as exc:
            log.warning("limiter_unavailable", account=account, error=exc)

    def holds(self, accounts: Sequence[str]) -> list[int]:
        """For each account the milliseconds until it may be sent on again; 0: now."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for account in accounts:
                    pipeline.pttl(_hold(account))
                return [max(0, int(left)) for left in pipeline.execute()]
        except redis.RedisError as exc:
            log.warning("limiter_unavailable", error=exc)
            return [SECOND] * len(accounts)

    def turns(self, account: str, turns: Sequence[tuple[str, str]], interval: int) -> list[int]:
        """For each (address, holder) the ms until the address may be sent to; 0: the holder has its turn, and for
        `interval` ms nobody else has. It may ask again, for longer."""
        try:
            keys = [f"promocast:turn:{account}:{address}" for address, _ in turns]
            return [int(wait) for wait in self._turns(keys=keys, args=[interval, *(holder for _, holder in turns)])]
        except redis.RedisError as exc:
            log.warning("limiter_unavailable", account=account, error=exc)
            return [interval] * len(turns)

    def close(self) -> None:
        self._client.close()


def _hold(account: str) -> str:
    return f"promocast:hold:{account}"
