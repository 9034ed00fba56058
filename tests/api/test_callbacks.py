"""Callbacks over HTTP: proven by the provider, recorded once, and nothing of them lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx
import pytest
from anyio.from_thread import BlockingPortal
from pydantic import SecretStr
from sqlalchemy import select, update
from twilio.request_validator import RequestValidator

from promocast.channels.mime import Letterhead
from promocast.ledger import players, schema, suppressions
from promocast.settings import (
    ApiSettings,
    ChannelsSettings,
    EmailSettings,
    Settings,
    SmsSettings,
    TelegramSettings,
)
from tests.api.conftest import CAMPAIGN, Api, job_for
from tests.callbacks.test_bounces import dsn
from tests.conftest import StoppedClock

URL = "https://promo.example.com"
TOKEN = "0123456789abcdef0123456789abcdef"
EVERYWHERE = CAMPAIGN.replace('send = ["popup"]', 'send = ["popup", "email", "sms", "telegram"]')
CHANNELS = ChannelsSettings(
    email=EmailSettings(
        host="mail.example.com",
        sender="codes@example.com",
        bounce_address="bounces@mail.example.com",
        callback_secret=SecretStr("bounce-secret"),
    ),
    sms=SmsSettings(account_sid="AC1", auth_token=SecretStr(TOKEN), sender="+35699000001"),
    telegram=TelegramSettings(token=SecretStr("1:a"), callback_secret=SecretStr("telegram-secret")),
)


@dataclass
class Desk:
    """The API with a delivery on each channel, sent."""

    api: Api
    ids: dict[str, int]

    @property
    def client(self) -> httpx.Client:
        return self.api.stranger()

    def key(self, channel: str) -> str:
        return self.api.runtime.returns.key_of(self.ids[channel])

    def state(self, channel: str) -> str:
        d = schema.deliveries.c
        with self.api.ledger.read() as conn:
            return str(conn.execute(select(d.state).where(d.id == self.ids[channel])).scalar_one())

    def twilio(self, **fields: str) -> httpx.Response:
        path = f"/v1/callbacks/sms?{urlencode({'delivery': self.key('sms')})}"
        signature = RequestValidator(TOKEN).compute_signature(URL + path, fields)
        return self.client.post(path, data=fields, headers={"x-twilio-signature": signature})


@pytest.fixture
def desk(settings: Settings, clock: StoppedClock, portal: BlockingPortal) -> Iterator[Desk]:
    api = Api(
        settings.model_copy(update={"api": ApiSettings(public_url=URL + "/"), "channels": CHANNELS}), clock, portal
    )
    api.apply(EVERYWHERE)
    job = job_for("p1")
    job["recipients"][0]["addresses"] = {"email": "ann@player.example", "sms": "+35699123456", "telegram": "1001"}
    api.client().post("/v1/issue", json=job).raise_for_status()
    api.work()
    d = schema.deliveries.c
    with api.ledger.begin() as conn:
        conn.execute(update(schema.deliveries).values(state="sent", sent_at=clock(), due_at=None))
        ids = {row.channel: row.id for row in conn.execute(select(d.channel, d.id))}
    yield Desk(api, ids)
    api.runtime.close()


def test_twilio_tells_that_a_message_arrived_and_the_code_shows_it(desk: Desk) -> None:
    assert desk.twilio(MessageSid="SM1", MessageStatus="delivered", To="+35699123456").status_code == 204
    assert desk.twilio(MessageSid="SM1", MessageStatus="sent", To="+35699123456").status_code == 204

    assert desk.state("sms") == "delivered"
    client = desk.api.client()
    [code] = client.get("/v1/codes", params={"request_id": "r-1"}).json()["items"]
    timeline = client.get(f"/v1/codes/{code['code']}").json()["timeline"]
    assert "arrived by sms" in [line["what"] for line in timeline]
    [event] = [e for e in client.get("/v1/events").json()["items"] if e["type"] == "delivery.delivered"]
    assert (event["code"], event["data"]["channel"]) == (code["code"], "sms")


def test_stop_comes_without_a_delivery_and_stops_the_number(desk: Desk) -> None:
    fields = {"MessageSid": "SM2", "From": "+35699123456", "To": "+35699000001", "Body": "STOP"}

    assert desk.twilio(**fields).status_code == 204

    with desk.api.ledger.read() as conn:
        digest = suppressions.digest("+35699123456")
        assert suppressions.among(conn, [("sms", digest)], desk.api.clock()) == {("sms", digest): "answered STOP"}


def test_a_bounce_ends_the_delivery_that_it_came_back_from(desk: Desk) -> None:
    token = desk.api.runtime.returns.token("bounce", desk.key("email"))
    bounce = dsn("failed", "5.1.1", to=Letterhead(CHANNELS.email).return_path(token)).encode()

    answer = desk.client.post("/v1/callbacks/email", content=bounce, headers={"authorization": "Bearer bounce-secret"})

    assert (answer.status_code, desk.state("email")) == (204, "rejected")


def test_telegram_tells_that_the_bot_was_blocked(desk: Desk) -> None:
    membership = {
        "chat": {"id": 1001, "type": "private"},
        "date": desk.api.clock() // 1000,
        "new_chat_member": {"status": "kicked"},
    }
    answer = desk.client.post(
        "/v1/callbacks/telegram",
        json={"update_id": 1, "my_chat_member": membership},
        headers={"x-telegram-bot-api-secret-token": "telegram-secret"},
    )

    assert answer.status_code == 204
    with desk.api.ledger.read() as conn:
        assert suppressions.among(conn, [("telegram", suppressions.digest("1001"))], desk.api.clock())


@pytest.mark.parametrize("channel", ["sms", "telegram", "email"])
def test_what_is_not_proven_is_refused_and_leaves_no_trace(desk: Desk, channel: str) -> None:
    answer = desk.client.post(f"/v1/callbacks/{channel}", content=b"MessageStatus=delivered")

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert desk.api.inbox() == []
    assert desk.state(channel) == "sent"


@pytest.mark.parametrize("channel", ["sms", "telegram", "email", "popup", "push", "call", "pigeon"])
def test_without_a_secret_there_is_nothing_to_call(api: Api, channel: str) -> None:
    assert api.stranger().post(f"/v1/callbacks/{channel}", content=b"{}").status_code == 404


def test_what_the_provider_sent_and_nobody_understands_is_kept(desk: Desk) -> None:
    answer = desk.client.post(
        "/v1/callbacks/telegram",
        content=b'{"update_id": "nine"}',
        headers={"x-telegram-bot-api-secret-token": "telegram-secret"},
    )

    assert answer.status_code == 204  # or Telegram would repeat it for a day
    [kept] = desk.api.inbox()
    assert (kept.kind, kept.reason, kept.body) == ("callback", "unreadable_callback", b'{"update_id": "nine"}')
    assert kept.detail.startswith("telegram: ")


def test_a_link_asks_first_and_one_click_unsubscribes(desk: Desk) -> None:
    returns = desk.api.runtime.returns
    link = returns.unsubscribe_url(desk.key("email"))
    assert link.startswith(f"{URL}/u/")
    path = link.removeprefix(URL)

    asked = desk.client.get(path)
    assert asked.status_code == 200
    assert '<form method="post">' in asked.text
    assert refusal(desk) is None

    for _ in range(2):
        done = desk.client.post(path, data={"List-Unsubscribe": "One-Click"})
        assert (done.status_code, done.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert refusal(desk) == "opted_out"
    assert desk.api.client().get("/v1/players/p1").json()["consents"] == [{"channel": "email", "opted_in": False}]


def refusal(desk: Desk) -> str | None:
    with desk.api.ledger.read() as conn:
        player = players.by_ids(conn, ["p1"]).get("p1")
    return player.refusal("email", desk.api.clock()) if player else None


def test_a_mangled_link_says_so_and_changes_nothing(desk: Desk) -> None:
    good = desk.api.runtime.returns.token("unsubscribe", desk.key("email"))
    bounce = desk.api.runtime.returns.token("bounce", desk.key("email"))

    for token in (good[:-1], good + "a", bounce, "x", "d-00000000-1-" + "a" * 24):
        for method in ("GET", "POST"):
            answer = desk.client.request(method, f"/u/{token}")
            assert (answer.status_code, "not valid" in answer.text) == (404, True)
    assert refusal(desk) is None
