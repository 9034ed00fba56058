"""The product and the slow reference agree on every verdict, and on all that is kept of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promocast.ledger import Ledger
from tests.conftest import StoppedClock
from tests.reference.conftest import emptied, profile
from tests.reference.play import Play
from tests.reference.stories import THEMES, stories
from tests.reference.table import Table


@pytest.mark.parametrize("theme", THEMES)
@given(data=st.data())
@profile(15, 1 / len(THEMES))
def test_a_random_story_ends_alike_on_sqlite(sqlite_ledger: Ledger, theme: str, data: st.DataObject) -> None:
    Play(Table(emptied(sqlite_ledger), StoppedClock())).run(*data.draw(stories(THEMES[theme])))


@pytest.mark.parametrize("theme", THEMES)
@given(data=st.data())
@profile(2, 0.05 / len(THEMES))
def test_a_random_story_ends_alike_on_postgresql(postgres_ledger: Ledger, theme: str, data: st.DataObject) -> None:
    Play(Table(emptied(postgres_ledger), StoppedClock())).run(*data.draw(stories(THEMES[theme])))
