"""The reckoning after a fault: what the providers got, against what the ledger says."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from sqlalchemy import Connection, Row, select

from promocast.demo.world import World
from promocast.ledger import Ledger
from promocast.ledger.schema import codes, deliveries, request_parts
from promocast.model import CHANNELS
from tests.e2e.harness import Installation, eventually

CAMPAIGN = "faults"


def recipients(world: World, first: int, count: int) -> list[dict[str, Any]]:
    """Players with one address on each channel."""
    return [
        {
            "player_id": f"p{i}",
            "addresses": {
                "email": f"p{i}@example.com",
                "sms": f"+3569{i:07d}",
                "telegram": str(7_000_000_000 + i),
                "push": [{"kind": "fcm", "token": world.fcm.new_device()}],
            },
            "attributes": {"first_name": "Ann"},
        }
        for i in range(first, first + count)
    ]


def job(request_id: str, players: list[dict[str, Any]], campaign: str = CAMPAIGN) -> dict[str, Any]:
    return {"request_id": request_id, "campaign": campaign, "recipients": players}


def issue(client: httpx.Client, request_id: str, players: list[dict[str, Any]], campaign: str = CAMPAIGN) -> None:
    """As a CRM does it: again and again until it is told that the request was accepted."""

    def accepted() -> bool:
        try:
            return client.post("/v1/issue", json=job(request_id, players, campaign)).status_code == 202
        except httpx.HTTPError:
            return False

    eventually(f"request {request_id} accepted", accepted, 120)


def received(world: World) -> dict[str, Counter[str]]:
    """{channel: {code: how many messages with it the provider took}}; every message has its code."""
    return {
        "popup": Counter(str(popup["code"]) for popup in tuple(world.site.popups)),
        "email": Counter(str(mail.parsed()["Subject"]).rpartition(" ")[2] for mail in tuple(world.mail.messages)),
        "push": Counter(message.notification.body or "" for message in tuple(world.fcm.messages)),
        "telegram": Counter(text.rpartition(" ")[2] for _, text in tuple(world.telegram.messages)),
        "sms": Counter(
            form["Body"].removeprefix("Your code ").partition(",")[0] for form in tuple(world.twilio.messages)
        ),
        "call": Counter(json.loads(body)["code"] for body in tuple(world.crm.bodies)),
    }


def arrived(world: World) -> int:
    """How many messages the providers have taken so far."""
    taken = (world.site.popups, world.mail.messages, world.fcm.messages, world.telegram.messages, world.twilio.messages)
    return sum(len(each) for each in taken) + len(world.crm.bodies)


@dataclass(slots=True)
class Account:
    """What went wrong, one line each; and how often what may go wrong did. `lost`: neither received nor unknown."""

    wrong: list[str] = field(default_factory=list)
    sent: int = 0
    unknown: int = 0
    repeated: int = 0
    lost: int = 0
    second_codes: int = 0
    unrecorded: int = 0

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.unknown} unknown, {self.repeated} repeated; {self.lost} lost, "
            f"{self.second_codes} second codes, {self.unrecorded} repeats unrecorded, {len(self.wrong)} wrong"
        )


def settle(up: Installation, seconds: float = 150) -> None:
    """Wait until every accepted part is issued and no delivery will be tried again."""

    def settled() -> bool:
        with up.ledger() as ledger, ledger.read() as conn:
            open_ = select(deliveries.c.id).where(deliveries.c.due_at.is_not(None))
            unissued = select(request_parts.c.id).where(request_parts.c.issued_at.is_(None))
            return not any(conn.execute(found.limit(1)).first() for found in (unissued, open_))

    eventually("nothing left to be tried", settled, seconds)


def reckon(world: World, ledger: Ledger, players: int, *, campaign: str = CAMPAIGN) -> Account:
    """Every player has one code; every message was received, or is unknown; what was received twice is a known risk."""
    account = Account()
    with ledger.read() as conn:
        held = Counter(conn.execute(select(codes.c.player_id).where(codes.c.campaign_id == campaign)).scalars())
        rows = planned(conn, campaign)
    messages = received(world)  # after the ledger: what it calls sent was received before
    account.second_codes = sum(held.values()) - len(held)
    if len(held) != players or account.second_codes:
        account.wrong.append(f"{len(held)} of {players} players have codes, {sum(held.values())} codes in all")
    if len(rows) != players * len(CHANNELS):
        account.wrong.append(f"{len(rows)} deliveries for {players} players")
    for row in rows:
        _judge(account, row, messages[row.channel][row.code])
    return account


def planned(conn: Connection, campaign: str = CAMPAIGN) -> list[Row[*tuple[Any, ...]]]:
    """The deliveries that the issue of a code has caused, with the codes."""
    found = (
        select(codes.c.code, deliveries.c.id, deliveries.c.channel, deliveries.c.state, deliveries.c.unknowns)
        .join(codes, codes.c.id == deliveries.c.code_id)
        .where(codes.c.campaign_id == campaign, deliveries.c.event_id.is_(None))
    )
    return list(conn.execute(found).all())


def _judge(account: Account, row: Row[*tuple[Any, ...]], count: int) -> None:
    account.sent += row.state == "sent"
    account.unknown += row.state == "unknown"
    account.repeated += max(0, count - 1)
    if row.state not in ("sent", "unknown"):
        account.wrong.append(f"a {row.channel} is {row.state}")
    if count == 0 and row.state != "unknown":
        account.lost += 1
        account.wrong.append(f"a {row.channel} is {row.state} and was not received")
    if count > row.unknowns + 1:
        account.unrecorded += 1
        account.wrong.append(f"a {row.channel} was received {count} times and was unknown {row.unknowns} times")


class Load:
    """Requests of a few players each, posted one after another by a CRM that repeats what was not accepted.

    `answers` counts what the API said: a status with its content type, or the name of what went wrong on the way.
    """

    def __init__(self, client: httpx.Client, world: World, size: int = 10, pause: float = 0.05) -> None:
        self.answers: Counter[str] = Counter()
        self.players = 0
        self.requests: list[str] = []
        self._client, self._world, self._size, self._pause = client, world, size, pause
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def end(self) -> None:
        """Returns when what was begun is accepted."""
        self._enough.set()
        self._thread.join(120)

    def _run(self) -> None:
        while not self._enough.wait(self._pause):
            body = job(f"load-{len(self.requests)}", recipients(self._world, self.players, self._size))
            eventually(f"{body['request_id']} accepted", lambda body=body: self._accepted(body), 100)  # type: ignore[misc]
            self.requests.append(body["request_id"])
            self.players += self._size

    def _accepted(self, body: dict[str, Any]) -> bool:
        try:
            answer = self._client.post("/v1/issue", json=body)
        except httpx.HTTPError as exc:
            self.answers[type(exc).__name__] += 1
            return False
        self.answers[f"{answer.status_code} {answer.headers.get('content-type')}"] += 1
        return answer.status_code == 202
