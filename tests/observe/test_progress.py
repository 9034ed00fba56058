"""Alive is who comes round: a loop that hangs is found, one that waits for a server that is away is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from promocast import progress
from promocast.api.app import create
from promocast.broker import WaitingBroker
from promocast.cli.watching import health_of
from promocast.errors import LedgerUnavailable
from promocast.jobs import ISSUE
from promocast.progress import JOB_WITHIN, WITHIN, Progress
from promocast.runtime import Runtime
from promocast.settings import LedgerSettings, QueueSettings, Settings
from promocast.workers import sweep

NOWHERE = "redis://127.0.0.1:1/0"


class Hand:
    """A clock that a test moves, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hand() -> Hand:
    return Hand()


def within(seconds: float, look: Callable[[], Any]) -> Any:
    """The first answer of `look` that is true; for what another thread does in its own time."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if found := look():
            return found
        pause.wait(0.01)
    raise AssertionError(f"waited {seconds} s")


@contextmanager
def thread(target: Callable[[], object]) -> Iterator[threading.Thread]:
    running = threading.Thread(target=target, daemon=True)
    running.start()
    yield running
    running.join(10)
    assert not running.is_alive()


def test_a_loop_that_comes_round_is_alive_and_one_that_does_not_is_named(hand: Hand) -> None:
    found = Progress(hand)
    found.begin("sweeper", 10)

    hand.advance(10)
    assert found.stuck() == {}
    hand.advance(1)
    assert found.stuck() == {"sweeper": 11.0}
    progress.beat()
    assert found.stuck() == {}
    hand.advance(11)
    found.end()
    assert found.stuck() == {}, "what has ended proves nothing more"


def test_of_many_loops_each_proves_itself(hand: Hand) -> None:
    found, go_on, began = Progress(hand), threading.Event(), threading.Event()

    def other() -> None:
        with found.watched("watch", 10):
            began.set()
            go_on.wait(10)

    found.begin("sweeper", 10)
    with thread(other):
        assert began.wait(10)
        hand.advance(11)
        progress.beat()
        assert found.stuck() == {"watch": 11.0}, "the beat of one thread is not another's"
        go_on.set()
    assert found.stuck() == {}
    found.end()


def test_a_loop_that_died_of_an_exception_grows_old(hand: Hand) -> None:
    found = Progress(hand)

    def dies() -> None:
        with pytest.raises(RuntimeError), found.watched("watch", 10):
            raise RuntimeError

    with thread(dies):
        pass
    hand.advance(11)

    assert found.stuck() == {"watch": 11.0}


def test_a_beat_where_nothing_is_to_be_proven_does_nothing(hand: Hand) -> None:
    found = Progress(hand)

    progress.beat()

    assert found._pulses == []


def test_an_event_loop_that_is_blocked_is_found_and_one_that_turns_again_is_alive(hand: Hand) -> None:
    found, loop = Progress(hand), asyncio.new_event_loop()
    blocked, go_on = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        go_on.wait(30)

    with thread(loop.run_forever):
        turning = asyncio.run_coroutine_threadsafe(found.keep_turning("adapters' event loop"), loop)
        within(5, lambda: found._pulses)
        loop.call_soon_threadsafe(block)
        assert blocked.wait(10)
        hand.advance(WITHIN + 1)
        assert found.stuck() == {"adapters' event loop": WITHIN + 1}
        go_on.set()
        within(10, lambda: found.stuck() == {})
        turning.cancel()
        within(5, lambda: not found._pulses)
        loop.call_soon_threadsafe(loop.stop)
    loop.close()


# The processes' own loops.


@pytest.fixture
def runtime(tmp_path: Path, queue_url: str, hand: Hand) -> Iterator[Runtime]:
    """Over a ledger that is away, and a queue that answers."""
    nowhere = LedgerSettings(url=SecretStr("postgresql://promocast@127.0.0.1:1/promocast"))
    made = Runtime(Settings(data_dir=tmp_path, ledger=nowhere, queue=QueueSettings(url=SecretStr(queue_url))))
    made.progress = Progress(hand)
    yield made
    made.close()


def test_a_sweeper_whose_ledger_is_away_is_alive(runtime: Runtime, hand: Hand) -> None:
    with thread(lambda: sweep.run(runtime)):
        within(5, lambda: runtime.progress._pulses)
        for _ in range(3):
            hand.advance(WITHIN + 1)
            within(10, lambda: health_of(runtime, "sweeper") == {"alive": True, "process": "sweeper", "stuck": {}})
        runtime.stopping.set()


def test_a_sweeper_that_hangs_in_a_pass_is_not(runtime: Runtime, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, go_on = threading.Event(), threading.Event()

    def hang(_: Runtime) -> Any:
        hangs.set()
        go_on.wait(30)
        raise LedgerUnavailable("gone")

    monkeypatch.setattr(sweep, "_pass", hang)
    with thread(lambda: sweep.run(runtime)):
        assert hangs.wait(10)
        hand.advance(2 * WITHIN)
        health = health_of(runtime, "sweeper")
        runtime.stopping.set()
        go_on.set()

    assert health == {"alive": False, "process": "sweeper", "stuck": {"sweeper": 2 * WITHIN}}


def test_an_actor_that_waits_for_the_ledger_is_alive(runtime: Runtime, hand: Hand) -> None:
    tried = threading.Semaphore(0)

    def away() -> None:
        tried.release()
        raise LedgerUnavailable("away")

    def work() -> None:
        runtime.progress.begin("actor issue_codes", JOB_WITHIN)
        with pytest.raises(LedgerUnavailable):
            runtime.once_ledger_answers(away)
        runtime.progress.end()

    with thread(work):
        assert tried.acquire(timeout=10)
        hand.advance(JOB_WITHIN + 1)
        within(10, lambda: runtime.progress.stuck() == {})
        runtime.stopping.set()


def both_began(found: Progress) -> bool:
    return len(found._pulses) == 2  # of its queue, and of that of what is delayed


def nobody_is_stuck(found: Progress) -> bool:
    return found.stuck() == {}


def test_a_consumer_is_alive_while_its_queue_is_empty_and_while_it_is_away(queue_url: str, hand: Hand) -> None:
    from dramatiq import Worker

    for url in (queue_url, NOWHERE):
        found = Progress(hand)
        broker = WaitingBroker(url, progress=found)
        broker.declare_queue(ISSUE)
        worker = Worker(broker, queues={ISSUE}, worker_threads=1, worker_timeout=100)
        worker.start()
        within(10, partial(both_began, found))
        hand.advance(WITHIN + 1)
        within(20, partial(nobody_is_stuck, found))
        worker.stop()
        broker.close()


def test_an_actor_that_hangs_is_found_and_one_that_fails_is_not_stuck(queue_url: str, hand: Hand) -> None:
    import dramatiq
    from dramatiq import Worker

    found, began, go_on = Progress(hand), threading.Event(), threading.Event()
    broker = WaitingBroker(queue_url, progress=found)

    @dramatiq.actor(broker=broker, queue_name="hanging", max_retries=0)
    def hangs() -> None:
        began.set()
        go_on.wait(30)
        raise RuntimeError

    worker = Worker(broker, queues={"hanging"}, worker_threads=1, worker_timeout=100)
    worker.start()
    hangs.send()
    assert began.wait(10)
    hand.advance(JOB_WITHIN + 1)
    within(10, lambda: found.stuck() == {"actor hangs": JOB_WITHIN + 1})
    go_on.set()
    within(10, lambda: found.stuck() == {})
    worker.stop()
    broker.flush("hanging")
    broker.close()


def test_the_api_is_alive_while_its_ledger_is_away_and_not_when_a_loop_hangs(runtime: Runtime, hand: Hand) -> None:
    server = uvicorn.Server(uvicorn.Config(create(runtime), host="127.0.0.1", port=0, log_config=None))
    with thread(server.run):
        within(20, lambda: server.started)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/healthz"
        alive = httpx.get(url, trust_env=False)
        runtime.progress.begin("watch", 10)
        hand.advance(11)
        stuck = httpx.get(url, trust_env=False)
        runtime.progress.end()
        server.should_exit = True

    assert (alive.status_code, alive.json()["alive"]) == (200, True)
    assert (stuck.status_code, stuck.json()["stuck"]) == (503, {"watch": 11.0})
