"""kill -9 at random moments of API, workers, sweeper and queue: nothing lost, no second code, no unrecorded repeat."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from promocast.demo.world import World
from tests.e2e.harness import Installation, eventually
from tests.faults.accounts import issue, recipients, reckon, settle
from tests.faults.conftest import ROUNDS, installed

PLAYERS = 167  # on six channels: a thousand deliveries a round
KILLS = 6
VICTIMS = (("api",), ("worker", "issue"), ("worker", "deliver"), ("worker", "deliver"), ("sweeper",), ("queue",))
# How often the rounds are reckoned up. In between they follow each other, so that kills hit the mending as well.
RECKONED_EVERY = 3


def kill_one(up: Installation, chance: random.Random) -> str:
    """Kill a process that lives, and say which; between its death and its next life another one has its turn."""

    def alive() -> dict[str, int]:
        pids = {" ".join(words): up.queue_pid() if words == ("queue",) else up.pid_of(*words) for words in VICTIMS}
        return {name: pid for name, pid in pids.items() if pid is not None}

    names = [" ".join(words) for words in VICTIMS]
    living = eventually("a process to kill", alive, 40)
    victim = chance.choice([name for name in names if name in living])
    os.kill(living[victim], signal.SIGKILL)
    return victim


def kill_some(up: Installation, chance: random.Random, killed: list[str]) -> None:
    for _ in range(KILLS):
        threading.Event().wait(chance.uniform(0.1, 0.9))
        with contextlib.suppress(ProcessLookupError):  # it has died of another kill in between
            killed.append(kill_one(up, chance))


@pytest.mark.timeout(120 + 90 * ROUNDS)
@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_processes_killed_at_random_moments(
    world: World, tmp_path: Path, ledger: str, chance: random.Random, request: pytest.FixtureRequest
) -> None:
    with installed(world, tmp_path, ledger, request) as up, up.client() as client:
        for round_ in range(1, ROUNDS + 1):
            killed: list[str] = []
            killer = threading.Thread(target=kill_some, args=(up, chance, killed))
            killer.start()
            issue(client, f"round-{round_}", recipients(world, (round_ - 1) * PLAYERS, PLAYERS))
            killer.join()
            print(f"{ledger} round {round_}: killed {dict(Counter(killed))}")
            assert len(killed) >= KILLS // 2, "a round in which nothing died shows nothing"
            if round_ % RECKONED_EVERY and round_ < ROUNDS:
                continue
            settle(up)
            with up.ledger() as opened:
                account = reckon(world, opened, round_ * PLAYERS)
            print(f"{ledger} after {round_} rounds: {account}")
            assert account.wrong == []
            if round_ < ROUNDS:  # the pauses before its next starts have grown with each death: they begin anew
                up.stop()
                up.start()
        assert up.run("ledger", "verify").stdout.startswith("every invariant holds; ")
