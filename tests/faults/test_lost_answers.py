"""Providers that take the message and then drop the connection: what may be repeated is, and what may not is told."""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select, update

from promocast.channels.mime import message_id
from promocast.demo.world import World
from promocast.ledger import Ledger, migrate
from promocast.ledger.schema import codes, deliveries
from promocast.model import SECOND, system_clock
from promocast.returns import Returns
from promocast.standins.base import Fault, Received
from promocast.standins.fcm import is_send
from tests.e2e.harness import Installation, eventually
from tests.faults.accounts import issue, planned, received, recipients
from tests.faults.conftest import PATIENT, full, installed

PLAYERS = full(500, 60)
CAMPAIGN = "fallbacks"
DROPPED = 0.3
# Short of what a delivery is tried at most: a channel that never answers is another fault.
MOST_DROPS = 5
REPEATED = ("popup", "push", "call")
NEVER_REPEATED = ("telegram", "sms")


class Droppers:
    """Drops three in ten answers of every provider, and counts the drops by what names the message."""

    def __init__(self, chance: random.Random, world: World) -> None:
        self.drops: Counter[str] = Counter()
        self._chance = chance
        self._mails = world.mail
        for standin, name in (
            (world.site, _key_of_post),
            (world.crm, _key_of_post),
            (world.bonus_engine, _key_of_post),
            (world.fcm, _key_of_push),
            (world.telegram, _text_of),
            (world.twilio, _text_of),
        ):
            standin.script = lambda asked, name=name: self._judge(name(asked))
        world.mail.script = lambda phase, _: self._judge(self._last_mail()) if phase == "dot" else None

    def _judge(self, name: str | None) -> Fault | None:
        if name is None or self.drops[name] >= MOST_DROPS or self._chance.random() >= DROPPED:
            return None
        self.drops[name] += 1
        return Fault.LOSE_ANSWER

    def _last_mail(self) -> str:
        return str(self._mails.messages[-1].parsed()["Message-ID"])


def _key_of_post(asked: Received) -> str:
    return asked.headers["webhook-id"]


def _key_of_push(asked: Received) -> str | None:
    return str(json.loads(asked.body)["message"]["data"]["delivery_id"]) if is_send(asked) else None


def _text_of(asked: Received) -> str:
    found = re.search(rb"FAULT-\w{4}-\w{4}", asked.body)
    assert found
    return f"{asked.path.rsplit('/', 1)[-1]} {found[0].decode()}"


def names(world: World) -> dict[str, Counter[str]]:
    """{channel: {what names the message to the provider: how often it took it}}; the key, where it is told one."""
    return {
        "popup": Counter(popup["delivery_id"] for popup in world.site.popups),
        "call": Counter(asked.headers["webhook-id"] for asked in world.crm.requests),
        "push": Counter(message.data["delivery_id"] for message in world.fcm.messages),
        "email": Counter(str(mail.parsed()["Message-ID"]) for mail in world.mail.messages),
    }


def hasten(opened: Ledger) -> None:
    """Move repeats that are scheduled for later to now: the schedule itself is not what is tested here."""
    d, now = deliveries.c, system_clock()
    with opened.begin() as conn:
        conn.execute(update(deliveries).where(d.state == "unknown", d.due_at > now + 4 * SECOND).values(due_at=now))


def settle_hastily(up: Installation, seconds: float) -> None:
    """As accounts.settle, with repeats hastened; a message for evidence of which is waited keeps its time."""
    deadline = time.monotonic() + seconds
    open_ = select(deliveries.c.id).where(deliveries.c.due_at.is_not(None)).limit(1)
    with up.ledger() as opened:
        while time.monotonic() < deadline:
            hasten(opened)
            with opened.read() as conn:
                if conn.execute(open_).first() is None:
                    return
            threading.Event().wait(0.3)
    raise AssertionError(f"something was still to be tried after {seconds} s")


@pytest.mark.timeout(full(400, 100))
def test_a_provider_that_takes_the_message_and_drops_the_connection(
    world: World, tmp_path: Path, chance: random.Random, request: pytest.FixtureRequest
) -> None:
    dropped = Droppers(chance, world)
    with installed(world, tmp_path, "sqlite", request, **PATIENT) as up, up.client() as client:
        issue(client, "lost-answers", recipients(world, 0, PLAYERS), CAMPAIGN)
        seen = eventually("unknowns", lambda: _unknowns(client.get("/v1/requests/lost-answers").json()))
        print(f"unknown meanwhile, by channel: {seen}")
        settle_hastily(up, full(300, 80))
        told = client.get("/v1/requests/lost-answers").json()
        with up.ledger() as opened:
            own = migrate.identity(opened)
            returns = Returns(own.ledger_id, own.secret)
            with opened.read() as conn:
                rows = planned(conn, CAMPAIGN)
                fallbacks = _fallbacks(opened)
    domain = str(world.mail.messages[0].parsed()["Message-ID"]).rpartition("@")[2].rstrip(">")
    by_name, by_code = names(world), received(world)
    for row in rows:
        key = returns.key_of(row.id)
        if row.channel in REPEATED:
            assert row.state == "sent"
            assert by_name[row.channel][key] == dropped.drops[key] + 1, "repeated until answered, with the same key"
            assert row.unknowns == dropped.drops[key]
        elif row.channel == "email":
            name = message_id(key, domain)
            assert by_name["email"][name] == min(1 + dropped.drops[name], 2), "repeated once, with the same Message-ID"
            assert row.state == ("unknown" if dropped.drops[name] >= 2 else "sent")
        else:
            name = f"{'sendMessage' if row.channel == 'telegram' else 'Messages.json'} {row.code}"
            assert by_code[row.channel][row.code] == 1, "never repeated"
            assert row.state == ("unknown" if dropped.drops[name] else "sent")
    unknown = Counter(row.channel for row in rows if row.state == "unknown")
    print(f"{sum(dropped.drops.values())} answers lost; at the end unknown: {dict(unknown)}, fallbacks: {fallbacks}")
    assert told["unknown"] == sum(unknown.values())
    assert {channel: told["channels"][channel].get("unknown", 0) for channel in unknown} == dict(unknown)
    assert fallbacks == {"popup": unknown["sms"], "call": unknown["telegram"]}
    assert len({asked.headers["webhook-id"] for asked in world.bonus_engine.requests}) == unknown["telegram"]


def _unknowns(told: dict[str, Any]) -> dict[str, int] | None:
    found = {channel: counts["unknown"] for channel, counts in told["channels"].items() if "unknown" in counts}
    return found if set(NEVER_REPEATED) <= set(found) else None


def _fallbacks(opened: Ledger) -> dict[str, int]:
    """How many messages on which channel `delivery.failed` has led to."""
    d = deliveries.c
    with opened.read() as conn:
        rows: list[Row[Any]] = list(
            conn.execute(select(d.channel, d.state).where(d.event_id.is_not(None)).join(codes, codes.c.id == d.code_id))
        )
    assert {row.state for row in rows} <= {"sent"}
    return dict(Counter(row.channel for row in rows))
