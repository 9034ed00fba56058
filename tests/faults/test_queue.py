"""The queue lost, hanging, and away: the ledger is the book, and only what was never accepted is missing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from promocast.demo.world import World
from tests.e2e.harness import eventually
from tests.faults.accounts import Load, arrived, issue, job, recipients, reckon, settle
from tests.faults.conftest import FULL, LEDGERS, PATIENT, full, installed
from tests.faults.queues import enqueue, queue

PLAYERS = full(20_000, 600)
PART = full(500, 50)
JOBS = 40
HANGS_FOR = full(25, 4)


@pytest.mark.timeout(full(1200, 150))
@pytest.mark.parametrize("ledger", LEDGERS)
def test_flushall_in_the_middle_loses_nothing_that_was_accepted(
    world: World, tmp_path: Path, ledger: str, request: pytest.FixtureRequest
) -> None:
    with (
        queue(tmp_path / "own") as own,
        installed(world, tmp_path, ledger, request, PROMOCAST_QUEUE__URL=own.url, **PATIENT) as up,
        up.client() as client,
    ):
        for first in range(0, PLAYERS // 2, PART):
            issue(client, f"http-{first}", recipients(world, first, PART))
        queued = [job(f"queue-{first}", recipients(world, first, PART)) for first in range(PLAYERS // 2, PLAYERS, PART)]
        enqueue(own.url, queued)
        eventually("the middle", lambda: arrived(world) > PLAYERS)
        waiting = sum(int(own.client.llen(key)) for key in own.client.scan_iter("dramatiq:*", _type="list"))
        own.client.flushall()
        flushed_at, taken = time.monotonic(), arrived(world)

        told = {one["request_id"]: client.get(f"/v1/requests/{one['request_id']}").status_code for one in queued}
        missing = [one for one in queued if told[one["request_id"]] == 404]
        accepted = PLAYERS - PART * len(missing)
        settle(up, full(900, 100))
        with up.ledger() as opened:
            account = reckon(world, opened, accepted)
        print(
            f"\n{ledger}: flushed {waiting} messages when {taken} of {6 * PLAYERS} had arrived; {accepted} accepted "
            f"players delivered {time.monotonic() - flushed_at:.1f} s after; {len(missing)} jobs missing; {account}"
        )
        assert set(told.values()) <= {200, 404}
        assert account.wrong == []
        if not FULL:  # of a hundred thousand sends some outlast these short timeouts, and are recorded as such
            assert account.unknown == account.repeated == 0, "a doorbell that falls off makes nothing uncertain"

        enqueue(own.url, missing)  # what is reported missing is sent again
        settle_all = [one["request_id"] for one in missing]
        eventually("accepted", lambda: all(client.get(f"/v1/requests/{r}").status_code == 200 for r in settle_all))
        settle(up, full(900, 100))
        with up.ledger() as opened:
            assert reckon(world, opened, PLAYERS).wrong == []


@pytest.mark.timeout(90)
def test_jobs_that_lived_in_the_queue_only_are_reported_missing(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with (
        queue(tmp_path / "own") as own,
        installed(world, tmp_path, "sqlite", request, PROMOCAST_QUEUE__URL=own.url, **PATIENT) as up,
        up.client() as client,
    ):
        worker = up.pid_of("worker", "issue")
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        jobs = [job(f"queue-{i}", recipients(world, 10 * i, 10)) for i in range(JOBS)]
        enqueue(own.url, jobs)
        issue(client, "http", recipients(world, 10 * JOBS, 10))
        own.client.flushall()
        os.kill(worker, signal.SIGCONT)

        eventually("what was accepted is issued", lambda: client.get("/v1/requests/http").json()["issued"] == 10)
        settle(up)
        told = Counter(client.get(f"/v1/requests/{one['request_id']}").status_code for one in jobs)
        problem = client.get("/v1/requests/queue-0")
        with up.ledger() as opened:
            account = reckon(world, opened, 10)
    print(f"\n{JOBS} jobs in the queue only: {dict(told)}; {account}")
    assert told == {404: JOBS}
    assert (problem.headers["content-type"], problem.json()["reason"]) == (
        "application/problem+json",
        "unknown_request",
    )
    assert account.wrong == []


@pytest.mark.timeout(150)
def test_a_queue_that_hangs_under_load(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with (
        queue(tmp_path / "own") as own,
        installed(world, tmp_path, "sqlite", request, PROMOCAST_QUEUE__URL=own.url, **PATIENT) as up,
        up.client() as client,
    ):
        before = up.pids()
        with Load(client, world) as load:
            eventually("a load", lambda: arrived(world) > 100)
            with own.hanging():
                threading.Event().wait(HANGS_FOR)
            begun, at = arrived(world), time.monotonic()
            eventually("it goes on", lambda: arrived(world) > begun + 100)
            again = time.monotonic() - at
        settle(up)
        with up.ledger() as opened:
            account = reckon(world, opened, load.players)
        print(f"\n{HANGS_FOR} s; sending again after {again:.1f} s; the API: {dict(load.answers)}; {account}")
        assert up.pids() == before
        assert own.booked() == {}
    assert set(load.answers) <= {"202 application/json", "ReadTimeout"}
    assert account.wrong == []
    assert account.unknown == account.repeated == 0


@pytest.mark.timeout(150)
def test_a_queue_that_is_away_leaves_the_api_accepting(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with (
        queue(tmp_path / "own") as own,
        installed(world, tmp_path, "postgresql", request, PROMOCAST_QUEUE__URL=own.url, **PATIENT) as up,
        up.client() as client,
    ):
        before = up.pids()
        own.stop()
        with Load(client, world) as load:
            eventually("requests accepted", lambda: len(load.requests) >= 10)
        ready = client.get("/readyz")
        taken = arrived(world)
        own.start()
        at = time.monotonic()
        eventually("the first message", lambda: arrived(world) > taken)
        first = time.monotonic() - at
        settle(up)
        with up.ledger() as opened:
            account = reckon(world, opened, load.players)
        assert up.pids() == before
    print(f"\nthe API: {dict(load.answers)}; first message {first:.1f} s after the queue's return; {account}")
    assert dict(load.answers) == {"202 application/json": len(load.requests)}
    assert (ready.status_code, ready.json()["reason"]) == (503, "queue_unavailable")
    assert account.wrong == []
    assert account.unknown == account.repeated == 0
