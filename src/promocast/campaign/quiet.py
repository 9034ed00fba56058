"""Quiet hours and times of day, in a player's own zone, over changes of the clocks. Pure.

A window runs from the first time that its beginning is shown on the player's clock to the last time that its end is:
where the clocks go back over either, the longer night counts. A local time that the clocks leap over happens in the
moment of the leap.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from promocast.campaign.rule import QuietHours
from promocast.model import SECOND, Instant

# Whose windows may hold a moment of a day: its own, the evening's before, and where the clocks go back over midnight
# the next day's.
_DAYS_AROUND: Final = (-1, 0, 1)
# A window is skipped when the clocks leap over all of it; two days in a row have not been skipped yet.
_DAYS_AHEAD: Final = 4


@dataclass(frozen=True, slots=True)
class Night:
    """One window: quiet from `begins` until `ends`, which is not quiet any more."""

    begins: Instant
    ends: Instant


def zone_of(*names: str | None) -> tzinfo:
    """The first of the named zones that there is; UTC where there is none."""
    for name in names:
        if name:
            try:
                return ZoneInfo(name)
            except (KeyError, ValueError, OSError):
                continue  # it was one when it was read, and the zone database has changed
    return UTC


def night(hours: QuietHours, zone: tzinfo, at: Instant) -> Night | None:
    """The window that `at` lies in; None where it lies in none. Windows that touch are one."""
    begins = ends = None
    while found := _window(hours, zone, at if ends is None else ends):
        begins, ends = found.begins if begins is None else begins, found.ends
    return None if begins is None or ends is None else Night(begins, ends)


def next_night(hours: QuietHours, zone: tzinfo, at: Instant) -> Instant | None:
    """When the first window begins at or after `at`; None where there is none for days."""
    today = _local(at, zone).date()
    for days in range(-1, _DAYS_AHEAD):
        found = _on(hours, zone, today + timedelta(days))
        if found is not None and found.begins >= at:
            return found.begins
    return None


def release(hours: QuietHours, zone: tzinfo, at: Instant, key: str, last: Instant | None) -> Instant | None:
    """When something that must wait from `at` on is sent; `at` itself where it is not quiet, None where that would be
    after `last`.

    Spread over the first while after the window, the same for the same `key` every time: not into the next window, and
    not past `last`.
    """
    now = night(hours, zone, at)
    if now is None:
        return at
    if last is not None and now.ends > last:
        return None
    following = next_night(hours, zone, now.ends)
    room = min(
        hours.spread,
        hours.spread if following is None else following - now.ends,
        hours.spread if last is None else last - now.ends + 1,
    )
    return now.ends + room * _share(key) // _WHOLE


def next_time(wanted: str, zone: tzinfo, at: Instant) -> Instant:
    """The first moment at or after `at` at which the clocks there show `wanted` (HH:MM), or leap over it."""
    today = _local(at, zone).date()
    for days in range(-1, _DAYS_AHEAD):
        for last in (False, True):
            moment = _moment(today + timedelta(days), time.fromisoformat(wanted), zone, last=last)
            if moment >= at:
                return moment
    raise AssertionError(f"no {wanted} within days")  # no zone leaps over so many


def _window(hours: QuietHours, zone: tzinfo, at: Instant) -> Night | None:
    today = _local(at, zone).date()
    for days in _DAYS_AROUND:
        found = _on(hours, zone, today + timedelta(days))
        if found is not None and found.begins <= at < found.ends:
            return found
    return None


@lru_cache(maxsize=4_096)  # players share their zones and their days
def _on(hours: QuietHours, zone: tzinfo, day: date) -> Night | None:
    """The window that begins on the evening, or the morning, of `day`."""
    begins, ends = time.fromisoformat(hours.begins), time.fromisoformat(hours.ends)
    first = _moment(day, begins, zone, last=False)
    end = _moment(day if begins < ends else day + timedelta(1), ends, zone, last=True)
    return Night(first, end) if first < end else None


def _moment(day: date, wanted: time, zone: tzinfo, *, last: bool) -> Instant:
    """The first or the last moment at which the clocks show this; where they leap over it, that of the leap."""
    local = datetime.combine(day, wanted, zone)
    first, second = _instant(local.replace(fold=0)), _instant(local.replace(fold=1))
    if first <= second:
        return second if last else first
    return _leap(zone, second, first)  # PEP 495: of a time in a gap, fold=1 is the earlier one


def _leap(zone: tzinfo, before: Instant, after: Instant) -> Instant:
    """When between the two the offset changes, to the second."""
    low, high = before // SECOND, after // SECOND
    offset = _local(before, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if _local(middle * SECOND, zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high * SECOND


def _local(at: Instant, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at // SECOND, zone)


def _instant(local: datetime) -> Instant:
    return round(local.timestamp()) * SECOND


_WHOLE: Final = 1 << 64


def _share(key: str) -> int:
    """From 0 to just below `_WHOLE`, evenly, by nothing but the key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
