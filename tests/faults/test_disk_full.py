"""No room for the ledger: requests are refused with 503 and not half recorded; when there is room again all goes on."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from promocast.demo.world import World
from tests.e2e.harness import Installation, eventually
from tests.faults.accounts import Load, arrived, reckon, settle
from tests.faults.conftest import installed

PROBLEM = "503 application/problem+json"


def limit_files(up: Installation, octets: int) -> None:
    """Let none of its processes write past so many octets of any file: as a full disk does, and it needs no disk."""
    for pid in up.pids().values():
        assert pid is not None
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (octets, most))


@pytest.mark.timeout(120)
def test_no_room_for_the_ledger(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with installed(world, tmp_path, "sqlite", request) as up, up.client() as client, Load(client, world) as load:
        before = up.pids()
        eventually("a load", lambda: arrived(world) > 200)
        limit_files(up, 4096)
        eventually("requests refused", lambda: load.answers[PROBLEM] >= 20)
        ready, taken, accepted = client.get("/healthz"), arrived(world), len(load.requests)
        limit_files(up, resource.RLIM_INFINITY)
        eventually("requests accepted", lambda: len(load.requests) > accepted + 3)
        load.end()
        settle(up)
        with up.ledger() as opened:
            account = reckon(world, opened, load.players)
        assert up.pids() == before, "no process needs a restart"
        assert up.run("ledger", "verify").stdout.startswith("every invariant holds; ")
    print(f"\n{taken} messages when it was full; the API: {dict(load.answers)}; {account}")
    assert ready.status_code == 200
    assert set(load.answers) <= {"202 application/json", PROBLEM}
    assert account.wrong == []
