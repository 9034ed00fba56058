"""SIGTERM under load: nothing is stranded, and the next start goes on at once."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from promocast.broker import NAMESPACE
from promocast.demo.world import World
from promocast.ledger import Ledger
from promocast.ledger.schema import deliveries
from promocast.standins.base import Fault
from tests.e2e.harness import eventually
from tests.faults.accounts import arrived, issue, job, recipients, reckon, settle
from tests.faults.conftest import PATIENT, STOPS, installed
from tests.faults.queues import Queue, enqueue, queue

PLAYERS = 150  # a stop
JOBS = 20  # of them by queue, five players each
# Seconds from the ready line to the first message; a lease's end would be ten, a dead worker's heartbeat fifteen.
AT_ONCE = 2.0
HANGING = 7


def states(opened: Ledger) -> Counter[tuple[str, str]]:
    with opened.read() as conn:
        return Counter((row.state, row.reason or "") for row in conn.execute(select(deliveries)))


def stranded(own: Queue) -> dict[str, int]:
    """Messages that nobody would take up before a heartbeat has timed out: held by workers, or in no list."""
    found = own.booked()
    for key in own.client.scan_iter(f"{NAMESPACE}:*.msgs"):
        queue_name = key.decode().removesuffix(".msgs")
        if ".XQ" not in queue_name and (unlisted := own.client.hlen(key) - own.client.llen(queue_name)):
            found[queue_name] = int(unlisted)
    return found


@pytest.mark.timeout(60 + 30 * STOPS)
def test_sigterm_under_load(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    firsts: list[float] = []
    stops: list[float] = []
    rests: list[float] = []
    with (
        queue(tmp_path / "own") as own,
        installed(world, tmp_path, "sqlite", request, PROMOCAST_QUEUE__URL=own.url, **PATIENT) as up,
        up.client() as client,
    ):
        for stop in range(STOPS):
            first_player = stop * PLAYERS
            issue(client, f"stop-{stop}", recipients(world, first_player, PLAYERS - 5 * JOBS))
            players = recipients(world, first_player + PLAYERS - 5 * JOBS, 5 * JOBS)
            enqueue(own.url, [job(f"stop-{stop}-{i}", players[5 * i : 5 * i + 5]) for i in range(JOBS)])
            begun = arrived(world)
            eventually("messages under way", lambda enough=begun + 50 + 7 * stop: arrived(world) > enough)  # type: ignore[misc]
            stops.append(up.stop())
            with up.ledger() as opened:
                left = states(opened)
            assert stranded(own) == {}
            assert not [state for state, _ in left if state in ("sending", "unknown")], left

            taken = arrived(world)
            up.start()
            at = time.monotonic()
            eventually("the first message", lambda taken=taken: arrived(world) > taken, 30)  # type: ignore[misc]
            firsts.append(time.monotonic() - at)
            eventually("the rest", lambda stop=stop: arrived(world) == 6 * PLAYERS * (stop + 1), 60)  # type: ignore[misc]
            rests.append(time.monotonic() - at)
        settle(up)
        with up.ledger() as opened:
            account = reckon(world, opened, STOPS * PLAYERS)
    print(
        f"\n{STOPS} stops of {max(stops):.1f} s at most; then the first message {max(firsts):.2f} s after the ready "
        f"line at most, all of them {max(rests):.1f} s; {account}"
    )
    assert max(stops) < 10
    assert max(firsts) < AT_ONCE
    assert account.wrong == []
    assert account.unknown == account.repeated == 0


@pytest.mark.timeout(90)
def test_a_stop_while_a_provider_hangs_makes_unknown_what_hangs_and_nothing_else(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def script(_: object) -> Fault | None:
        return Fault.HANG if len(world.twilio.requests) <= HANGING else None

    world.twilio.script = script
    slow = {"PROMOCAST_CHANNELS__SMS__TIMEOUT": "30s", "PROMOCAST_CHANNELS__SMS__CONCURRENCY": str(2 * HANGING)}
    with installed(world, tmp_path, "sqlite", request, PROMOCAST_WORKERS__STOP_GRACE="2s", **PATIENT | slow) as up:
        with up.client() as client:
            issue(client, "hanging", recipients(world, 0, 100))
        eventually("the provider hangs", lambda: len(world.twilio.requests) >= HANGING)
        eventually("other channels go on", lambda: len(world.site.popups) == 100)
        seconds = up.stop()
        with up.ledger() as opened:
            left = states(opened)
        print(f"\nstopped in {seconds:.1f} s: {dict(left)}")
        unknown = {reason: count for (state, reason), count in left.items() if state == "unknown"}
        assert unknown == {"stopped": HANGING}
        assert not [state for state, _ in left if state == "sending"]
        assert seconds < 10

        up.start()
        settle(up)
        with up.ledger() as opened:
            account = reckon(world, opened, 100)
        print(f"after the next start: {account}")
    assert account.wrong == []
    assert (account.unknown, account.repeated) == (HANGING, 0)
