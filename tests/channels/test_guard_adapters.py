"""The guard behind each adapter: what a forbidden address comes to, and how an operator allows one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from promocast.channels.fcm import Fcm
from promocast.channels.http import Http, Pools
from promocast.channels.signed_post import Call, Popup
from promocast.channels.sms import Sms
from promocast.channels.telegram import Telegram
from promocast.channels.webpush import WebPush
from promocast.errors import ConfigError
from promocast.loading import load
from promocast.model import Channel, Halted, Message, Outcome, PushSubscription, Rejected, Sent
from promocast.settings import (
    CallSettings,
    FcmSettings,
    IPNetwork,
    PopupSettings,
    SignedPost,
    SmsSettings,
    TelegramSettings,
    WebPushSettings,
)
from promocast.standins.fcm import FcmServer
from promocast.standins.webpush import PushService, vapid_private_key
from tests.channels.targets import CountingServer, Names
from tests.conftest import StoppedClock

pytestmark = pytest.mark.anyio

# What `allow_private` may be: anything that TOML can say.
Allow = bool | list[str]
CLOCK = StoppedClock()
KEYS = PushService().new_subscription()


@pytest.fixture
async def server() -> AsyncIterator[CountingServer]:
    async with CountingServer() as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    made = Http(Pools(Names()))
    yield made
    await made.close()


def popup(url: str, allow: Allow, http: Http) -> Channel:
    return Popup(PopupSettings(url=url, allow_private=allow), http, CLOCK)


def call(url: str, allow: Allow, http: Http) -> Channel:
    return Call(CallSettings(), {"crm": SignedPost(url=url, allow_private=allow)}, http, CLOCK)


def sms(url: str, allow: Allow, http: Http) -> Channel:
    settings = SmsSettings(
        account_sid="AC1", auth_token=SecretStr("t"), sender="+35699000001", base_url=url, allow_private=allow
    )
    return Sms(settings, http, CLOCK)


def telegram(url: str, allow: Allow, http: Http) -> Channel:
    settings = TelegramSettings(token=SecretStr("1:a"), base_url=f"{url}/bot", allow_private=allow)
    return Telegram(settings, http, CLOCK)


def fcm(url: str, allow: Allow, http: Http) -> Channel:
    """`url` is where the credentials send it for its token, which comes before any message."""
    credentials = {**orjson.loads(FcmServer(CLOCK).service_account_json()), "token_uri": url}
    return Fcm(FcmSettings(credentials=SecretStr(orjson.dumps(credentials).decode()), allow_private=allow), http, CLOCK)


def webpush(allow: Allow, http: Http) -> Channel:
    key = SecretStr(vapid_private_key())
    return WebPush(WebPushSettings(private_key=key, subject="mailto:a@b.example", allow_private=allow), http, CLOCK)


# The adapters whose address is in promocast.toml, and what their refusal is called.
CONFIGURED: dict[Callable[[str, Allow, Http], Channel], str] = {
    popup: "forbidden address",
    call: "forbidden address",
    sms: "forbidden address",
    telegram: "forbidden address",
    fcm: "fcm token forbidden address",
}
each_configured = pytest.mark.parametrize("make", CONFIGURED, ids=lambda make: make.__name__)


async def send(channel: Channel, address: Any) -> Outcome:
    content = {"title": "Hi", "body": "{}", "text": "Hi"}
    outcome = await channel.send(Message("d-1", "any", "welcome", address, content, "84213", "AB12CD34", "en"))
    await channel.close()
    return outcome


def address_of(make: Callable[..., Channel]) -> str:
    return {call: "crm", sms: "+35699123456"}.get(make, "1001")


@each_configured
@pytest.mark.parametrize("allow", [False, [], ["10.0.0.0/8"], ["::1/128"]], ids=str)
async def test_a_name_that_leads_into_a_private_network_halts(
    make: Callable[[str, Allow, Http], Channel], allow: Allow, http: Http, server: CountingServer
) -> None:
    outcome = await send(make(f"http://loopback.test:{server.port}", allow, http), address_of(make))

    assert outcome == Halted(CONFIGURED[make])
    assert server.connections == 0


@each_configured
@pytest.mark.parametrize(
    ("host", "allow"),
    [
        ("loopback.test", True),
        ("loopback.test", ["127.0.0.0/8"]),
        ("loopback.test", ["10.0.0.0/8", "127.0.0.1"]),
        ("127.0.0.1", False),
        ("localhost", False),
    ],
    ids=str,
)
async def test_an_operator_reaches_what_is_allowed_or_written_out(
    make: Callable[[str, Allow, Http], Channel], host: str, allow: Allow, http: Http, server: CountingServer
) -> None:
    outcome = await send(make(f"http://{host}:{server.port}", allow, http), address_of(make))

    assert not isinstance(outcome, Halted)
    assert server.connections == 1


@each_configured
async def test_credentials_in_a_configured_url_halt(
    make: Callable[[str, Allow, Http], Channel], http: Http, server: CountingServer
) -> None:
    outcome = await send(make(f"http://user:word@127.0.0.1:{server.port}", True, http), address_of(make))

    assert outcome == Halted(CONFIGURED[make].replace("address", "url"))
    assert server.connections == 0


async def test_fcm_judges_its_own_address_as_well(http: Http, server: CountingServer) -> None:
    async with FcmServer(CLOCK) as google:
        credentials = SecretStr(google.service_account_json())
        settings = FcmSettings(credentials=credentials, base_url=f"http://loopback.test:{server.port}")

        assert await send(Fcm(settings, http, CLOCK), "a-token") == Halted("forbidden address")
        assert len(google.requests) == 1, "the token, from the address that is written out"
    assert server.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "loopback.test", "[::1]", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "a..b"]
)
async def test_an_endpoint_that_leads_into_a_private_network_is_dead(
    host: str, http: Http, server: CountingServer
) -> None:
    subscription = PushSubscription(f"https://{host}:{server.port}/push/1", KEYS.p256dh, KEYS.auth)

    outcome = await send(webpush(False, http), subscription)

    assert isinstance(outcome, Rejected)
    assert outcome.address_dead
    assert outcome.why in {"forbidden address", "forbidden url"}
    assert server.connections == 0


@pytest.mark.parametrize(
    "endpoint", ["http://push.example/1", "ftp://push.example/1", "https://a@push.example/1", "https://①②⑦.0.0.1/1"]
)
async def test_an_endpoint_of_another_form_is_dead(endpoint: str, http: Http) -> None:
    outcome = await send(webpush(False, http), PushSubscription(endpoint, KEYS.p256dh, KEYS.auth))

    assert outcome == Rejected("webpush bad_subscription", address_dead=True)


async def test_a_private_push_service_needs_its_network_allowed(http: Http, server: CountingServer) -> None:
    # To be allowed elsewhere is no permission, and neither is the connection that is open by it.
    assert await send(popup(server.url, False, http), "84213") == Sent()
    subscription = PushSubscription(f"{server.url}push/1", KEYS.p256dh, KEYS.auth)

    refused = await send(webpush(["10.0.0.0/8"], http), subscription)
    taken = await send(webpush(["127.0.0.0/8"], http), subscription)

    assert refused == Rejected("forbidden address", address_dead=True)
    assert isinstance(taken, Sent)
    assert server.connections == 2


# The setting.


def nets(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, texts))


def allowed(tmp_path: Path, toml: str, **environ: str) -> tuple[IPNetwork, ...]:
    path = tmp_path / "promocast.toml"
    path.write_text(f"[channels.popup]\n{toml}\n", encoding="utf-8")
    return load(path, environ).channels.popup.allow_private


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("", nets()),
        ("allow_private = false", nets()),
        ("allow_private = []", nets()),
        ("allow_private = true", nets("0.0.0.0/0", "::/0")),
        (
            'allow_private = ["10.20.0.0/16", "fd12::/48", "192.168.1.7"]',
            nets("10.20.0.0/16", "fd12::/48", "192.168.1.7"),
        ),
    ],
)
def test_allow_private_in_the_file(tmp_path: Path, written: str, means: tuple[IPNetwork, ...]) -> None:
    assert allowed(tmp_path, written) == means


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("true", nets("0.0.0.0/0", "::/0")),
        ("False", nets()),
        ("10.0.0.0/8", nets("10.0.0.0/8")),
        ('["10.0.0.0/8", "::1"]', nets("10.0.0.0/8", "::1")),
    ],
)
def test_allow_private_in_the_environment(tmp_path: Path, written: str, means: tuple[IPNetwork, ...]) -> None:
    assert allowed(tmp_path, "", PROMOCAST_CHANNELS__POPUP__ALLOW_PRIVATE=written) == means


@pytest.mark.parametrize("written", ['["10.0.0.1/8"]', '["crm.internal"]', '"yes"', "1", "[true]", "[10]", "{}"])
def test_an_allow_private_that_is_no_network_is_an_error(tmp_path: Path, written: str) -> None:
    with pytest.raises(ConfigError, match=r"channels\.popup\.allow_private: "):
        allowed(tmp_path, f"allow_private = {written}")
