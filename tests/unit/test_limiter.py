"""The shared limiter, on a real server: a pace that holds at the provider, holds, and turns of addresses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from promocast.flows import AHEAD, ANY_MOMENT, SLACK
from promocast.limiter import ROOM, SharedLimiter
from promocast.model import MINUTE, SECOND, system_clock


@pytest.fixture
def account() -> str:
    return os.urandom(8).hex()


@pytest.fixture
def make(queue_url: str) -> Iterator[Callable[..., SharedLimiter]]:
    made: list[SharedLimiter] = []

    def new(**how: object) -> SharedLimiter:
        made.append(SharedLimiter(queue_url, system_clock, **how))  # type: ignore[arg-type]
        return made[-1]

    yield new
    for limiter in made:
        limiter.close()


@pytest.mark.parametrize("rate", [0.5, 1, 25, 100, 333.3])
def test_messages_that_are_as_late_as_they_may_be_never_exceed_the_rate_nor_fall_far_short_of_it(
    make: Callable[..., SharedLimiter], account: str, rate: float
) -> None:
    one, other = make(), make()
    moments = sorted(
        (moment for i in range(60) for moment in (one, other)[i % 2].take(account, 7, rate, 10**9).moments),
        key=lambda moment: moment.opens,
    )

    earliest = [moment.opens for moment in moments]
    # Whatever of them a second at the provider may hold: none comes before its moment, none ROOM after it.
    fullest = max(sum(begin <= at < begin + 1 + ROOM / SECOND - 0.01 for at in earliest) for begin in earliest)
    assert fullest <= max(1, rate)
    assert (len(earliest) - 1) / (earliest[-1] - earliest[0]) >= 0.9 * rate
    assert all(moment.closes <= moment.opens + SLACK / SECOND for moment in moments)


def test_moments_are_given_out_so_far_ahead_and_no_further(make: Callable[..., SharedLimiter], account: str) -> None:
    limiter = make()

    first = limiter.take(account, 100, 100, AHEAD)
    later = limiter.take(account, 100, 100, 4 * AHEAD)

    assert len(first.moments) == int(AHEAD / 10.8) + 1
    assert later.moments[0].opens > first.moments[-1].opens
    assert later.moments[-1].opens - first.moments[0].opens <= 4 * AHEAD / SECOND + 0.1
    none = limiter.take(account, 1, 100, AHEAD)
    assert not none.moments
    assert 0 < none.more <= 4 * AHEAD


def test_of_an_answer_that_took_too_long_no_moment_is_left(make: Callable[..., SharedLimiter], account: str) -> None:
    times = iter([10.0, 10.0 + SLACK / SECOND + 0.001])

    [moment] = make(monotonic=lambda: next(times)).take(account, 1, 100, AHEAD).moments

    assert moment.closes < moment.opens


def test_without_a_rate_any_moment_will_do(make: Callable[..., SharedLimiter], account: str) -> None:
    assert make().take(account, 3, 0, AHEAD).moments == [ANY_MOMENT] * 3


@pytest.mark.parametrize("rate", [0, 100])
def test_a_hold_stops_everybody_on_the_account_and_nobody_else(
    make: Callable[..., SharedLimiter], account: str, rate: float
) -> None:
    one, other = make(), make()
    one.hold(account, system_clock() + MINUTE)

    held = other.take(account, 5, rate, AHEAD)

    assert (held.moments, len(other.take(account + "x", 1, rate, AHEAD).moments)) == ([], 1)
    assert MINUTE - 5 * SECOND < held.more <= MINUTE


def test_an_address_is_one_holders_until_its_turn_ends(make: Callable[..., SharedLimiter], account: str) -> None:
    one, other = make(), make()

    first = one.turns(account, [("a", "1"), ("a", "2"), ("b", "3")], MINUTE)
    again = other.turns(account, [("a", "1"), ("a", "2")], 2 * MINUTE)
    after = one.turns(account, [("a", "2")], MINUTE)

    assert [wait == 0 for wait in first] == [True, False, True]
    assert again[0] == 0
    assert all(MINUTE < wait <= 2 * MINUTE for wait in (again[1], *after))


def test_without_the_queue_nobody_sends(account: str) -> None:
    limiter = SharedLimiter("redis://127.0.0.1:1/0", system_clock)

    assert limiter.take(account, 5, 0, AHEAD).moments == ()
    assert limiter.turns(account, [("a", "1")], MINUTE) == [MINUTE]
    limiter.hold(account, system_clock() + MINUTE)
    limiter.close()
