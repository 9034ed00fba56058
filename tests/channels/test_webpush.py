"""Web Push: what push services' answers mean, what goes over the wire, and who we say we are."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from promocast.channels.http import Answer
from promocast.channels.push_encryption import Receiver, encrypt, load_private_key, origin_of
from promocast.channels.webpush import WebPush, build_payload, is_known, read
from promocast.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Deferred,
    Halted,
    PushSubscription,
    Rejected,
    Sent,
)
from promocast.settings import WebPushSettings
from promocast.standins.base import Reply
from promocast.standins.webpush import PushService, vapid_private_key
from tests.channels.answers import load, word
from tests.channels.rig_webpush import WebPushRig
from tests.conftest import NOW, StoppedClock

pytestmark = pytest.mark.anyio

ANSWERS = load("webpush")


@pytest.fixture
async def rig(clock: StoppedClock) -> AsyncIterator[WebPushRig]:
    async with WebPushRig(clock) as made:
        yield made


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: f"{row['status']}-{row['outcome']}")
def test_an_answer_means(row: dict[str, Any]) -> None:
    answer = Answer(row["status"], row.get("headers", {}), row["body"].encode())

    known = not row.get("made_up", False)
    outcome = read(answer, NOW, known=known, accepted_before=row.get("after_success", False))

    assert word(outcome) == row["outcome"]
    if not isinstance(outcome, Sent):
        assert outcome.why == f"webpush {row['status']}"


def test_retry_after_is_honoured_and_a_minute_where_there_is_none() -> None:
    asked, silent = Answer(503, {"retry-after": "30"}, b""), Answer(429, {}, b"")

    for known in (True, False):
        assert read(asked, NOW, known=known) == Deferred(NOW + 30 * SECOND, "webpush 503", account=True)
        assert read(silent, NOW, known=known) == Deferred(NOW + MINUTE, "webpush 429", account=True)


def test_a_message_s_id_is_not_its_whole_address() -> None:
    answer = Answer(201, {"location": "https://push.example.net/secret-of-the-player/m1"}, b"")

    assert read(answer, NOW, known=True) == Sent("m1")
    assert read(Answer(201, {}, b""), NOW, known=True) == Sent(None)


def test_encryption_is_that_of_rfc_8291_appendix_a() -> None:
    subscription = PushSubscription(
        "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
    )
    sender = load_private_key("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
    plaintext = b"When I grow up, I want to be a watermelon"

    body = encrypt(plaintext, Receiver.of(subscription, allow_http=False), sender, unb64("DGv6ra1nlYgDCS1FRnbzlw"))

    assert b64(body) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3"
        "jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


async def test_the_browser_decrypts_exactly_what_was_rendered(rig: WebPushRig) -> None:
    outcome = await rig.channel.send(rig.message())

    assert isinstance(outcome, Sent)
    assert rig.service.payloads == [
        {
            "title": "Привет, Ann",
            "body": "Your code: AB12CD34",
            "link": "https://example.com/welcome",
            "code": "AB12CD34",
            "campaign": "welcome",
            "delivery_id": "d-test-1",
            "tag": "d-test-1",
        }
    ]
    assert b"AB12CD34" not in rig.service.requests[0].body


async def test_no_two_bodies_share_a_salt_or_a_key(rig: WebPushRig) -> None:
    for _ in range(2):
        await rig.channel.send(rig.message())

    first, second = (request.body for request in rig.service.requests)
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]


async def test_a_message_lives_as_long_as_its_code(rig: WebPushRig, clock: StoppedClock) -> None:
    ends = (NOW + 90 * MINUTE, None, NOW + 60 * DAY, NOW - HOUR)
    clock.advance(30 * MINUTE)

    for end in ends:
        assert isinstance(await rig.channel.send(dataclasses.replace(rig.message(), expires_at=end)), Sent)

    assert [request.headers["ttl"] for request in rig.service.requests] == ["3600", "2419200", "2419200", "0"]


@pytest.mark.parametrize("key", ["d", "8e5f54cc-0000-4000-8000-9b7ad1f8b0f5", "ключ" * 30])
async def test_the_topic_is_stable_and_within_limits(rig: WebPushRig, clock: StoppedClock, key: str) -> None:
    for _ in range(2):
        assert isinstance(await rig.channel.send(rig.message(key)), Sent)
        clock.advance(MINUTE)

    first, second = (request.headers["topic"] for request in rig.service.requests)
    assert first == second
    assert len(first) == 32


async def test_the_largest_payload_is_taken_and_one_byte_more_is_not_sent(rig: WebPushRig) -> None:
    message = dataclasses.replace(rig.message(), content={"title": "п", "body": ""})
    room = 3993 - len(build_payload(message))

    fits = dataclasses.replace(message, content={"title": "п", "body": "x" * room})
    assert isinstance(await rig.channel.send(fits), Sent)
    assert len(rig.service.requests[0].body) == 4096

    exceeds = dataclasses.replace(message, content={"title": "п", "body": "x" * (room + 1)})
    assert await rig.channel.send(exceeds) == Rejected("webpush too_large", address_dead=False)
    assert rig.received() == 1


async def test_each_push_service_is_shown_its_own_origin(rig: WebPushRig) -> None:
    async with PushService(rig.clock) as other:
        for subscription in (rig.subscription, other.new_subscription(), rig.service.new_subscription()):
            message = dataclasses.replace(rig.message(), address=subscription)
            assert isinstance(await rig.channel.send(message), Sent), "the stand-in verifies aud"

        assert len(other.payloads) == 1
    first, second = (request.headers["authorization"] for request in rig.service.requests)
    assert first == second, "one signature serves all subscriptions of a service"


async def test_a_vapid_token_is_reused_until_an_hour_before_its_end(rig: WebPushRig, clock: StoppedClock) -> None:
    for wait in (0, 11 * HOUR - 1, 1, 12 * HOUR):
        clock.advance(wait)
        assert isinstance(await rig.channel.send(rig.message()), Sent), "the stand-in verifies exp"

    tokens = [request.headers["authorization"] for request in rig.service.requests]
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 3


async def test_a_first_refusal_halts_and_one_after_a_success_is_of_that_subscription(rig: WebPushRig) -> None:
    stranger = dataclasses.replace(rig.message(), address=rig.service.new_subscription(server_key="another"))

    outcomes = [await rig.channel.send(message) for message in (stranger, rig.message(), stranger, rig.message())]

    assert [word(outcome) for outcome in outcomes] == ["halted", "sent", "rejected_dead", "sent"]


async def test_a_success_elsewhere_proves_nothing(rig: WebPushRig) -> None:
    await rig.channel.send(rig.message())
    async with PushService(rig.clock, script=lambda request: Reply(403)) as other:
        message = dataclasses.replace(rig.message(), address=other.new_subscription())
        channel = WebPush(rig.settings(origins=(rig.service.url, other.url)), rig.http, rig.clock)

        assert await channel.send(message) == Halted("webpush 403")


async def test_a_host_that_somebody_made_up_neither_halts_us_nor_speaks_of_the_address(rig: WebPushRig) -> None:
    refusals = [Reply(status) for status in (400, 401, 403)]
    async with PushService(rig.clock, script=lambda request: refusals.pop(0) if refusals else None) as other:
        message = dataclasses.replace(rig.message(), address=other.new_subscription())

        outcomes = [await rig.channel.send(message) for _ in range(4)]
        refusals.append(Reply(403))
        outcomes.append(await rig.channel.send(message))

    assert [word(outcome) for outcome in outcomes] == ["rejected", "rejected", "rejected", "sent", "rejected"]


@pytest.mark.parametrize(
    ("origin", "known"),
    [
        ("https://fcm.googleapis.com", True),
        ("https://web.push.apple.com", True),
        ("https://updates.push.services.mozilla.com", True),
        ("https://wns2-db5p.notify.windows.com", True),
        ("https://notify.windows.com", False),
        ("https://evilnotify.windows.com", False),
        ("https://fcm.googleapis.com.evil.example", False),
        ("https://fcm.googleapis.com:8443", False),
        ("http://fcm.googleapis.com", False),
        ("http://a.notify.windows.com", False),
        ("https://a.notify.windows.com:8443", False),
        ("https://evil.example", False),
    ],
)
def test_the_push_services_of_the_browsers_makers_are_known(origin: str, known: bool) -> None:
    assert is_known(origin, WebPushSettings().origins) == known


def test_a_push_service_of_ones_own_is_known_by_its_origin() -> None:
    known = ("https://Push.example.com:8443", "http://*.push.internal")

    assert is_known("https://push.example.com:8443", known)
    assert is_known("http://a.push.internal", known)
    assert not is_known("https://push.example.com", known)
    assert not is_known("https://a.push.internal", known)


async def test_made_up_hosts_do_not_fill_the_memory(rig: WebPushRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promocast.channels.webpush.MOST_SERVICES", 2)
    await rig.channel.send(rig.message())
    assert isinstance(rig.channel, WebPush)

    for host in ("a", "b", "a", "c"):
        rig.channel._service(f"https://{host}.example")

    assert list(rig.channel._services) == ["https://a.example", "https://c.example"], "the longest unused go first"


GOOD = PushService().new_subscription()
P384 = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "http://push.example.net/1"},
        {"endpoint": "ftp://push.example.net/1"},
        {"endpoint": "https:///1"},
        {"endpoint": "https://me:secret@push.example.net/1"},
        {"endpoint": "https://push.example.net:port/1"},
        {"endpoint": "https://push.example.net/a b"},
        {"endpoint": "https://пуш.example/1"},
        {"endpoint": ""},
        {"p256dh": ""},
        {"p256dh": "*" * 87},
        {"p256dh": b64(b"\x04" + b"\x01" * 64)},
        {"p256dh": b64(unb64(GOOD.p256dh)[:33])},
        {"auth": b64(b"too short")},
        {"auth": "a"},
    ],
    ids=lambda change: "-".join(f"{name}={value[:24]}" for name, value in change.items()),
)
async def test_an_unusable_subscription_is_dead(rig: WebPushRig, change: dict[str, str]) -> None:
    settings = WebPushSettings(private_key=SecretStr(vapid_private_key()), subject="https://example.com/contact")
    usable = dataclasses.replace(GOOD, endpoint="https://push.example.net/1")
    message = dataclasses.replace(rig.message(), address=dataclasses.replace(usable, **change))

    outcome = await WebPush(settings, rig.http, rig.clock).send(message)

    assert outcome == Rejected("webpush bad_subscription", address_dead=True)
    message = dataclasses.replace(message, address="https://push.example.net/1")
    assert await rig.channel.send(message) == Rejected("not_a_subscription", address_dead=True)


async def test_keys_in_plain_base64_are_read_as_well(rig: WebPushRig) -> None:
    keys = {name: base64.b64encode(unb64(getattr(rig.subscription, name))).decode() for name in ("p256dh", "auth")}
    message = dataclasses.replace(rig.message(), address=dataclasses.replace(rig.subscription, **keys))

    assert isinstance(await rig.channel.send(message), Sent)


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("https://Push.Example.net/1", "https://push.example.net"),
        ("https://push.example.net:443/1", "https://push.example.net"),
        ("https://push.example.net:8443/1?x=y", "https://push.example.net:8443"),
        ("http://[::1]:8080/1", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(endpoint: str, origin: str) -> None:
    assert origin_of(endpoint, allow_http=True) == origin


def test_a_private_key_is_raw_pem_or_a_file(tmp_path: Path) -> None:
    raw = vapid_private_key()
    key = load_private_key(raw)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    file = tmp_path / "vapid.pem"
    file.write_text(pem, encoding="ascii")

    for text in (raw, raw + "=", f" {raw}\n", pem, str(file)):
        assert load_private_key(text).private_numbers() == key.private_numbers()


@pytest.mark.parametrize(
    "text",
    ["", "/no/hunter2.pem", b64(b"\x00" * 32), b64(b"\xff" * 32), "-----BEGIN hunter2-----", "hunter2" * 100, P384],
    ids=["empty", "no-file", "zero", "beyond-the-order", "no-pem", "too-long-for-a-path", "another-curve"],
)
async def test_a_bad_private_key_is_told_at_the_start_and_not_quoted(rig: WebPushRig, text: str) -> None:
    with pytest.raises(ValueError) as refused:
        WebPush(WebPushSettings(private_key=SecretStr(text), subject="mailto:a@b.example"), rig.http, rig.clock)

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("subject", ["", "crm@example.com", "mailto:", "http://example.com", "mailto:a@b c"])
async def test_a_subject_is_a_contact(rig: WebPushRig, subject: str) -> None:
    settings = WebPushSettings(private_key=SecretStr(vapid_private_key()), subject=subject)

    with pytest.raises(ValueError, match="subject"):
        WebPush(settings, rig.http, rig.clock)
