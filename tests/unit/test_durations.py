"""Durations: read as people write them, and written as they are read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promocast.model import duration, parse_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("0s", 0), ("7d", 604_800_000), ("1h 30m", 5_400_000), ("1s 1ms", 1_001)]
)
def test_a_duration_is_written_by_its_units(text: str, milliseconds: int) -> None:
    assert duration(milliseconds) == text


@given(st.integers(0, 10**13))
def test_what_is_written_is_read_as_the_same(milliseconds: int) -> None:
    assert parse_duration(duration(milliseconds)) == milliseconds
