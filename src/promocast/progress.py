"""Progress: what proves that a process is alive.

A process that answers a probe may still have stopped working: a thread that hangs holds nobody's socket. So each of
its loops says that it has come round (`beat`), and the probe reads who has not for too long. Waiting for a ledger or a
queue that is away is coming round: it is resumed by itself, and a restart would not mend it. A loop that ends in an
exception stays on the list, and grows old there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

# Seconds. A loop comes round at least so often, the slowest way to learn that a server is away included.
WITHIN: Final = 60.0
# A job is a transaction over some hundred rows, which waits its turn behind others.
JOB_WITHIN: Final = 120.0

_LOOP_EVERY: Final = 1.0
_HERE: Final = threading.local()


@dataclass(slots=True, eq=False)
class _Pulse:
    name: str
    within: float
    clock: Callable[[], float]
    at: float


class Progress:
    """The loops of one process. `clock` is in seconds and only goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pulses: list[_Pulse] = []
        self._lock = threading.Lock()

    def begin(self, name: str, within: float = WITHIN) -> None:
        """From now on this thread has to `beat` at least every `within` seconds, until it calls `end`."""
        pulse = _Pulse(name, within, self._clock, self._clock())
        with self._lock:
            self._pulses = [each for each in self._pulses if each is not _here()] + [pulse]
        _HERE.pulse = pulse

    def end(self) -> None:
        """This thread has nothing more to prove."""
        with self._lock:
            self._pulses = [each for each in self._pulses if each is not _here()]
        _HERE.pulse = None

    @contextmanager
    def watched(self, name: str, within: float = WITHIN) -> Iterator[None]:
        """`begin`, and `end` unless the block ends in an exception."""
        self.begin(name, within)
        yield
        self.end()

    async def keep_turning(self, name: str, within: float = WITHIN) -> None:
        """Prove that the event loop turns, until cancelled. To run as a task of the loop's own."""
        with self.watched(name, within):
            try:
                while True:
                    beat()
                    await asyncio.sleep(_LOOP_EVERY)
            except asyncio.CancelledError:
                return

    def stuck(self) -> dict[str, float]:
        """{name: seconds since it came round} of the loops that have not for too long; of one name the worst."""
        with self._lock:
            ages = [(pulse.name, self._clock() - pulse.at, pulse.within) for pulse in self._pulses]
        return {name: round(age, 1) for name, age, within in sorted(ages, key=lambda each: each[1]) if age > within}


def beat() -> None:
    """This thread's loop has come round. Does nothing in a thread that has nothing to prove."""
    pulse = _here()
    if pulse is not None:
        pulse.at = pulse.clock()


def _here() -> _Pulse | None:
    pulse: _Pulse | None = getattr(_HERE, "pulse", None)
    return pulse
