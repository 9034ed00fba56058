"""The exclusion service away: nobody is sent to; when it returns, all that is still of use is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from promocast.demo.world import World
from promocast.ledger.schema import codes, deliveries
from promocast.standins.base import Reply
from promocast.standins.exclusion import ExclusionRegister
from tests.e2e.harness import eventually
from tests.faults.accounts import arrived, issue, recipients, settle
from tests.faults.conftest import full, installed
from tests.flows.desk import running_loop

PLAYERS = full(1_000, 100)
AWAY_FOR = full(30, 3)


@pytest.mark.timeout(full(300, 90))
def test_the_exclusion_service_away_under_load(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    register = ExclusionRegister("of-the-register")
    register.script = lambda _: Reply(503)
    register.excluded = {f"p{i}" for i in range(0, PLAYERS, 10)}
    with running_loop() as loop:
        asyncio.run_coroutine_threadsafe(register.start(), loop).result(10)
        told = {
            "PROMOCAST_EXCLUSION__URL": f"{register.url}/excluded",
            "PROMOCAST_EXCLUSION__TOKEN": "of-the-register",
            "PROMOCAST_EXCLUSION__CACHE": "2s",
        }
        with installed(world, tmp_path, "sqlite", request, **told) as up, up.client() as client:
            issue(client, "away", recipients(world, 0, PLAYERS))
            eventually("every call made", lambda: len(world.crm.bodies) >= PLAYERS)
            until = time.monotonic() + AWAY_FOR
            eventually("the outage over", lambda: time.monotonic() > until)
            while_away, asked = arrived(world) - len(world.crm.bodies), len(register.requests)

            register.script = None
            at = time.monotonic()
            eventually("the first message", lambda: arrived(world) > len(world.crm.bodies))
            first = time.monotonic() - at
            settle(up)
            with up.ledger() as opened, opened.read() as conn:
                joined = deliveries.join(codes, codes.c.id == deliveries.c.code_id)
                columns = (codes.c.player_id, deliveries.c.state, deliveries.c.reason, deliveries.c.attempts)
                found = select(*columns).select_from(joined).where(deliveries.c.channel != "call")
                rows = conn.execute(found).all()
        asyncio.run_coroutine_threadsafe(register.stop(), loop).result(10)
    print(
        f"\n{while_away} messages while it was away for {AWAY_FOR} s, asked {asked} times; "
        f"the first {first:.1f} s after its return; {len(rows)} messages in all"
    )
    assert while_away == 0
    assert len(rows) == 5 * PLAYERS
    assert {(row.state, row.reason) for row in rows if row.player_id in register.excluded} == {
        ("skipped", "player_excluded")
    }
    assert {(row.state, row.attempts) for row in rows if row.player_id not in register.excluded} == {("sent", 1)}
    assert first < 5
