"""A provider that asks the whole account to wait, while two processes send on it and one is stopped for a while."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from promocast.demo.world import World
from promocast.ledger.schema import deliveries
from promocast.standins.base import Fault, Received, Reply
from tests.e2e.harness import Installation, eventually
from tests.faults.accounts import issue, recipients, settle
from tests.faults.conftest import installed
from tests.meter import meter

SENDS, RATE, WAIT = 500, 100, 4
# What two processes have under way at most: their slots.
UNDER_WAY = 2 * 25
STOPPED = 0.6  # seconds


@contextmanager
def second_worker(up: Installation) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "promocast", "--config", str(up.config), "worker", "deliver"]
    process = subprocess.Popen(command, env=up.environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


@pytest.mark.timeout(180)
def test_a_429_holds_the_account_of_two_processes_and_costs_no_attempt(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    refused: list[Received] = []

    def script(asked: Received) -> Reply | Fault | None:
        """Once, in the middle: everything is refused until somebody has waited."""
        if len(world.telegram.messages) < SENDS // 2 or (refused and asked.at > refused[0].at + WAIT - 0.1):
            return None
        refused.append(asked)
        told = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": WAIT}}
        return Reply(429, json.dumps(told).encode(), {"content-type": "application/json"})

    world.telegram.script = script
    with meter(world.telegram.port) as measured:
        telegram = {
            "PROMOCAST_CHANNELS__TELEGRAM__RATE": str(RATE),
            "PROMOCAST_CHANNELS__TELEGRAM__BASE_URL": f"{measured.url}/bot",
        }
        with (
            installed(world, tmp_path, "sqlite", request, **telegram) as up,
            up.client() as client,
            second_worker(up) as second,
        ):
            issue(client, "limits", recipients(world, 0, SENDS))
            eventually("the pace is reached", lambda: len(world.telegram.messages) >= SENDS // 4)
            second.send_signal(signal.SIGSTOP)
            threading.Event().wait(STOPPED)
            second.send_signal(signal.SIGCONT)
            eventually("all sent", lambda: len(world.telegram.messages) >= SENDS, 60)
            settle(up)
            with up.ledger() as ledger, ledger.read() as conn:
                telegrams = select(deliveries.c.state, deliveries.c.attempts).where(deliveries.c.channel == "telegram")
                ended = Counter(tuple(row) for row in conn.execute(telegrams))

    fullest = measured.fullest_second
    late = [asked for asked in refused if asked.at > refused[0].at + WAIT / 2]
    print(f"{len(measured.at)} requests, {len(refused)} refused, {fullest} in the fullest second of {RATE} allowed")
    assert ended == {("sent", 1): SENDS}, "no attempt was counted"
    assert len(world.telegram.messages) == SENDS
    assert late == [], "once the hold was known nobody sent"
    assert len(refused) <= 2 * UNDER_WAY
    assert fullest <= RATE
