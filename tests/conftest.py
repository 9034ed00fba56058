"""What every test shares: a clean environment, a clock that stands still, and asyncio as the only event loop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from promocast.ledger import Ledger, migrate
from promocast.model import Instant, parse_rfc3339
from tests import postgres

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


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server: the one that is given, else a private one. Without any: skipped here, a failure in CI."""
    given = os.environ.get("PROMOCAST_TEST_POSTGRES")
    if given:
        yield given
        return
    try:
        with postgres.server() as running:
            yield running.url
    except LookupError as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(f"PostgreSQL is missing: {exc}")
        pytest.skip(f"PostgreSQL is missing: {exc}")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
        return
    with fresh_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """A database of its own on the server, dropped afterwards; its SQLAlchemy URL."""
    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    base, _, _ = server_url.rpartition("/")
    try:
        yield f"{base}/{name}".replace("postgresql://", "postgresql+psycopg://")
    finally:
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger of this release, empty; on SQLite and on PostgreSQL."""
    made = Ledger(ledger_url)
    migrate.upgrade(made, os.urandom, NOW)
    yield made
    made.close()
