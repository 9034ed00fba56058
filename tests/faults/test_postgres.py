"""PostgreSQL restarted, crashed and away under load: nothing lost, no process restarted, and the API says 503."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from promocast.demo.world import World
from tests import postgres
from tests.conftest import fresh_database, without_postgresql
from tests.e2e.harness import Installation, eventually
from tests.faults.accounts import Account, Load, arrived, reckon, settle
from tests.faults.conftest import PATIENT, full, searched

AWAY_FOR = full(30, 5)
PROBLEM = "503 application/problem+json"


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL of this test's own: others' are not stopped."""
    try:
        with postgres.server() as running:
            yield running
    except LookupError as exc:
        without_postgresql(exc)


@contextmanager
def loaded(world: World, folder: Path, server: postgres.Server) -> Iterator[tuple[Installation, httpx.Client, Load]]:
    """promocast on that server, under a load that has reached the providers."""
    with (
        fresh_database(server.url) as url,
        searched(world, folder, PATIENT, url, [server.folder / "log"]) as up,
        up.client() as client,
        Load(client, world) as load,
    ):
        eventually("a load", lambda: arrived(world) > 200)
        yield up, client, load


def reckoned(up: Installation, world: World, load: Load, taken: int) -> Account:
    """Once all that was accepted is delivered: the account. `taken` is what had arrived when the server came back."""
    at = time.monotonic()
    eventually("messages again", lambda: arrived(world) > taken)
    first = time.monotonic() - at
    threading.Event().wait(1)
    load.end()
    settle(up)
    with up.ledger() as opened:
        account = reckon(world, opened, load.players)
    print(f"first message {first:.1f} s after its return; the API: {dict(load.answers)}; {account}")
    return account


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgresql_restarted_under_load(world: World, tmp_path: Path, server: postgres.Server, mode: str) -> None:
    """`fast` is an operator's restart; `immediate` is a crash, after which it recovers from its log."""
    with loaded(world, tmp_path, server) as (up, _, load):
        before = up.pids()
        server.stop(mode)
        server.start()
        account = reckoned(up, world, load, arrived(world))
        assert up.pids() == before, "no process needs a restart"
    assert set(load.answers) <= {"202 application/json", PROBLEM}
    assert account.wrong == []


@pytest.mark.timeout(120 + AWAY_FOR)
def test_postgresql_away_under_load(world: World, tmp_path: Path, server: postgres.Server) -> None:
    with loaded(world, tmp_path, server) as (up, client, load):
        before = up.pids()
        server.stop()
        threading.Event().wait(AWAY_FOR)
        ready = client.get("/readyz")
        taken = arrived(world)
        server.start()
        print(f"\naway for {AWAY_FOR} s")
        account = reckoned(up, world, load, taken)
        assert up.pids() == before, "no process needs a restart"
    assert (ready.status_code, ready.json()["reason"]) == (503, "ledger_unavailable")
    assert load.answers[PROBLEM] > 0
    assert set(load.answers) <= {"202 application/json", PROBLEM}
    assert account.wrong == []
    assert account.unknown == account.repeated == 0, "who sends waits for the ledger, and knows what it sent"
