"""What comes back, with every part real: a provider's signed webhooks, a mail's return path, and the link in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from promocast.demo.world import World
from promocast.ledger import players
from promocast.ledger.schema import deliveries
from tests.callbacks.test_bounces import dsn
from tests.e2e.harness import Installation, eventually, installed
from tests.faults.accounts import issue, recipients

SECRET = {"authorization": "Bearer bounce-secret"}


def states(up: Installation, channel: str) -> list[str]:
    d = deliveries.c
    with up.ledger() as ledger, ledger.read() as conn:
        return list(conn.execute(select(d.state).where(d.channel == channel).order_by(d.id)).scalars())


@pytest.mark.e2e
def test_providers_settle_what_they_took_and_players_get_out(world: World, tmp_path: Path) -> None:
    world.twilio.reports = ("queued", "sent", "delivered", "sent")
    told = {
        "PROMOCAST_CHANNELS__EMAIL__BOUNCE_ADDRESS": "bounces@mail.casino.example",
        "PROMOCAST_CHANNELS__EMAIL__CALLBACK_SECRET": "bounce-secret",
    }
    with installed(world, tmp_path, told, public=True) as up, up.client() as client:
        issue(client, "r-1", recipients(world, 0, 2), "demo")
        eventually("both SMS delivered", lambda: states(up, "sms") == ["delivered", "delivered"])
        eventually("both mails", lambda: len(world.mail.messages) == 2 and states(up, "email") == ["sent", "sent"])

        first, second = sorted(world.mail.messages, key=lambda mail: mail.recipients)
        link = str(first.parsed()["List-Unsubscribe"]).strip("<>")
        assert link.startswith(f"{up.url}/u/d-")
        assert httpx.get(link, trust_env=False).status_code == 200
        assert httpx.post(link, data={"List-Unsubscribe": "One-Click"}, trust_env=False).status_code == 200

        bounce = dsn("failed", "5.1.1", to=second.sender).encode()
        url = f"{up.url}/v1/callbacks/email"
        assert httpx.post(url, content=bounce, headers=SECRET, trust_env=False).status_code == 204

        stop = {"MessageSid": "SM9", "From": "+35690000001", "To": "+15005550006", "Body": "STOP"}
        asking = world.twilio.post(f"{up.url}/v1/callbacks/sms", stop)
        assert asyncio.run(asking) == 204

        assert states(up, "email") == ["sent", "rejected"]
        with up.ledger() as ledger, ledger.read() as conn:
            assert list(players.by_ids(conn, ["p0", "p1"])["p0"].opt_outs) == ["email"]

        issue(client, "r-2", recipients(world, 0, 2), "demo")
        eventually("the second codes by popup", lambda: len(world.site.popups) == 4)
        eventually("every SMS settled", lambda: states(up, "sms")[2:] == ["delivered", "rejected"])
        eventually("no further mail", lambda: states(up, "email")[2:] == ["skipped", "rejected"])
        assert len(world.mail.messages) == 2
