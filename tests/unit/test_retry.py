"""When to try again: later each time, and never later than a provider can be made to ask for."""

from __future__ import annotations

import pytest

from promocast.model import HOUR, MINUTE, SECOND
from promocast.retry import SCHEDULE, next_due, retry_after
from tests.conftest import NOW

DEFAULT = 7 * SECOND


def wait(header: str | None) -> int:
    """Milliseconds that a Retry-After header asks for, as it is taken."""
    return retry_after(header, NOW, DEFAULT) - NOW


@pytest.mark.parametrize(
    ("header", "milliseconds"),
    [
        ("120", 2 * MINUTE),
        (" 120 ", 2 * MINUTE),
        ("1", SECOND),
        ("3600", HOUR),
    ],
)
def test_seconds_are_waited_for(header: str, milliseconds: int) -> None:
    assert wait(header) == milliseconds


@pytest.mark.parametrize(
    ("header", "milliseconds"),
    [
        ("Tue, 24 Nov 2026 10:02:00 GMT", 2 * MINUTE),
        ("Tue, 24 Nov 2026 11:02:00 +0100", 2 * MINUTE),
        ("Tue, 24 Nov 2026 09:00:00 GMT", SECOND),
        ("Tue, 24 Nov 2026 23:00:00 GMT", HOUR),
        ("Fri, 31 Dec 9999 23:59:59 GMT", HOUR),
        ("Mon, 01 Jan 0001 00:00:00 GMT", SECOND),
    ],
    ids=["ahead", "in another zone", "past", "beyond the hour", "absurdly late", "absurdly early"],
)
def test_a_date_is_waited_for_between_a_second_and_an_hour(header: str, milliseconds: int) -> None:
    assert wait(header) == milliseconds


@pytest.mark.parametrize("header", ["0", "00", "000000000"])
def test_nobody_is_asked_again_within_the_second(header: str) -> None:
    assert wait(header) == SECOND


@pytest.mark.parametrize("header", ["3601", "86400", "99999999999", "9" * 5_000])
def test_nobody_can_make_us_wait_for_longer_than_an_hour(header: str) -> None:
    assert wait(header) == HOUR


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "  ",
        "-5",
        "+5",
        "1.5",
        "1e3",
        "soon",
        "\u00b2",
        "\u0665",
        "\uff15",
        "12\x00",
        "Tue, 99 Nov 2026",
        "," * 500,
    ],
    ids=ascii,
)
def test_what_cannot_be_read_is_taken_for_the_default(header: str | None) -> None:
    assert wait(header) == DEFAULT


@pytest.mark.parametrize(("default", "milliseconds"), [(0, SECOND), (HOUR, HOUR), (2 * HOUR, HOUR)])
def test_the_default_is_held_between_a_second_and_an_hour_too(default: int, milliseconds: int) -> None:
    assert retry_after(None, NOW, default) - NOW == milliseconds


def test_each_attempt_waits_for_longer_than_the_one_before() -> None:
    waits = [next_due(NOW, attempts, jitter=lambda: 0.0) - NOW for attempts in range(1, len(SCHEDULE) + 1)]

    assert waits == sorted(set(waits)) == list(SCHEDULE)


def test_the_last_wait_repeats() -> None:
    assert next_due(NOW, 100, jitter=lambda: 0.0) - NOW == SCHEDULE[-1]


def test_jitter_only_lengthens_and_by_a_fifth_at_most() -> None:
    waits = [next_due(NOW, 1, jitter=lambda share=share: share) - NOW for share in (0.0, 0.5, 1.0)]  # type: ignore[misc]

    assert waits == [SCHEDULE[0], SCHEDULE[0] * 1.1, SCHEDULE[0] * 1.2]
