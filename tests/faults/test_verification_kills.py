"""kill -9 of verification workers and sweepers during deposits: each deposit has one verdict, and the books balance."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from promocast import jobs
from promocast.bell import Bell
from promocast.broker import WaitingBroker
from promocast.demo.world import World, free_port
from promocast.flows import tell
from promocast.ledger import Ledger
from promocast.model import system_clock
from tests.conftest import fresh_database
from tests.e2e.harness import Installation, eventually
from tests.faults import logs
from tests.faults.conftest import FULL, SHORT_LEASES, full, with_password
from tests.faults.deposits import FUNDED, OWN, Message, books, issued, told, unjudged
from tests.faults.queues import enqueue_deposits, queue

DEPOSITS = full(20_000, 2_000)
ROUNDS = full(5, 1)
KILLS = full(6, 2)
# How the lists are told: recorded and rung for, as the API does; recorded, and the ring lost, so that the sweeper has
# to find them; or through the queue. What a dead worker had fetched there comes back when it has not been heard of for
# 15 s: at full size only.
WAYS = full(3, 2)
# Deposits are told no faster than they are judged, so that what undoes some comes when they have redeemed their codes.
AHEAD = full(1_500, 300)

WORKERS = ("verify-1", "verify-2")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(WORKERS, ("worker", "verify")),
    "sweeper": ("sweeper",),
}


class Crew:
    """Two verification workers and a sweeper, each of which can be killed and has a successor at once."""

    def __init__(self, at: Installation) -> None:
        self._at = at
        self._alive = {name: self._start(name) for name in COMMANDS}
        self.killed: Counter[str] = Counter()

    def kill(self, name: str) -> None:
        victim = self._alive[name]
        assert victim.poll() is None, f"{name} has ended by itself"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self.killed[name] += 1
        self._alive[name] = self._start(name)

    def stop(self) -> None:
        for process in self._alive.values():
            process.terminate()
        for process in self._alive.values():
            process.wait(20)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "promocast", "--config", str(self._at.config), *COMMANDS[name]]
        with self._at.log.with_name(f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, env=self._at.environment)


@contextmanager
def crew(world: World, folder: Path, ledger_url: str | None, queue_url: str) -> Iterator[tuple[Crew, Ledger]]:
    """The processes, at work on a ledger that is up to date; their logs are searched at the end."""
    settings = SHORT_LEASES | {"PROMOCAST_QUEUE__URL": queue_url, "PROMOCAST_METRICS__PORT": "0"}
    if ledger_url:
        settings["PROMOCAST_LEDGER__URL"] = with_password(ledger_url)
    at = Installation(world.write_config(folder, free_port()), settings)
    at.run("ledger", "upgrade")
    with at.ledger() as ledger:
        made = Crew(at)
        try:
            yield made, ledger
        finally:
            made.stop()
    logs.search(at, world)


def tell_all(
    made: Crew, ledger: Ledger, queue_url: str, lists: list[list[Message]], chance: random.Random
) -> list[int]:
    """Tell the lists, and kill at random moments in between; how many deposits were open at each kill."""
    broker = WaitingBroker(queue_url)
    bell = Bell(broker)
    moments = set(chance.sample(range(len(lists) // 20, len(lists)), KILLS))
    open_at: list[int] = []
    for i, messages in enumerate(lists):
        if i % WAYS == 2:
            enqueue_deposits(queue_url, [messages])
        else:
            changed = tell.record(ledger, [jobs.read_deposit(message) for message in messages], system_clock())
            if i % WAYS == 0:
                bell.ring(jobs.VERIFY, changed)
        if i in moments:
            eventually("work to die at", lambda: unjudged(ledger) > 0)
            threading.Event().wait(chance.uniform(0, 0.1))
            made.kill(chance.choice(WORKERS if len(open_at) % 3 < 2 else [*COMMANDS]))
            open_at.append(unjudged(ledger))
        eventually("deposits judged", lambda: unjudged(ledger) <= AHEAD, full(300, 60))
    broker.close()
    return open_at


@pytest.mark.timeout(full(2400, 120))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_verification_killed_at_random_moments(
    world: World, tmp_path: Path, kind: str, chance: random.Random, request: pytest.FixtureRequest
) -> None:
    database = fresh_database(request.getfixturevalue("postgres_url")) if kind == "postgresql" else nullcontext(None)
    with queue(tmp_path / "own") as own, database as url, crew(world, tmp_path, url, own.url) as (made, ledger):
        for number in range(1, ROUNDS + 1):
            name = f"round{number}"
            quoted = issued(ledger, name, int(DEPOSITS * OWN))
            lists = told(name, quoted, DEPOSITS, chance)
            made.killed.clear()
            started = time.monotonic()
            open_at = tell_all(made, ledger, own.url, lists, chance)
            # The queue first: where deposits are told by it, what it still has may open one again.
            eventually(
                "every verdict",
                lambda: (not FULL or own.messages(jobs.VERIFY) == 0) and unjudged(ledger) == 0,
                full(400, 60),
            )
            seconds, account = time.monotonic() - started, books(ledger, name)
            told_as = f"{DEPOSITS} deposits in {sum(map(len, lists))} messages, {seconds:.1f} s"
            print(f"{kind} round {number}: {told_as}; killed {dict(made.killed)} with {open_at} open")
            print(f"{kind} round {number}: {account}")
            assert sum(made.killed.values()) == KILLS
            assert account.wrong == []
            assert sum(account.results.values()) == DEPOSITS
            assert set(account.results) == {"accepted", "refused", "rolled_back"}
            assert account.accepted == account.active == account.on_codes == account.spent <= FUNDED * len(quoted)
            assert account.ever == account.redeemed == account.called > account.active
