"""The exclusion service over HTTP: what it is asked, and what counts as an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from promocast.channels.http import Http
from promocast.errors import ExclusionUnavailable
from promocast.exclusion import HttpExclusionService
from promocast.settings import ExclusionSettings
from promocast.standins.base import Fault, Reply
from promocast.standins.exclusion import ExclusionRegister

pytestmark = pytest.mark.anyio

TOKEN = "t0ken"


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
