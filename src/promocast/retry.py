"""When to try again: the one place that turns an outcome into a time."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Sequence
from datetime import UTC
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
        wait = int(text.lstrip("0")[:9] or "0") * SECOND
    elif text:
        try:
            date = email.utils.parsedate_to_datetime(text)
            # HTTP's dates are GMT, also in the forms that do not say so.
            date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
            wait = round(date.timestamp() * SECOND) - now
        except (ValueError, OverflowError):
            wait = default
    return now + min(max(wait, RETRY_AFTER_LEAST), RETRY_AFTER_MOST)
