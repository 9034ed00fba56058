"""FCM: what its answers mean, what goes over the wire, and what becomes of access tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from promocast.channels.fcm import Fcm, build_options, read
from promocast.channels.http import Answer
from promocast.errors import ConfigError
from promocast.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Deferred,
    Message,
    PushSubscription,
    Rejected,
    Sent,
)
from promocast.settings import Settings
from tests.channels.answers import load, word
from tests.channels.rig_fcm import FcmRig
from tests.conftest import NOW, StoppedClock

pytestmark = pytest.mark.anyio

ANSWERS = load("fcm")


@pytest.fixture
async def rig(clock: StoppedClock) -> AsyncIterator[FcmRig]:
    async with FcmRig(clock) as made:
        yield made


def sent_messages(rig: FcmRig) -> list[dict[str, Any]]:
    return [orjson.loads(request.body)["message"] for request in rig.server.sends]


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: f"{row['status']}-{row['outcome']}")
def test_an_answer_means(row: dict[str, Any]) -> None:
    answer = Answer(row["status"], row.get("headers", {}), row["body"].encode())

    outcome = read(answer, NOW, payload_known_good=row.get("after_success", False))

    assert word(outcome) == row["outcome"]


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: f"{row['status']}-{row['outcome']}")
def test_an_outcome_says_codes_and_never_the_provider_s_words(row: dict[str, Any]) -> None:
    outcome = read(Answer(row["status"], row.get("headers", {}), row["body"].encode()), NOW)

    if not isinstance(outcome, Sent):
        assert outcome.why.startswith("fcm ")
        assert outcome.why.removeprefix("fcm ").removeprefix("http ").replace("_", "").isalnum(), outcome.why


def test_retry_after_is_honoured_and_a_minute_where_there_is_none() -> None:
    assert read(Answer(429, {"retry-after": "30"}, b""), NOW) == Deferred(
        NOW + 30 * SECOND, "fcm RESOURCE_EXHAUSTED", True
    )
    assert read(Answer(429, {}, b""), NOW) == Deferred(NOW + MINUTE, "fcm RESOURCE_EXHAUSTED", True)
    assert read(Answer(503, {"retry-after": "120"}, b""), NOW) == Deferred(NOW + 2 * MINUTE, "fcm UNAVAILABLE")


async def test_the_device_gets_exactly_what_was_rendered(rig: FcmRig) -> None:
    outcome = await rig.channel.send(rig.message())

    assert outcome == Sent("projects/promocast-demo/messages/0:0000000000000001")
    (message,) = rig.server.messages
    assert message.notification.model_dump(exclude_unset=True) == {
        "title": "Привет, Ann",
        "body": "Your code: AB12CD34",
    }
    assert message.data == {
        "code": "AB12CD34",
        "campaign": "welcome",
        "delivery_id": "d-test-1",
        "link": "https://example.com/welcome",
    }
    assert message.webpush.fcm_options.link == "https://example.com/welcome"


async def test_a_message_lives_as_long_as_its_code(rig: FcmRig, clock: StoppedClock) -> None:
    message = dataclasses.replace(rig.message(), expires_at=NOW + 90 * MINUTE)
    clock.advance(30 * MINUTE)

    await rig.channel.send(message)

    (got,) = rig.server.messages
    assert got.android.ttl == "3600s"
    assert got.webpush.headers.ttl == "3600"
    assert got.apns.headers.expiration == str((NOW + 90 * MINUTE) // SECOND)


@pytest.mark.parametrize(
    ("expires_at", "life"),
    [(None, 28 * DAY // SECOND), (NOW + 60 * DAY, 28 * DAY // SECOND), (NOW - HOUR, 0), (NOW + 1_999, 1)],
)
def test_a_life_is_within_what_fcm_takes(expires_at: int | None, life: int) -> None:
    message = Message("d-1", "push", "welcome", "token", {}, expires_at=expires_at)

    assert build_options(message, NOW)["android"]["ttl"] == f"{life}s"


@pytest.mark.parametrize("key", ["d-test-1", "8e5f54cc-0000-4000-8000-9b7ad1f8b0f5", "k" * 64, "k" * 65, "ключ" * 9])
async def test_collapse_keys_are_stable_and_within_limits(rig: FcmRig, clock: StoppedClock, key: str) -> None:
    for _ in range(2):
        assert isinstance(await rig.channel.send(rig.message(key)), Sent)
        clock.advance(MINUTE)

    first, second = sent_messages(rig)
    assert first["android"]["collapse_key"] == first["webpush"]["notification"]["tag"] == key
    for part, name, longest in (("apns", "apns-collapse-id", 64), ("webpush", "Topic", 32)):
        assert first[part]["headers"][name] == second[part]["headers"][name]
        assert len(first[part]["headers"][name].encode()) <= longest
    other = build_options(rig.message(key + "x"), NOW)
    assert other["apns"]["headers"]["apns-collapse-id"] != first["apns"]["headers"]["apns-collapse-id"]
    assert other["webpush"]["headers"]["Topic"] != first["webpush"]["headers"]["Topic"]


async def test_a_link_that_is_not_https_reaches_the_app_only(rig: FcmRig) -> None:
    message = dataclasses.replace(rig.message(), content={"title": "Hi", "body": "", "link": "shop://deposit"})

    assert isinstance(await rig.channel.send(message), Sent)

    (got,) = sent_messages(rig)
    assert got["data"]["link"] == "shop://deposit"
    assert "fcm_options" not in got["webpush"]
    assert got["notification"] == {"title": "Hi"}


async def test_a_payload_that_is_too_large_is_refused_before_sending(rig: FcmRig) -> None:
    message = dataclasses.replace(rig.message(), content={"title": "Hi", "body": "п" * 2048})

    assert await rig.channel.send(message) == Rejected("fcm too_large", address_dead=False)
    assert rig.server.requests == []


async def test_the_largest_payload_is_taken(rig: FcmRig) -> None:
    frame = rig.message()
    empty = orjson.dumps(
        {
            "notification": {"title": "Hi", "body": ""},
            "data": {"code": frame.code, "campaign": frame.campaign, "delivery_id": frame.key},
        }
    )
    content = {"title": "Hi", "body": "x" * (4096 - len(empty))}

    assert isinstance(await rig.channel.send(dataclasses.replace(frame, content=content)), Sent)
    content["body"] += "x"
    assert isinstance(await rig.channel.send(dataclasses.replace(frame, content=content)), Rejected)


@pytest.mark.parametrize("address", ["", PushSubscription("https://push.example.net/1", "", "")])
async def test_what_is_no_token_is_dead(rig: FcmRig, address: str | PushSubscription) -> None:
    message = dataclasses.replace(rig.message(), address=address)

    assert await rig.channel.send(message) == Rejected("not_a_token", address_dead=True)
    assert rig.server.requests == []


async def test_one_acceptance_vouches_for_one_refusal(rig: FcmRig) -> None:
    good, bad = rig.message(), dataclasses.replace(rig.message(), address="never-a-token")

    outcomes = [await rig.channel.send(message) for message in (bad, good, bad, bad)]

    assert [word(outcome) for outcome in outcomes] == ["rejected", "sent", "rejected_dead", "rejected"]


async def test_the_registry_makes_it_and_names_the_section_of_bad_settings(rig: FcmRig) -> None:
    from promocast import channels

    def settings(credentials: str) -> Settings:
        return Settings.model_validate({"channels": {"push": {"fcm": {"credentials": credentials}}}})

    assert isinstance(channels.make("push.fcm", settings(rig.server.service_account_json()), rig.http, rig.clock), Fcm)
    with pytest.raises(ConfigError, match=r"\[channels\.push\.fcm\]"):
        channels.make("push.fcm", settings("{}"), rig.http, rig.clock)


@pytest.mark.parametrize(
    "change",
    [{"to": "x"}, {"data": {"n": 1}}, {"android": {"ttl": "1h"}}, {"webpush": {"headers": {"Topic": "k" * 33}}}],
    ids=["unknown-field", "number-in-data", "bad-ttl", "long-topic"],
)
async def test_the_stand_in_is_as_strict_as_google(rig: FcmRig, change: dict[str, Any]) -> None:
    await rig.channel.send(rig.message())
    authorization = rig.server.sends[0].headers["authorization"]
    body = orjson.dumps({"message": {"token": rig.device, **change}})

    answer = await rig.http.post(
        f"{rig.server.url}/v1/projects/promocast-demo/messages:send",
        body,
        {"authorization": authorization},
        connect_timeout=SECOND,
        timeout=SECOND,
    )

    assert answer.status == 400
    assert read(answer, NOW, payload_known_good=True) == Rejected("fcm INVALID_ARGUMENT", address_dead=False)
