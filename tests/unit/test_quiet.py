"""Quiet hours: nothing begins in a window, nothing is lost, nothing comes after its time; over changes of clocks."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promocast.campaign import quiet
from promocast.campaign.rule import QuietHours
from promocast.model import DAY, HOUR, MINUTE, SECOND, Instant, parse_rfc3339, rfc3339

# Zones, each with the moment at which its clocks go forward or back. Chatham's move at 02:45, Lord Howe's by half an
# hour; Havana's go back over midnight; Cairo's leap over it; Samoa's once leapt over a whole day.
CHANGES = [
    ("Europe/Malta", "2026-03-29T01:00:00Z"),
    ("Europe/Malta", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Pacific/Chatham", "2026-09-26T14:00:00Z"),
    ("Pacific/Chatham", "2026-04-04T14:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("America/Havana", "2026-11-01T05:00:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
]
# Around the changes of Malta's and Havana's clocks, and elsewhere.
TIMES = st.one_of(
    st.sampled_from(["00:00", "00:30", "01:00", "02:00", "02:30", "03:00", "03:30", "23:30", "23:59"]),
    st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.integers(0, 59)),
)


def hours(begins: str, ends: str, spread: int = 30 * MINUTE) -> QuietHours:
    return QuietHours.model_validate({"from": begins, "to": ends, "spread": spread})


def windows() -> st.SearchStrategy[QuietHours]:
    spreads = st.sampled_from([0, MINUTE, 30 * MINUTE, 6 * HOUR])
    pairs = st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1])
    return st.builds(lambda pair, spread: hours(pair[0], pair[1], spread), pairs, spreads)


def shown(zone: ZoneInfo, at: Instant) -> str:
    """What the clocks there show."""
    return datetime.fromtimestamp(at / SECOND, zone).strftime("%H:%M:%S")


def clock_says_quiet(window: QuietHours, zone: ZoneInfo, at: Instant) -> bool:
    now, begins, ends = shown(zone, at), window.begins + ":00", window.ends + ":00"
    return begins <= now < ends if begins < ends else now >= begins or now < ends


moments = st.tuples(st.sampled_from(CHANGES), st.integers(-36 * 3600, 36 * 3600))


def around(moment: tuple[tuple[str, str], int]) -> tuple[ZoneInfo, Instant]:
    (name, change), seconds = moment
    return ZoneInfo(name), parse_rfc3339(change) + seconds * SECOND


@given(window=windows(), moment=moments, key=st.integers(1, 10**6), life=st.none() | st.integers(0, 60 * 3600))
@example(window=hours("02:30", "02:45"), moment=(CHANGES[0], -1), key=1, life=None)
@example(window=hours("02:00", "03:00"), moment=(CHANGES[0], 0), key=1, life=None)
@example(window=hours("21:00", "02:30"), moment=(CHANGES[1], 1800), key=1, life=None)
def test_nothing_is_sent_in_a_window_none_is_lost_and_none_comes_after_its_time(
    window: QuietHours, moment: tuple[tuple[str, str], int], key: int, life: int | None
) -> None:
    zone, now = around(moment)
    last = None if life is None else now + life * SECOND

    until = quiet.release(window, zone, now, str(key), last)

    night = quiet.night(window, zone, now)
    if until is None:
        assert night is not None
        assert last is not None
        assert night.ends > last, "only what cannot be sent in time is given up"
        return
    assert until >= now
    assert not clock_says_quiet(window, zone, until)
    assert quiet.night(window, zone, until) is None, "what is due is not put off again"
    assert (until == now) == (night is None)
    if night is not None:
        assert night.ends <= until <= night.ends + window.spread
        assert last is None or until <= last
        following = quiet.next_night(window, zone, night.ends)
        assert following is None or until < following


@given(window=windows(), moment=moments)
def test_it_is_quiet_wherever_the_clock_says_so(window: QuietHours, moment: tuple[tuple[str, str], int]) -> None:
    zone, now = around(moment)

    if clock_says_quiet(window, zone, now):
        night = quiet.night(window, zone, now)
        assert night is not None
        assert night.begins <= now < night.ends


@given(window=windows(), moment=moments)
def test_where_it_is_not_quiet_the_next_window_is_known(
    window: QuietHours, moment: tuple[tuple[str, str], int]
) -> None:
    zone, now = around(moment)
    if quiet.night(window, zone, now) is not None:
        return

    begins = quiet.next_night(window, zone, now)

    assert begins is not None
    assert begins > now
    assert not any(clock_says_quiet(window, zone, at) for at in range(now, begins, max(MINUTE, (begins - now) // 40)))
    assert quiet.night(window, zone, begins - 1) is None


@pytest.mark.parametrize(
    ("zone", "window", "at", "ends"),
    [
        ("Europe/Malta", ("21:00", "09:00"), "2026-11-24T22:00:00Z", "2026-11-25T08:00:00Z"),
        ("Europe/Malta", ("21:00", "09:00"), "2026-11-25T07:59:59Z", "2026-11-25T08:00:00Z"),
        ("Europe/Malta", ("21:00", "09:00"), "2026-11-25T08:00:00Z", None),
        ("Europe/Malta", ("21:00", "09:00"), "2026-11-25T19:59:59Z", None),
        ("Europe/Malta", ("12:00", "14:00"), "2026-11-25T11:00:00Z", "2026-11-25T13:00:00Z"),
        # The clocks leap from 02:00 to 03:00: there is no 02:30, and the night ends with the leap.
        ("Europe/Malta", ("21:00", "02:30"), "2026-03-28T22:00:00Z", "2026-03-29T01:00:00Z"),
        # They go back from 03:00 to 02:00: 02:30 comes twice, and the night ends with the second.
        ("Europe/Malta", ("21:00", "02:30"), "2026-10-24T22:00:00Z", "2026-10-25T01:30:00Z"),
        ("Europe/Malta", ("21:00", "02:30"), "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z"),
        # A window of which there is nothing that night.
        ("Europe/Malta", ("02:10", "02:50"), "2026-03-29T01:00:00Z", None),
        ("Australia/Lord_Howe", ("21:00", "02:15"), "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"),
        # The whole of 30 December 2011 was leapt over.
        ("Pacific/Apia", ("21:00", "09:00"), "2011-12-30T08:00:00Z", "2011-12-30T19:00:00Z"),
    ],
)
def test_a_window_ends_when_it_ends_on_the_players_clock(
    zone: str, window: tuple[str, str], at: str, ends: str | None
) -> None:
    night = quiet.night(hours(*window), ZoneInfo(zone), parse_rfc3339(at))

    assert (rfc3339(night.ends) if night else None) == ends


def test_the_release_is_spread_evenly_and_the_same_for_the_same_delivery() -> None:
    window, zone, at = hours("21:00", "09:00"), ZoneInfo("Europe/Malta"), parse_rfc3339("2026-11-24T22:00:00Z")
    ends = parse_rfc3339("2026-11-25T08:00:00Z")

    released = [quiet.release(window, zone, at, str(key), None) or 0 for key in range(3_000)]

    tenths = [0] * 10
    for moment in released:
        tenths[(moment - ends) // (3 * MINUTE)] += 1
    assert min(tenths) > 240, "300 were to be expected in each"
    assert max(tenths) < 360
    assert [quiet.release(window, zone, at + HOUR, str(key), None) for key in range(3_000)] == released


@given(wanted=TIMES, moment=moments)
def test_the_next_time_of_day_is_shown_or_leapt_over_and_within_a_day(
    wanted: str, moment: tuple[tuple[str, str], int]
) -> None:
    zone, now = around(moment)

    at = quiet.next_time(wanted, zone, now)

    assert now <= at <= now + DAY + HOUR
    assert (
        shown(zone, at) == wanted + ":00" or shown(zone, at - 1) < wanted + ":00" < shown(zone, at) or _leapt(zone, at)
    )


def _leapt(zone: ZoneInfo, at: Instant) -> bool:
    """Whether the clocks leap in that moment, over midnight for example."""
    before, after = (datetime.fromtimestamp(moment / SECOND, zone) for moment in (at - SECOND, at))
    return after.utcoffset() != before.utcoffset()


@pytest.mark.parametrize(
    ("zone", "after", "at"),
    [
        ("Europe/Malta", "2026-11-24T08:59:59Z", "2026-11-24T09:00:00Z"),
        ("Europe/Malta", "2026-11-24T09:00:00Z", "2026-11-24T09:00:00Z"),
        ("Europe/Malta", "2026-11-24T09:00:00.001Z", "2026-11-25T09:00:00Z"),
        ("Europe/Malta", "2026-03-28T12:00:00Z", "2026-03-29T08:00:00Z"),
        ("America/New_York", "2026-11-24T16:00:00Z", "2026-11-25T15:00:00Z"),
        ("Pacific/Kiritimati", "2026-11-24T10:00:00Z", "2026-11-24T20:00:00Z"),
    ],
)
def test_ten_oclock_is_the_players_ten_oclock(zone: str, after: str, at: str) -> None:
    assert rfc3339(quiet.next_time("10:00", ZoneInfo(zone), parse_rfc3339(after))) == at


def test_the_first_zone_that_there_is_counts() -> None:
    assert str(quiet.zone_of(None, "Nowhere/Land", "Europe/Malta", "UTC")) == "Europe/Malta"
    assert str(quiet.zone_of(None, "", "../etc/passwd")) == "UTC"
