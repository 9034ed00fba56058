"""Chores: what a sweeper does now and then, beside what is due. Two sweepers may do the same."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from promocast.errors import ConfigError
from promocast.flows import heads, retain, seal
from promocast.ledger import Ledger
from promocast.model import HOUR, Instant, RandomBytes
from promocast.observe import log
from promocast.settings import RetentionSettings, SealSettings

# How often all that is kept for a time only is looked through.
_ROUND: Final = HOUR
_STEP: Final = 1_000


class Chores:
    """When each was done last, and how far the walk over the codes has come, is kept by the process."""

    def __init__(
        self, ledger: Ledger, sealing: SealSettings, retention: RetentionSettings, random: RandomBytes
    ) -> None:
        self._ledger = ledger
        self._sealing = sealing
        self._retention = retention
        self._random = random
        self._seal_at: Instant = 0
        self._round_at: Instant = 0
        self._walked: int | None = None

    def do(self, now: Instant) -> dict[str, int]:
        """Whatever it is time for; {what: how many} of what was done."""
        done: dict[str, int] = {}
        if now >= self._seal_at:
            self._seal_at = now + self._sealing.every
            done["sealed"] = self._seal(now, self._sealing.head_file)
        if now >= self._round_at:
            self._round_at, self._walked = now + _ROUND, 0
            done["bodies"] = retain.bodies(self._ledger, self._retention, now, _STEP)
        if self._walked is not None:
            stripped, self._walked = retain.personal(self._ledger, self._retention, now, self._walked, _STEP)
            done["personal"] = stripped
        return done

    def _seal(self, now: Instant, head_file: Path | None) -> int:
        closed = seal.seal(self._ledger, now, self._random, self._sealing.batch)
        if head_file is not None:
            try:
                heads.write(self._ledger, head_file)
            except ConfigError as exc:
                # The seals are closed in any case; the heads are added when the file can be written again.
                log.error("heads_not_written", error=exc)
        return sum(one.leaves for one in closed)
