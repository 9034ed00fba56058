"""A provider that takes connections and never answers holds up its own channel, and no other."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from promocast.demo.world import World
from promocast.standins.base import Fault
from tests.e2e.harness import eventually
from tests.faults.accounts import issue, received, recipients, reckon, settle
from tests.faults.conftest import installed

PLAYERS = 150


@pytest.mark.timeout(120)
def test_a_hung_provider_does_not_hold_up_other_channels(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    world.twilio.script = lambda _: Fault.HANG
    few = {"PROMOCAST_CHANNELS__SMS__CONCURRENCY": "20"}
    with installed(world, tmp_path, "sqlite", request, **few) as up, up.client() as client:
        issue(client, "hung", recipients(world, 0, PLAYERS))
        at = time.monotonic()

        def others() -> bool:
            return all(len(codes) == PLAYERS for channel, codes in received(world).items() if channel != "sms")

        eventually("every other channel", others)
        seconds, hanging = time.monotonic() - at, len(world.twilio.requests)
        world.twilio.script = None
        settle(up)
        with up.ledger() as opened:
            account = reckon(world, opened, PLAYERS)
    print(f"\nthe other channels took {seconds:.1f} s while {hanging} sms hung; {account}")
    assert hanging < PLAYERS, "its own channel waits"
    assert account.wrong == []
    assert 0 < account.unknown <= hanging + 20
