"""A provider that asks the whole account to wait, while two processes send on it."""

from __future__ import annotations

import json
import subprocess
import sys
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

SENDS, RATE, WAIT = 500, 100, 4
# What two processes have under way at most: their slots. A machine that stutters sends them all at one moment.
UNDER_WAY = 2 * 25


@contextmanager
def second_worker(up: Installation) -> Iterator[None]:
    command = [sys.executable, "-m", "promocast", "--config", str(up.config), "worker", "deliver"]
    process = subprocess.Popen(command, env=up.environment)
    try:
        yield
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
    rate = {"PROMOCAST_CHANNELS__TELEGRAM__RATE": str(RATE)}
    with installed(world, tmp_path, "sqlite", request, **rate) as up, up.client() as client, second_worker(up):
        issue(client, "limits", recipients(world, 0, SENDS))
        eventually("all sent", lambda: len(world.telegram.messages) >= SENDS, 60)
        settle(up)
        with up.ledger() as ledger, ledger.read() as conn:
            telegrams = select(deliveries.c.state, deliveries.c.attempts).where(deliveries.c.channel == "telegram")
            ended = {tuple(row) for row in conn.execute(telegrams)}

    at = sorted(asked.at for asked in world.telegram.requests)
    fullest = max(sum(begin <= moment < begin + 1 for moment in at) for begin in at)
    late = [asked for asked in refused if asked.at > refused[0].at + WAIT / 2]
    print(f"{len(at)} requests, {len(refused)} refused, {fullest} in the fullest second of {RATE} allowed")
    assert ended == {("sent", 1)}, "no attempt was counted"
    assert len(world.telegram.messages) == SENDS
    assert late == [], "once the hold was known nobody sent"
    assert len(refused) <= 2 * UNDER_WAY
    assert fullest <= RATE + UNDER_WAY
