"""Popup and call against the reference library of Standard Webhooks in another language than ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from promocast.channels.http import Http
from promocast.channels.signed_post import Call, Popup
from promocast.model import Channel, Message, Sent, system_clock
from promocast.settings import CallSettings, PopupSettings, SignedPost
from promocast.signing import new_webhook_secret
from tests.channels.thirdparty.node import serving

pytestmark = pytest.mark.anyio

SECRET, OTHER = new_webhook_secret(bytes(range(32))), new_webhook_secret(bytes(range(1, 33)))
POPUP = Message(
    key="d-test-1",
    channel="popup",
    campaign="welcome",
    address="84213",
    content={"title": "Привет, Ann", "body": "Your code: AB12CD34"},
    player_id="84213",
    code="AB12CD34",
    when_shown="CODE_IS_SHOWN",
)
CALL = Message(
    key="d-test-2",
    channel="call",
    campaign="welcome",
    address="crm",
    content={"body": '{ "code" : "AB12CD34", "имя" : "Анна" }'},
)


def channel(name: str, url: str, secrets: Sequence[str], http: Http) -> Channel:
    mine = tuple(SecretStr(secret) for secret in secrets)
    if name == "popup":
        return Popup(PopupSettings(url=url, secrets=mine), http, system_clock)
    return Call(CallSettings(), {"crm": SignedPost(url=url, secrets=mine)}, http, system_clock)


@asynccontextmanager
async def site(name: str, *secrets: str) -> AsyncIterator[tuple[Channel, str]]:
    http = Http()
    with serving("webhooks", SECRET=SECRET) as url:
        made = channel(name, url + "/hook", secrets, http)
        try:
            yield made, url
        finally:
            await made.close()
            await http.close()


def taken(url: str) -> Any:
    return httpx.get(url, trust_env=False).json()


@pytest.mark.parametrize("secrets", [(SECRET,), (OTHER, SECRET), (SECRET, OTHER)], ids=["one", "new", "old"])
async def test_it_believes_a_popup_also_while_secrets_rotate(secrets: tuple[str, ...]) -> None:
    async with site("popup", *secrets) as (popup, url):
        assert isinstance(await popup.send(POPUP), Sent)
        [found] = taken(url)

    assert found["id"] == POPUP.key
    assert found["event"]["type"] == "popup"
    assert found["event"]["data"]["title"] == "Привет, Ann"


async def test_it_believes_a_call_with_the_bytes_that_the_campaign_wrote() -> None:
    async with site("call", SECRET) as (call, url):
        assert isinstance(await call.send(CALL), Sent)
        [found] = taken(url)

    assert found == {"id": CALL.key, "event": {"code": "AB12CD34", "имя": "Анна"}}


@pytest.mark.parametrize(("name", "message"), [("popup", POPUP), ("call", CALL)])
async def test_it_does_not_believe_another_secret(name: str, message: Message) -> None:
    async with site(name, OTHER) as (posting, url):
        assert not isinstance(await posting.send(message), Sent)
        assert taken(url) == []
