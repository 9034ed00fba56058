"""The exclusion service over HTTP: what it is asked, and what counts as an answer."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from promocast.channels.http import Http, Pools
from promocast.demo.world import free_port
from promocast.errors import ExclusionUnavailable
from promocast.exclusion import HttpExclusionService
from promocast.settings import ExclusionSettings
from promocast.standins.base import Fault, Reply
from promocast.standins.exclusion import ExclusionRegister
from tests.channels.targets import CountingServer, Names
from tests.e2e.harness import eventually

pytestmark = pytest.mark.anyio

TOKEN = "t0ken"
EXAMPLE = Path(__file__).parents[2] / "examples" / "exclusion_server.py"


@pytest.fixture
async def register() -> AsyncIterator[ExclusionRegister]:
    async with ExclusionRegister(TOKEN) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    made = Http()
    yield made
    await made.close()


def service(register: ExclusionRegister, http: Http, **settings: Any) -> HttpExclusionService:
    given = {"url": f"{register.url}/excluded", "timeout": 300, "token": SecretStr(TOKEN)} | settings
    return HttpExclusionService(ExclusionSettings(**given), http)


async def test_it_is_asked_by_one_post_and_names_the_excluded(register: ExclusionRegister, http: Http) -> None:
    asking = service(register, http)
    register.excluded = {"bx", "y"}

    assert await asking.excluded(["a", "bx", "c"]) == {"bx"}
    assert await asking.excluded([]) == frozenset()

    asked = register.requests[0]
    assert (asked.method, asked.path, json.loads(asked.body)) == ("POST", "/excluded", {"player_ids": ["a", "bx", "c"]})
    with pytest.raises(ExclusionUnavailable):
        await service(register, http, token=SecretStr("wrong")).excluded(["a"])


@pytest.mark.parametrize(
    "answer",
    [
        Reply(500),
        Reply(204),
        Reply(401, b'{"excluded": []}'),
        Reply(302, b'{"excluded": []}', {"location": "http://127.0.0.1:1/"}),
        Reply(200, b""),
        Reply(200, b"<html>"),
        Reply(200, b"[]"),
        Reply(200, b"{}"),
        Reply(200, b'{"excluded": null}'),
        Reply(200, b'{"excluded": "a"}'),
        Reply(200, b'{"excluded": [1]}'),
        Reply(200, b'{"excluded": ["another"]}'),
        Fault.DROP,
        Fault.HANG,
    ],
    ids=str,
)
async def test_anything_else_is_no_answer(register: ExclusionRegister, http: Http, answer: Reply | Fault) -> None:
    register.script = lambda _: answer

    with pytest.raises(ExclusionUnavailable):
        await service(register, http).excluded(["a"])


async def test_a_service_that_is_not_there_is_no_answer(register: ExclusionRegister, http: Http) -> None:
    await register.stop()

    with pytest.raises(ExclusionUnavailable):
        await service(register, http).excluded(["a"])


async def test_a_name_that_leads_into_a_private_network_needs_it_allowed() -> None:
    http = Http(Pools(Names()))
    async with CountingServer() as server:
        settings = ExclusionSettings(url=f"http://loopback.test:{server.port}")
        with pytest.raises(ExclusionUnavailable, match="forbidden address"):
            await HttpExclusionService(settings, http).excluded(["a"])
        assert server.connections == 0
    await http.close()


@pytest.fixture
def example(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of the example, and the file that it reads."""
    file, port = tmp_path / "excluded.txt", free_port()
    file.write_text("p2\n", encoding="utf-8")

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with subprocess.Popen([sys.executable, str(EXAMPLE), str(port), TOKEN, str(file)]) as process:
        try:
            eventually("the example answers", answers, 20)
            yield f"http://127.0.0.1:{port}/", file
        finally:
            process.terminate()


async def test_the_example_is_a_whole_service(http: Http, example: tuple[str, Path]) -> None:
    url, file = example
    asking = HttpExclusionService(ExclusionSettings(url=url, token=SecretStr(TOKEN)), http)

    assert await asking.excluded(["p1", "p2"]) == {"p2"}
    file.write_text("p1\n", encoding="utf-8")
    assert await asking.excluded(["p1", "p2"]) == {"p1"}
    with pytest.raises(ExclusionUnavailable, match="http 401"):
        await HttpExclusionService(ExclusionSettings(url=url, token=SecretStr("guessed")), http).excluded(["p1"])
