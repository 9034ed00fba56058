"""Caps: however messages come, no window of a cap's length holds more than it allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promocast.campaign.caps import LOOK_AGAIN, Cap, Contact, frees_at
from promocast.model import DAY, HOUR, MINUTE
from tests.conftest import NOW

TWO_A_DAY = Cap(frozenset({"email", "push"}), 2, DAY)


@pytest.mark.parametrize(
    ("contacts", "channel", "frees"),
    [
        ([], "email", None),
        ([Contact(NOW - HOUR, "email")], "email", None),
        ([Contact(NOW - HOUR, "email"), Contact(NOW - 2 * HOUR, "push")], "email", NOW + 22 * HOUR),
        ([Contact(NOW - HOUR, "email"), Contact(NOW - 2 * HOUR, "push")], "sms", None),
        ([Contact(NOW - HOUR, "email"), Contact(NOW - 2 * HOUR, "sms")], "email", None),
        ([Contact(NOW - HOUR, "email"), Contact(NOW - DAY, "push")], "email", None),
        ([Contact(NOW - HOUR, "email"), Contact(NOW - DAY + 1, "push")], "email", NOW + 1),
        ([Contact(NOW - h * HOUR, "email") for h in (1, 2, 3)], "email", NOW + 22 * HOUR),
        ([Contact(NOW, "email", open=True), Contact(NOW - HOUR, "push")], "email", NOW + LOOK_AGAIN),
    ],
    ids=["none", "one", "two", "another channel", "of another", "left", "about to leave", "too many", "under way"],
)
def test_a_message_goes_when_so_few_are_left_in_the_window(
    contacts: list[Contact], channel: str, frees: int | None
) -> None:
    assert frees_at([TWO_A_DAY], contacts, channel, NOW) == frees


def test_of_several_caps_the_one_that_frees_last_counts() -> None:
    caps = [TWO_A_DAY, Cap(frozenset({"email"}), 1, HOUR)]
    contacts = [Contact(NOW - 30 * MINUTE, "email"), Contact(NOW - HOUR, "push")]

    assert frees_at(caps, contacts, "email", NOW) == NOW + 23 * HOUR
    assert frees_at(caps, contacts[:1], "email", NOW) == NOW + 30 * MINUTE


@given(
    caps=st.lists(
        st.builds(
            Cap,
            st.frozensets(st.sampled_from(["email", "push", "sms"]), min_size=1),
            st.integers(1, 4),
            st.sampled_from([HOUR, DAY]),
        ),
        min_size=1,
        max_size=3,
    ),
    wanted=st.lists(
        st.tuples(st.integers(0, 40 * HOUR), st.sampled_from(["email", "push", "sms"])), min_size=1, max_size=30
    ),
)
def test_no_window_holds_more_than_its_cap_and_everything_goes_in_the_end(
    caps: list[Cap], wanted: list[tuple[int, str]]
) -> None:
    sent: list[Contact] = []
    waiting = sorted((NOW + after, i, channel) for i, (after, channel) in enumerate(wanted))
    while waiting:
        now, i, channel = waiting.pop(0)
        until = frees_at(caps, sent, channel, now)
        if until is None:
            sent.append(Contact(now, channel))
        else:
            assert until > now
            waiting = sorted([*waiting, (until, i, channel)])

    assert len(sent) == len(wanted)
    for cap in caps:
        times = [one.at for one in sent if one.channel in cap.channels]
        assert all(later - earlier >= cap.per for earlier, later in zip(times, times[cap.most :], strict=False))
