"""Web Push against web-push-testing, which verifies the VAPID token and decrypts as a browser would."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from py_vapid.utils import b64urlencode
from pydantic import SecretStr

from promocast.channels.http import Http
from promocast.channels.webpush import WebPush
from promocast.model import Message, PushSubscription, Rejected, Sent, system_clock
from promocast.settings import WebPushSettings
from promocast.standins.webpush import vapid_private_key
from tests.channels.thirdparty.node import serving

pytestmark = pytest.mark.anyio


class Browser:
    """A subscription at the server, by the server's own account of it."""

    def __init__(self, url: str, private_key: str) -> None:
        self._url = url
        public = Vapid02.from_string(private_key).public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        options = {"userVisibleOnly": "true", "applicationServerKey": b64urlencode(public)}
        made = self._post("/subscribe", options)["data"]
        self._hash = made["clientHash"]
        # It gives its keys in plain base64; browsers give them in base64url.
        keys = {name: key.replace("+", "-").replace("/", "_").rstrip("=") for name, key in made["keys"].items()}
        self.subscription = PushSubscription(made["endpoint"].replace("localhost", "127.0.0.1"), **keys)

    def shown(self) -> list[Any]:
        found = self._post("/get-notifications", {"clientHash": self._hash})["data"]["messages"]
        return [orjson.loads(message) for message in found]

    def expire(self) -> None:
        httpx.post(f"{self._url}/expire-subscription/{self._hash}", trust_env=False).raise_for_status()

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return httpx.post(self._url + path, json=body, trust_env=False).raise_for_status().json()


@asynccontextmanager
async def service(ours: str, subscribed_to: str) -> AsyncIterator[tuple[WebPush, Browser]]:
    """The adapter with our key, and a browser that subscribed to a key."""
    http = Http()
    with serving("webpush") as url:
        settings = WebPushSettings(
            private_key=SecretStr(ours), subject="mailto:crm@example.com", origins=(url,), allow_private=True
        )
        channel = WebPush(settings, http, system_clock)
        try:
            yield channel, Browser(url, subscribed_to)
        finally:
            await channel.close()
            await http.close()


def message(browser: Browser) -> Message:
    return Message(
        key="d-test-1",
        channel="push",
        campaign="welcome",
        address=browser.subscription,
        content={"title": "Привет, Ann", "body": "Your code: AB12CD34", "link": "https://example.com/welcome"},
    )


async def test_what_the_browser_decrypts_is_what_was_sent() -> None:
    key = vapid_private_key()
    async with service(key, key) as (channel, browser):
        assert isinstance(await channel.send(message(browser)), Sent)
        [shown] = browser.shown()

    assert (shown["title"], shown["body"]) == ("Привет, Ann", "Your code: AB12CD34")


async def test_a_subscription_that_has_expired_is_dead() -> None:
    key = vapid_private_key()
    async with service(key, key) as (channel, browser):
        browser.expire()
        outcome = await channel.send(message(browser))
        assert browser.shown() == []

    assert isinstance(outcome, Rejected)
    assert outcome.address_dead


async def test_a_browser_that_subscribed_to_another_key_shows_nothing() -> None:
    async with service(vapid_private_key(), vapid_private_key()) as (channel, browser):
        assert not isinstance(await channel.send(message(browser)), Sent)
        assert browser.shown() == []
