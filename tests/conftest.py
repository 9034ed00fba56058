"""What every test shares: a clean environment, a clock that stands still, and asyncio as the only event loop."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from psycopg import sql

from promocast import valkey
from promocast.demo.world import free_port
from promocast.ledger import Ledger, migrate, schema
from promocast.model import Instant, parse_rfc3339
from promocast.settings import QueueSettings, Settings
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


def without_postgresql(exc: LookupError) -> NoReturn:
    """Skip what needs a PostgreSQL that is not there; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"PostgreSQL is missing: {exc}")
    pytest.skip(f"PostgreSQL is missing: {exc}")


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
        without_postgresql(exc)


@pytest.fixture(scope="session")
def queue_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey of the tests' own."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("queue"), queue=QueueSettings(port=free_port()))
    process = subprocess.Popen(valkey.prepare(settings, os.urandom), stdout=subprocess.DEVNULL)
    try:
        valkey.wait_until_ready(settings, process)
        yield valkey.queue_url(settings)
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind: of this release and without rows for a test that asks for `ledger`, else empty."""
    migrated = "ledger" in request.fixturenames
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite3"
        if migrated:
            shutil.copyfile(request.getfixturevalue("_migrated_sqlite"), path)
        yield f"sqlite:///{path}"
    elif migrated:
        url = request.getfixturevalue("_migrated_postgres")
        _delete_all_rows(url)
        yield url
    else:
        with fresh_database(request.getfixturevalue("postgres_url")) as url:
            yield url


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to copy: quicker than migrating anew."""
    path = tmp_path_factory.mktemp("migrated") / "ledger.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _migrated_postgres(postgres_url: str) -> Iterator[str]:
    """A database that tests use one after the other: to create one takes longer than most of them."""
    with fresh_database(postgres_url) as url:
        _migrate(url)
        yield url


def _migrate(url: str) -> None:
    made = Ledger(url)
    migrate.upgrade(made, os.urandom, NOW)
    made.close()


def _delete_all_rows(url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as conn:
        for table in reversed(schema.metadata.sorted_tables):
            if table is not schema.ledger:
                conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))


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
    yield made
    made.close()
