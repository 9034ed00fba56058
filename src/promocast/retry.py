"""When to try again: the one place that turns an outcome into a time."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Sequence
from typing import Final

from promocast.model import HOUR, MINUTE, SECOND, Instant

Jitter = Callable[[], float]

# The tail of each schedule repeats until the code's end or the channel's max_attempts.
SCHEDULE: Final[Sequence[int]] = (5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR)
PROBE_AFTER_HALT: Final = 30 * SECOND

RETRY_AFTER_LEAST: Final = SECOND
RETRY_AFTER_MOST: Final = HOUR


def next_due(now: Instant, attempts: int, jitter: Jitter, schedule: Sequence[int] = SCHEDULE) -> Instant:
    """When attempt `attempts + 1` may begin. Jitter only lengthens: providers count from their answer."""
    wait = schedule[min(max(attempts, 1), len(schedule)) - 1]
    return now + round(wait * (1 + 0.2 * jitter()))


def retry_after(header: str | None, now: Instant, default: int) -> Instant:
    """The instant that a Retry-After header names (RFC 9110 section 10.2.3: seconds, or an HTTP-date), held between
    a second and an hour from now; `default` (milliseconds from now) where there is none that can be read."""
    wait = default
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        # Longer numbers are above every bound, and int() refuses the absurd ones.
        wait = int(text[:9]) * SECOND
    elif text:
        try:
            wait = round(email.utils.parsedate_to_datetime(text).timestamp() * SECOND) - now
        except (ValueError, OverflowError):
            wait = default
    return now + min(max(wait, RETRY_AFTER_LEAST), RETRY_AFTER_MOST)
