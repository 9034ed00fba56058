"""Each library, for real, provoked into logging what it was given: at DEBUG, with errors that quote it."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import dramatiq
import httpx
import psycopg
import pytest
import redis
import uvicorn
from dramatiq.brokers.stub import StubBroker
from fastapi import FastAPI, Request
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from promocast.ledger import Ledger
from tests.observe.conftest import CODE, MAIL, TOKEN, Log

SECRETS = (CODE, MAIL, TOKEN)
BODY = {"player_id": "84213", "address": MAIL, "code": CODE}


@contextmanager
def site() -> Iterator[str]:
    """A web server that answers nobody kindly; its URL."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            return None

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The app on a real uvicorn, configured as `promocast api` does; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, log_level="debug"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def test_uvicorn_tells_an_error_in_a_request_and_not_the_body(log: Log) -> None:
    app = FastAPI()

    @app.post("/v1/codes/{code}")
    async def fails(code: str, request: Request) -> None:
        raise ValueError(f"{code} of {await request.body()!r}")

    with served(app) as url:
        answer = httpx.post(f"{url}/v1/codes/{CODE}", json=BODY, trust_env=False)

    assert answer.status_code == 500
    log.holds_none_of(*SECRETS)
    [told] = [line for line in log.lines if line["event"].startswith("Exception in ASGI application")]
    assert told["exception"].splitlines()[0] == "ValueError"
    assert "in fails" in told["exception"]


def test_uvicorn_tells_a_request_that_is_none_and_not_what_came(log: Log) -> None:
    with served(FastAPI()) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        raw = socket_send(host, int(port), f"{CODE} {MAIL}\r\n\r\n".encode())

    assert b"400" in raw
    log.holds_none_of(*SECRETS)


def socket_send(host: str, port: int, data: bytes) -> bytes:
    import socket

    with socket.create_connection((host, port), timeout=10) as sock:
        sock.sendall(data)
        return sock.recv(4096)


def test_dramatiq_tells_a_message_that_fails_and_not_its_arguments(log: Log) -> None:
    broker = StubBroker(middleware=[])

    @dramatiq.actor(broker=broker)
    def issue_codes(job: dict[str, str]) -> None:
        raise RuntimeError(f"cannot issue to {job['address']}")

    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    worker.start()
    issue_codes.send(BODY)
    broker.join("default", fail_fast=False)
    worker.stop()

    log.holds_none_of(*SECRETS, "84213")
    [failed] = [line for line in log.lines if line["event"].startswith("Failed to process message")]
    assert failed["event"] == "Failed to process message %s with unhandled exception."
    assert "in issue_codes" in failed["exception"]


def test_psycopg_quotes_the_value_of_a_key_and_it_is_not_told(log: Log, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as conn:
        conn.execute("CREATE TEMPORARY TABLE held (code text PRIMARY KEY)")
        conn.execute("INSERT INTO held VALUES (%s)", [CODE])
        with pytest.raises(psycopg.errors.UniqueViolation, match=CODE) as refused:
            conn.execute("INSERT INTO held VALUES (%s)", [CODE])
        conn.rollback()
    logging.getLogger("psycopg").warning("error ignored: %s", refused.value, exc_info=refused.value)

    log.holds_none_of(CODE)
    assert log.lines[-1]["exception"].splitlines()[0] == "UniqueViolation"


def test_sqlalchemy_tells_statements_without_their_parameters(log: Log, ledger: Ledger) -> None:
    statement = text("INSERT INTO suppressions (channel, digest, reason, created_at) VALUES (:c, :d, :r, 0)")
    values = {"c": MAIL, "d": CODE, "r": TOKEN}
    with ledger.engine.begin() as conn:
        conn.execute(statement, values)
    with pytest.raises(IntegrityError) as refused, ledger.engine.begin() as conn:
        conn.execute(statement, values)
    logging.getLogger("sqlalchemy.pool").error("Exception during reset", exc_info=refused.value)

    log.holds_none_of(*SECRETS)
    assert "because of: " in log.lines[-1]["exception"]
    assert any(line["logger"].startswith("sqlalchemy.engine") for line in log.lines), "it was asked to tell all"


def test_an_error_of_the_ledger_hides_parameters_even_in_its_own_text(ledger: Ledger) -> None:
    orphan = text(
        "INSERT INTO redemptions (code_id, deposit_id, campaign_id, player_id, amount, currency, at) "
        "VALUES (0, NULL, '', :player_id, '', '', 0)"
    )
    with pytest.raises(IntegrityError, match="hide_parameters") as refused, ledger.begin() as conn:
        conn.execute(orphan, {"player_id": CODE})

    assert f"'player_id': '{CODE}'" not in str(refused.value)


def test_pydantic_quotes_its_input_and_it_is_not_told(log: Log) -> None:
    class Recipient(BaseModel):
        player_id: int
        address: int

    def read() -> None:
        Recipient.model_validate({"player_id": CODE, "address": MAIL})

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()

    log.holds_none_of(*SECRETS)
    assert log.lines[0]["exception"].splitlines()[0] == "ValidationError"


def test_httpx_logs_its_url_and_the_token_in_it_is_not_told(log: Log) -> None:
    with site() as url, httpx.Client(trust_env=False) as client:
        answer = client.post(f"{url}/bot{TOKEN}/sendMessage", json=BODY)
        with pytest.raises(httpx.HTTPStatusError, match=TOKEN) as refused:
            answer.raise_for_status()
    logging.getLogger("telegram").error("No error handlers are registered.", exc_info=refused.value)

    log.holds_none_of(*SECRETS)
    assert any(line["event"].startswith("HTTP Request: %s %s") for line in log.lines)


def test_aiohttp_and_asyncio_fail_with_the_url_and_it_is_not_told(log: Log) -> None:
    async def send() -> None:
        asyncio.get_running_loop().set_debug(True)
        async with aiohttp.ClientSession() as session:
            await session.post(f"http://127.0.0.1:1/bot{TOKEN}/sendMessage", json=BODY)

    async def main() -> None:
        task = asyncio.create_task(send(), name=f"to {MAIL}")
        await asyncio.wait([task])
        del task

    asyncio.run(main(), debug=True)
    import gc

    gc.collect()

    log.holds_none_of(*SECRETS)
    assert any("ClientConnectorError" in line.get("exception", "") for line in log.lines)


def test_redis_quotes_the_command_and_it_is_not_told(log: Log, queue_url: str) -> None:
    client = redis.Redis.from_url(queue_url)
    with pytest.raises(redis.ResponseError, match=CODE) as refused:
        client.execute_command("TELL", CODE, MAIL)  # type: ignore[no-untyped-call]
    logging.getLogger("redis").error("lost: %s", refused.value, exc_info=refused.value)
    client.close()

    log.holds_none_of(*SECRETS)
    assert log.lines[-1]["exception"].splitlines()[0] == "ResponseError"


@pytest.mark.parametrize("style", ["json", "text"])
def test_the_text_for_a_terminal_tells_no_more_than_json_does(log: Log, style: Any) -> None:
    log.configure(style)
    local = json.dumps(BODY)
    logging.getLogger("dramatiq").error("Unhandled error during %s", local, exc_info=ValueError(local))

    log.holds_none_of(*SECRETS)
    assert "ValueError" in log.text
