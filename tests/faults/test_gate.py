"""A thousand players are blocked while ten thousand of their messages wait: none begins once the block is known."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from promocast.demo.world import World
from tests.faults.accounts import issue, recipients
from tests.faults.conftest import installed

PLAYERS = 400
BLOCK = {"blocks": [{"type": "Excluded", "active": True}]}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_no_message_to_a_blocked_player_begins_after_the_block(
    world: World, tmp_path: Path, ledger: str, request: pytest.FixtureRequest
) -> None:
    # Slow enough that most of the messages still wait when the blocks come.
    pace = {f"PROMOCAST_CHANNELS__{c}__RATE": "60" for c in ("POPUP", "EMAIL", "PUSH__FCM", "TELEGRAM", "SMS")}
    blocked: dict[str, float] = {}
    with installed(world, tmp_path, ledger, request, **pace) as up, up.client() as client:
        issue(client, "gate", recipients(world, 0, PLAYERS))
        for i in range(PLAYERS - 1, PLAYERS // 2, -1):  # the last to be sent to first
            answer = client.put(f"/v1/players/p{i}", json=BLOCK)
            blocked[f"p{i}"] = time.monotonic()
            assert answer.status_code == 200
        sent = {
            str(popup["player_id"]): request.at
            for popup, request in zip(world.site.popups, world.site.requests, strict=False)
        }
    late = {player: sent[player] - at for player, at in blocked.items() if player in sent and sent[player] > at + 0.25}
    print(
        f"{ledger}: {len(blocked)} blocked, {sum(p in sent for p in blocked)} of them had begun, {len(late)} too late"
    )
    assert late == {}
    assert sum(player in sent for player in blocked) < len(blocked)
