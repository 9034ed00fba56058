"""The reckoning after a fault: what the providers got, against what the ledger says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import select

from promocast.demo.world import World
from promocast.ledger import Ledger
from promocast.ledger.schema import codes, deliveries, request_parts
from promocast.model import PLAYER_CHANNELS
from tests.e2e.harness import Installation, eventually


def recipients(world: World, first: int, count: int) -> list[dict[str, Any]]:
    """Players with one address on each channel."""
    return [
        {
            "player_id": f"p{i}",
            "addresses": {
                "email": f"p{i}@example.com",
                "sms": f"+3569{i:07d}",
                "telegram": str(10_000 + i),
                "push": [{"kind": "fcm", "token": world.fcm.new_device()}],
            },
            "attributes": {"first_name": "Ann"},
        }
        for i in range(first, first + count)
    ]


def issue(client: httpx.Client, request_id: str, players: list[dict[str, Any]]) -> None:
    """As a CRM does it: again and again until it is told that the request was accepted."""

    def accepted() -> bool:
        try:
            body = {"request_id": request_id, "campaign": "demo", "recipients": players}
            return client.post("/v1/issue", json=body).status_code == 202
        except httpx.HTTPError:
            return False

    eventually(f"request {request_id} accepted", accepted, 120)


def received(world: World) -> dict[str, Counter[str]]:
    """{channel: {code: how many messages with it the provider took}}; every message of the demo's has its code."""
    return {
        "popup": Counter(str(popup["code"]) for popup in world.site.popups),
        "email": Counter(str(mail.parsed()["Subject"]).rpartition(" ")[2] for mail in world.mail.messages),
        "push": Counter(message.notification.body or "" for message in world.fcm.messages),
        "telegram": Counter(text.rpartition(" ")[2] for _, text in world.telegram.messages),
        "sms": Counter(form["Body"].removeprefix("Your code ").partition(",")[0] for form in world.twilio.messages),
    }


@dataclass(slots=True)
class Account:
    """What went wrong, one line each; and how often what may go wrong did."""

    wrong: list[str] = field(default_factory=list)
    repeated: int = 0
    unknown: int = 0
    sent: int = 0

    def __str__(self) -> str:
        return f"{self.sent} sent, {self.unknown} unknown, {self.repeated} repeated, {len(self.wrong)} wrong"


def settle(up: Installation, seconds: float = 150) -> None:
    """Wait until every accepted part is issued and no delivery to a player will be tried again."""

    def settled() -> bool:
        with up.ledger() as ledger, ledger.read() as conn:
            open_ = select(deliveries.c.id).where(
                deliveries.c.due_at.is_not(None), deliveries.c.channel.in_(PLAYER_CHANNELS)
            )
            unissued = select(request_parts.c.id).where(request_parts.c.issued_at.is_(None))
            return not any(conn.execute(found.limit(1)).first() for found in (unissued, open_))

    eventually("nothing left to be tried", settled, seconds)


def reckon(world: World, ledger: Ledger, players: int) -> Account:
    """Every player has one code; every message was received, or is unknown; what was received twice is a known risk."""
    account = Account()
    with ledger.read() as conn:
        held = Counter(conn.execute(select(codes.c.player_id)).scalars())
        rows = conn.execute(
            select(codes.c.code, deliveries.c.channel, deliveries.c.state, deliveries.c.unknowns)
            .join(codes, codes.c.id == deliveries.c.code_id)
            .where(deliveries.c.channel.in_(PLAYER_CHANNELS))
        ).all()
    messages = received(world)  # after the ledger: what it calls sent was received before
    if len(held) != players or max(held.values()) != 1:
        account.wrong.append(f"{len(held)} of {players} players have codes, {sum(held.values())} codes in all")
    if len(rows) != players * len(PLAYER_CHANNELS):
        account.wrong.append(f"{len(rows)} deliveries for {players} players")
    for row in rows:
        count = messages[row.channel][row.code]
        account.sent += row.state == "sent"
        account.unknown += row.state == "unknown"
        account.repeated += max(0, count - 1)
        if row.state not in ("sent", "unknown"):
            account.wrong.append(f"a {row.channel} is {row.state}")
        if row.state == "sent" and count == 0:
            account.wrong.append(f"a {row.channel} is sent and was not received")
        if count > 1 and row.unknowns == 0:
            account.wrong.append(f"a {row.channel} was received {count} times and was never unknown")
    return account
