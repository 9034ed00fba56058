"""What every test shares: a clean environment, a clock that stands still, and asyncio as the only event loop."""

from __future__ import annotations

import os

import pytest

from promocast.model import Instant, parse_rfc3339

NOW: Instant = parse_rfc3339("2026-11-24T10:00:00Z")


class StoppedClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, now: Instant = NOW) -> None:
        self.now = now

    def __call__(self) -> Instant:
        return self.now

    def advance(self, milliseconds: int) -> Instant:
        self.now += milliseconds
        return self.now


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PROMOCAST_") and name != "PROMOCAST_TEST_POSTGRES"]:
        monkeypatch.delenv(name)


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
