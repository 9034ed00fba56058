"""A sender that is frozen past its leases, and then goes on: its late outcomes close nothing a second time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import select

from promocast.demo.world import World
from promocast.ledger.schema import attempts, deliveries
from tests.e2e.harness import eventually
from tests.faults.accounts import arrived, issue, recipients, reckon, settle
from tests.faults.conftest import installed

PLAYERS = 300


@pytest.mark.timeout(150)
def test_a_worker_frozen_past_its_leases_and_continued(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # On SQLite a writer that is frozen while it holds the file's lock would freeze everybody: the file is the server.
    # PostgreSQL ends its transaction; here after three seconds.
    options = "-c idle_in_transaction_session_timeout=3000"
    with installed(world, tmp_path, "postgresql", request, PGOPTIONS=options) as up, up.client() as client:
        issue(client, "frozen", recipients(world, 0, PLAYERS))
        eventually("messages under way", lambda: arrived(world) > PLAYERS)
        frozen = up.pid_of("worker", "deliver")
        assert frozen is not None
        os.kill(frozen, signal.SIGSTOP)
        with up.ledger() as opened, opened.read() as conn:
            d = deliveries.c
            held = list(conn.execute(select(d.id).where(d.state == "sending")).scalars())
            leases = conn.execute(select(d.due_at).where(d.id.in_(held))).scalars().all()
        try:
            with up.beside("worker", "deliver"):

                def ended() -> bool:
                    with up.ledger() as opened, opened.read() as conn:
                        still = select(d.id).where(d.id.in_(held), d.state == "sending")
                        return conn.execute(still.limit(1)).first() is None

                eventually(f"{len(leases)} leases ended", ended, 40)
                os.kill(frozen, signal.SIGCONT)
                settle(up)
        finally:
            os.kill(frozen, signal.SIGCONT)
        with up.ledger() as opened:
            account = reckon(world, opened, PLAYERS)
            with opened.read() as conn:
                reasons = list(conn.execute(select(attempts.c.reason).where(attempts.c.outcome == "unknown")).scalars())
        assert up.pid_of("worker", "deliver") == frozen
    print(f"\n{len(held)} in flight when it froze, {reasons.count('lease_ended')} leases ended; {account}")
    assert account.wrong == []
    assert 0 < reasons.count("lease_ended") <= len(held)
    assert account.repeated <= len(reasons)
