"""The API in process: the application over a real runtime, its clock stopped, on both ledgers, its queue a real Valkey.

Requests take the whole way through the application, but over no socket. Workers are not running: `work()` does what
they would, when a test says so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import orjson
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr

from promocast import jobs
from promocast.api.app import create
from promocast.broker import make_client
from promocast.campaign import document
from promocast.flows import issue, verify
from promocast.ledger import Ledger, campaigns, deposits, inbox, keys, migrate, requests, schema
from promocast.ledger.inbox import Entry
from promocast.model import Instant
from promocast.runtime import Runtime
from promocast.settings import LedgerSettings, QueueSettings, Settings
from tests.conftest import NOW, StoppedClock, fresh_database

CAMPAIGN = """
id = "welcome"

[label_tags.promo_code]
type = "random"
length = 8

[code]
label_tag = "promo_code"
valid_for = "7d"

[redemption]
min_deposit = { EUR = "20.00" }

[templates.popup]
title = "Hi {{ player.first_name }}"
body = "Your code: {{ label.promo_code }}"

[[journey]]
on = "code.issued"
send = ["popup"]
when_shown = "CODE_IS_SHOWN"

[[journey]]
on = "client_action"
action = "CODE_IS_SHOWN"
call = "crm"
body = '{ "code" : "{{event.code}}" }'
"""

# A campaign that takes the codes of a CRM.
PARTNER = CAMPAIGN.replace('id = "welcome"', 'id = "partner"\nallow_external_codes = true')


async def _slowly(stream: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in stream:
        yield chunk


class InProcess(httpx.BaseTransport):
    """Requests go straight into the application, on an event loop that all of them share, as they do in a server."""

    def __init__(self, app: Any, portal: BlockingPortal) -> None:
        self._asgi = httpx.ASGITransport(app)
        self._portal = portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(request.stream, httpx.AsyncByteStream):  # a body that comes bit by bit
            content = _slowly(request.stream)
            request = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        return self._portal.call(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._asgi.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


class Api:
    """The application and what stands behind it."""

    def __init__(self, settings: Settings, clock: StoppedClock, portal: BlockingPortal) -> None:
        self.clock = clock
        self.runtime = Runtime(settings, clock=clock)
        self.app = create(self.runtime)
        self._transport = InProcess(self.app, portal)

    @property
    def ledger(self) -> Ledger:
        return self.runtime.ledger

    def key(self, *scopes: str, campaign: str | None = None, expires_at: Instant | None = None) -> tuple[str, str]:
        """(id, key) of a new key."""
        with self.ledger.begin() as conn:
            return keys.create(conn, scopes, os.urandom, self.clock(), campaign_id=campaign, expires_at=expires_at)

    def bearing(self, key: str) -> httpx.Client:
        """A client that shows this key."""
        return httpx.Client(
            transport=self._transport, base_url="http://promocast", headers={"authorization": f"Bearer {key}"}
        )

    def client(self, *scopes: str, campaign: str | None = None) -> httpx.Client:
        """A client with a new key; one for everything unless scopes are given."""
        _, key = self.key(*(scopes or ("admin",)), campaign=campaign)
        return self.bearing(key)

    def stranger(self) -> httpx.Client:
        """A client without a key."""
        return httpx.Client(transport=self._transport, base_url="http://promocast")

    def apply(self, source: str) -> None:
        campaign = document.from_toml(source, "test.toml", _no_files)
        body = orjson.dumps(campaign.model_dump(mode="json")).decode()
        with self.ledger.begin() as conn:
            campaigns.apply(conn, campaign.id, body, jobs.digest_of(body), self.clock())

    def issue(self, *player_ids: str, request_id: str = "r-1") -> dict[str, str]:
        """Ask for codes and have them issued; {player: code}."""
        client = self.client()
        client.post("/v1/issue", json=job_for(*player_ids, request_id=request_id)).raise_for_status()
        self.work()
        items = client.get("/v1/codes", params={"request_id": request_id, "limit": 1000}).json()["items"]
        return {item["player_id"]: item["code"] for item in items}

    def work(self) -> None:
        """Issue the parts and judge the deposits that are due, as the workers do when the bell rings."""
        with self.ledger.read() as conn:
            parts = requests.due(conn, self.clock(), 1_000)
            unjudged = deposits.due(conn, self.clock(), 1_000)
        runtime, ring = self.runtime, self.runtime.bell.ring
        for part_id in parts:
            issue.issue_part(
                self.ledger, part_id, versions=runtime.versions, clock=self.clock, random=os.urandom, ring=ring
            )
        terms = runtime.settings.verification
        if unjudged:
            verify.judge(self.ledger, unjudged, versions=runtime.versions, terms=terms, clock=self.clock, ring=ring)

    def routes(self) -> set[tuple[str, str]]:
        """{(method, path)} of everything that the application answers to."""
        found = iter_route_contexts(self.app.routes)
        return {
            (method, (route.path or "").replace(":path}", "}"))
            for route in found
            for method in (route.methods or set()) - {"HEAD"}
        }

    def rung(self, queue: str) -> int:
        """How many rings wait in a queue."""
        return self.runtime.broker.backlog(queue)

    def inbox(self) -> list[Entry]:
        with self.ledger.read() as conn:
            return list(inbox.waiting(conn))


def job_for(*player_ids: str, request_id: str = "r-1", campaign: str = "welcome") -> dict[str, Any]:
    return {
        "request_id": request_id,
        "campaign": campaign,
        "recipients": [{"player_id": player_id, "attributes": {"first_name": "Ann"}} for player_id in player_ids],
    }


def deposit_of(player_id: str = "p1", deposit_id: str = "tx-1", **facts: Any) -> dict[str, Any]:
    told = {"deposit_id": deposit_id, "player_id": player_id, "amount": "50.00", "currency": "EUR"}
    return {**told, "status": "approved", **facts}


def _no_files(path: PurePosixPath) -> str:
    raise FileNotFoundError(path)


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal("asyncio") as started:
        yield started


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty ledger, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def shared_database(postgres_url: str) -> Iterator[str]:
    """A ledger in PostgreSQL, to be emptied."""
    with fresh_database(postgres_url) as url:
        _migrate(url)
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty ledger of this release. In place of the general fixture, whose databases are made and migrated anew for
    each test, which takes several times as long as a test of the API does."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path)
        return f"sqlite:///{path}"
    url = str(request.getfixturevalue("shared_database"))
    ledger = Ledger(url)
    with ledger.begin() as conn:
        for table in reversed(schema.metadata.sorted_tables):
            if table is not schema.ledger:
                conn.execute(table.delete())
    ledger.close()
    return url


def _migrate(url: str) -> None:
    ledger = Ledger(url)
    migrate.upgrade(ledger, os.urandom, NOW)
    ledger.close()


@pytest.fixture
def settings(ledger_url: str, queue_url: str, tmp_path: Path) -> Settings:
    """Those of an installation whose ledger and queue are empty."""
    queue = make_client(queue_url)
    queue.flushdb()
    queue.close()
    return Settings(
        data_dir=tmp_path,
        ledger=LedgerSettings(url=SecretStr(ledger_url)),
        queue=QueueSettings(url=SecretStr(queue_url)),
    )


@pytest.fixture
def api(settings: Settings, clock: StoppedClock, portal: BlockingPortal) -> Iterator[Api]:
    """The API, with the campaign `welcome` in force."""
    made = Api(settings, clock, portal)
    made.apply(CAMPAIGN)
    yield made
    made.runtime.close()
