"""A sweeper killed while a second one runs, with the bell silent: every part is issued and sent, none of it twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from promocast.demo.world import World
from tests.e2e.harness import eventually
from tests.faults.accounts import arrived, issue, recipients, reckon, settle
from tests.faults.conftest import installed

PLAYERS = 100
KILLS = 3


@pytest.mark.timeout(120)
def test_a_sweeper_killed_while_a_second_one_runs(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with installed(world, tmp_path, "postgresql", request) as up, up.client() as client, up.beside("sweeper") as second:
        for kill in range(KILLS):
            issue(client, f"sweepers-{kill}", recipients(world, kill * PLAYERS, PLAYERS))
            taken = arrived(world)
            # With its sender goes all that was rung for: from here on only sweepers know of it.
            for words in (("worker", "deliver"), ("sweeper",)):
                pid = eventually(f"{words[-1]} up", lambda words=words: up.pid_of(*words))  # type: ignore[misc]
                os.kill(pid, signal.SIGKILL)
            eventually("it goes on", lambda taken=taken: arrived(world) > taken + PLAYERS)  # type: ignore[misc]
        assert second.poll() is None
        settle(up)
        with up.ledger() as opened:
            account = reckon(world, opened, KILLS * PLAYERS)
    print(f"\n{KILLS} sweepers killed beside a second one: {account}")
    assert account.wrong == []
