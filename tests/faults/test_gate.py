"""A thousand players are blocked while ten thousand of their messages wait: none begins once the block is known."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from sqlalchemy import select

from promocast.demo.world import World
from promocast.ledger import Ledger
from promocast.ledger.schema import codes
from tests.faults.accounts import arrived, issue, recipients
from tests.faults.conftest import full, installed

# Two codes each on five channels: ten messages a player.
PLAYERS = full(1_000, 200)
RATE = full(60, 40)
BLOCK = {"blocks": [{"type": "Excluded", "active": True}]}
# What a block may take to be known to every sender.
KNOWN_WITHIN = 0.25

_CODE = re.compile(r"FAULT-[A-Z0-9]{4}-[A-Z0-9]{4}")


def begun(world: World, opened: Ledger) -> Iterator[tuple[str, float]]:
    """(player, when) of every message to a player whose first byte has come to a provider."""
    with opened.read() as conn:
        holders = {row.code: row.player_id for row in conn.execute(select(codes.c.code, codes.c.player_id))}
    asked = [(r.body, r.at) for site in (world.site, world.fcm, world.telegram, world.twilio) for r in site.requests]
    mails = [(mail.parsed()["Subject"].encode(), mail.at) for mail in world.mail.messages]
    for body, at in [*asked, *mails]:
        for code in set(_CODE.findall(unquote_plus(body.decode(errors="replace")))) & holders.keys():
            yield str(holders[code]), at


@pytest.mark.timeout(full(400, 120))
@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_no_message_to_a_blocked_player_begins_after_the_block(
    world: World, tmp_path: Path, ledger: str, request: pytest.FixtureRequest
) -> None:
    # Slow enough that most of the messages still wait when the blocks come.
    pace = {f"PROMOCAST_CHANNELS__{c}__RATE": str(RATE) for c in ("POPUP", "EMAIL", "PUSH__FCM", "TELEGRAM", "SMS")}
    told: dict[str, tuple[float, int]] = {}
    with installed(world, tmp_path, ledger, request, **pace) as up, up.client() as client:
        for half in ("first", "second"):
            issue(client, half, recipients(world, 0, PLAYERS))
        waiting = 10 * PLAYERS - arrived(world)
        for i in range(PLAYERS - 1, -1, -1):  # the last to be sent to first
            answer = client.put(f"/v1/players/p{i}", json=BLOCK)
            told[f"p{i}"] = (time.monotonic(), answer.json()["in_flight"])
        until = time.monotonic() + 4 * KNOWN_WITHIN  # what is late has come by then
        while time.monotonic() < until:
            time.sleep(0.05)
        with up.ledger() as opened:
            began = [(player, at - told[player][0], told[player][1]) for player, at in begun(world, opened)]
    late = [seconds for _, seconds, _ in began if seconds > KNOWN_WITHIN]
    after_none = [seconds for _, seconds, in_flight in began if in_flight == 0 and seconds > 0]
    print(
        f"\n{ledger}: {len(told)} players blocked while {waiting} of {10 * PLAYERS} messages waited; {len(began)} had "
        f"begun, the last {max(seconds for _, seconds, _ in began) * 1000:.0f} ms after the answer; {len(late)} later "
        f"than 250 ms; of {sum(n == 0 for _, n in told.values())} players told in_flight 0, {len(after_none)} after it"
    )
    assert late == []
    assert after_none == []
    assert 0 < len(began) < 10 * PLAYERS, "some were sent, and some were not"
