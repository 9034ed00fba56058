"""Exclusions: what an external service says of who must not be contacted. It is optional, and it fails closed.

Asked for many players at once, before their deliveries are claimed and outside of any transaction. An answer counts for
as long as the settings say; the gate looks at it again right before the first byte. A player of whom there is no answer
of that age is not sent to: the deliveries stay planned, at no cost, and are tried again when the service answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from promocast.errors import ExclusionUnavailable
from promocast.model import SECOND, Clock, Instant
from promocast.observe import log

MOST_ASKED: Final = 200
# How long a service that does not answer is left alone, in milliseconds.
ASK_AGAIN_AFTER: Final = SECOND


class ExclusionService(Protocol):
    async def excluded(self, player_ids: Sequence[str]) -> Collection[str]:
        """Those of up to MOST_ASKED players who must not be contacted.

        Raises:
            ExclusionUnavailable: it does not answer, or not so that it can be understood.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    asked_at: Instant  # before the question: what became known to the service later is not in it
    excluded: bool


class Exclusions:
    """The service's answers, common to all senders of a process.

    Args:
        age: milliseconds for which an answer counts.
    """

    def __init__(self, service: ExclusionService, age: int, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._service = service
        self._age = age
        self._loop = loop
        self._clock = clock
        self._asking = threading.Lock()
        self._answers: dict[str, _Answer] = {}  # the oldest first
        self._away_since: Instant | None = None
        self._ask_from: Instant = 0

    def knows(self, player_id: str) -> bool:
        """Whether there is an answer that counts now. Without a player there is nobody to ask for."""
        return not player_id or self._is_younger(player_id, self._age, self._clock())

    def excludes(self, player_id: str) -> bool:
        """What the last answer was that is kept."""
        answer = self._answers.get(player_id)
        return answer is not None and answer.excluded

    def known_among(self, player_ids: Iterable[str]) -> frozenset[str]:
        """Those of whom there is an answer that counts, after asking for those of whom it will not for much longer.

        Threads wait for each other: mostly they ask for the same players, whose codes go out on several channels.
        """
        wanted = dict.fromkeys(player_ids)
        with self._asking:
            now = self._clock()
            ageing = [name for name in wanted if not self._is_young(name, now)]
            for first in range(0, len(ageing), MOST_ASKED):
                if not self._ask(ageing[first : first + MOST_ASKED]):
                    break
            self._forget(self._clock())
            return frozenset(name for name in wanted if self.knows(name))

    def all_young(self, player_ids: Iterable[str]) -> bool:
        """Whether of none of these there is any need to ask."""
        now = self._clock()
        return all(self._is_young(name, now) for name in player_ids)

    def _is_young(self, player_id: str, now: Instant) -> bool:
        """Young enough not to end between the claim and the first byte."""
        return not player_id or self._is_younger(player_id, self._age * 3 // 4, now)

    def _is_younger(self, player_id: str, age: int, now: Instant) -> bool:
        answer = self._answers.get(player_id)
        return answer is not None and now - answer.asked_at < age

    def _ask(self, player_ids: Sequence[str]) -> bool:
        """Ask once, unless the service was away a moment ago; whether it answered."""
        now = self._clock()
        if now < self._ask_from:
            return False
        asking = asyncio.run_coroutine_threadsafe(self._excluded(player_ids), self._loop)
        try:
            excluded = asking.result()
        except ExclusionUnavailable as exc:
            self._is_away(exc)
            return False
        self._answers_again(now)
        for name in player_ids:
            self._answers.pop(name, None)  # to the end
            self._answers[name] = _Answer(now, name in excluded)
        return True

    async def _excluded(self, player_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(await self._service.excluded(player_ids))

    def _is_away(self, exc: ExclusionUnavailable) -> None:
        now = self._clock()
        self._ask_from = now + ASK_AGAIN_AFTER
        if self._away_since is None:
            self._away_since = now
            log.warning("exclusion_unavailable", reason=exc.cause)

    def _answers_again(self, now: Instant) -> None:
        if self._away_since is not None:
            log.warning("exclusion_answers_again", away_ms=now - self._away_since)
            self._away_since = None

    def _forget(self, now: Instant) -> None:
        while self._answers:
            oldest = next(iter(self._answers))
            if now - self._answers[oldest].asked_at < self._age:
                return
            del self._answers[oldest]
