"""The main job with real processes: a file of recipients on all five channels, and a worker that dies in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from promocast.demo.world import World
from promocast.ledger import figures
from promocast.ledger.schema import attempts
from promocast.ledger.schema import deliveries as deliveries_table
from promocast.model import PLAYER_CHANNELS
from tests.e2e import harness
from tests.e2e.harness import Installation, eventually

pytestmark = pytest.mark.e2e

PLAYERS = 1_000
# Short, so that a crash is over sooner: a lease is as long as the slowest send may take.
SHORT_LEASES = {
    "PROMOCAST_CHANNELS__EMAIL__CONNECT_TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__EMAIL__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__EMAIL__FINAL_DOT_TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__SMS__TIMEOUT": "3s",
    "PROMOCAST_CHANNELS__PUSH__FCM__TIMEOUT": "3s",
}


def write_players(world: World, path: Path, players: int = PLAYERS) -> None:
    rows = ["player_id,email,sms,telegram,fcm,attributes.first_name"]
    rows += [f"p{i},p{i}@example.com,+3569912{i:04d},{10_000 + i},{world.fcm.new_device()},Ann" for i in range(players)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def received(world: World) -> dict[str, Counter[str]]:
    """What each provider got, by what tells one message from another."""
    return {
        "popup": Counter(request.headers["webhook-id"] for request in world.site.requests),
        "email": Counter(str(mail.parsed()["Message-ID"]) for mail in world.mail.messages),
        "push": Counter(message.token or "" for message in world.fcm.messages),
        "telegram": Counter(chat for chat, _ in world.telegram.messages),
        "sms": Counter(form["To"] for form in world.twilio.messages),
    }


def test_a_file_of_a_thousand_players_reaches_them_all_on_all_channels(
    world: World, up: Installation, tmp_path: Path
) -> None:
    write_players(world, tmp_path / "players.csv")

    done = up.run("issue", "demo", str(tmp_path / "players.csv"), "--wait", "--json")

    result = json.loads(done.stdout)
    print(f"\n{PLAYERS} players x 5 channels: {result['seconds']} s, {result['channels']}")
    assert (result["accepted"], result["rejected"], result["issued"]) == (PLAYERS, 0, PLAYERS)
    assert result["channels"] == {channel: {"sent": PLAYERS} for channel in PLAYER_CHANNELS}
    for channel, messages in received(world).items():
        assert len(messages) == PLAYERS, channel
        assert max(messages.values()) == 1, f"{channel}: nothing crashed, so nothing was sent twice"

    again = json.loads(up.run("issue", "demo", str(tmp_path / "players.csv"), "--wait", "--json").stdout)
    assert again["issued"] == PLAYERS, "the same file again is the same request"
    assert up.run("ledger", "verify").stdout.startswith("every invariant holds; ")


def test_a_delivery_worker_killed_in_the_middle_loses_nothing_and_repeats_no_more_than_was_in_flight(
    world: World, tmp_path: Path
) -> None:
    write_players(world, tmp_path / "players.csv")
    with harness.installed(world, tmp_path, SHORT_LEASES) as up, up.ledger() as ledger:
        up.run("issue", "demo", str(tmp_path / "players.csv"))
        eventually("a fifth of the messages", lambda: sum(sum(c.values()) for c in received(world).values()) > PLAYERS)
        worker = up.pid_of("worker", "deliver")
        assert worker is not None
        os.kill(worker, signal.SIGKILL)
        with ledger.read() as conn:
            at_the_kill = figures.counts(conn)
        in_flight = {channel: at_the_kill[channel].get("sending", 0) for channel in PLAYER_CHANNELS}

        def settled() -> dict[str, dict[str, int]] | None:
            with ledger.read() as conn:
                counts = figures.counts(conn)
            waiting = any(states.get("planned") or states.get("sending") for states in counts.values())
            resent = not any(counts[channel].get("unknown") for channel in ("popup", "push", "email"))
            return counts if resent and not waiting else None

        counts = eventually("everything sent, or unknown where it must not be repeated", settled, 100)
        with ledger.read() as conn:
            rows = conn.execute(select(deliveries_table.c.channel, attempts.c.reason).join(deliveries_table)).all()
        reasons = Counter((row.channel, row.reason) for row in rows)

    messages = received(world)
    for channel in PLAYER_CHANNELS:
        repeated = sum(messages[channel].values()) - len(messages[channel])
        unknown = counts[channel].get("unknown", 0)
        recorded = sum(count for (name, _), count in reasons.items() if name == channel)
        print(f"{channel}: {in_flight[channel]} in flight at the kill, {repeated} repeated, {counts[channel]}")
        assert counts[channel].get("sent", 0) + unknown == PLAYERS
        assert reasons[channel, "lease_ended"] <= in_flight[channel], "the kill made unknown what was in flight"
        assert repeated + unknown <= recorded, "and nothing was repeated that was not recorded as a possible repeat"
        assert len(messages[channel]) + unknown >= PLAYERS, "what is neither received nor unknown was lost"
