from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promocast.demo.world import World
from tests.e2e import harness
from tests.e2e.harness import Installation


@pytest.fixture
def world() -> Iterator[World]:
    with harness.world() as made:
        yield made


@pytest.fixture
def up(world: World, tmp_path: Path) -> Iterator[Installation]:
    with harness.installed(world, tmp_path) as installation:
        yield installation
