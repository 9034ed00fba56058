"""Access tokens, as the FCM adapter gets and renews them over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from promocast.channels.fcm import Fcm
from promocast.model import (
    MINUTE,
    SECOND,
    Deferred,
    Failed,
    Halted,
    Outcome,
    Sent,
)
from promocast.settings import FcmSettings
from promocast.standins.base import Fault, Reply
from promocast.standins.fcm import FcmServer, error, is_send
from tests.channels.rig_fcm import FcmRig, to_sends
from tests.conftest import NOW, StoppedClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def rig(clock: StoppedClock) -> AsyncIterator[FcmRig]:
    async with FcmRig(clock) as made:
        yield made


async def test_fifty_sends_at_once_need_one_access_token(rig: FcmRig) -> None:
    outcomes = await asyncio.gather(*(rig.channel.send(rig.message(f"d-{n}")) for n in range(50)))

    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert len(rig.server.grants) == 1


async def test_a_refused_access_token_is_renewed_once_for_all(rig: FcmRig) -> None:
    await rig.channel.send(rig.message())
    rig.server.revoke()

    outcomes = await asyncio.gather(*(rig.channel.send(rig.message(f"d-{n}")) for n in range(20)))

    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    assert len(rig.server.grants) == 2
    assert len(rig.server.messages) == 21


async def test_a_second_refusal_is_our_fault(rig: FcmRig) -> None:
    rig.server.script = to_sends(lambda: error(401, "UNAUTHENTICATED"))

    assert await rig.channel.send(rig.message()) == Halted("fcm UNAUTHENTICATED")
    assert len(rig.server.sends) == 2
    assert len(rig.server.grants) == 2


async def test_a_fault_of_the_app_s_apns_key_renews_nothing(rig: FcmRig) -> None:
    detail = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "THIRD_PARTY_AUTH_ERROR"}
    rig.server.script = to_sends(lambda: error(401, "UNAUTHENTICATED", detail))

    assert await rig.channel.send(rig.message()) == Halted("fcm THIRD_PARTY_AUTH_ERROR")
    assert len(rig.server.sends) == 1


async def test_an_access_token_is_renewed_before_it_expires(rig: FcmRig, clock: StoppedClock) -> None:
    await rig.channel.send(rig.message())
    clock.advance(54 * MINUTE)
    await rig.channel.send(rig.message())
    assert len(rig.server.grants) == 1

    clock.advance(2 * MINUTE)
    await rig.channel.send(rig.message())

    assert len(rig.server.grants) == 2
    assert len(rig.server.sends) == 3


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(400, b'{"error": "invalid_grant"}'), Halted("fcm token 400")),
        (Reply(401, b'{"error": "invalid_client"}'), Halted("fcm token 401")),
        (Reply(429, headers={"retry-after": "9"}), Deferred(NOW + 9 * SECOND, "fcm token 429")),
        (Reply(500), Failed("fcm token 500", maybe_sent=False)),
        (Reply(503, headers={"retry-after": "9"}), Failed("fcm token 503", maybe_sent=False)),
        (Reply(200, b"<html>"), Failed("fcm token 200", maybe_sent=False)),
        (Reply(200, b'{"access_token": ""}'), Failed("fcm token 200", maybe_sent=False)),
        (Fault.DROP, Failed("fcm token ServerDisconnectedError", maybe_sent=False)),
        (Fault.HANG, Failed("fcm token timeout", maybe_sent=False)),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else None,
)
async def test_without_an_access_token_nothing_is_sent(rig: FcmRig, reply: Reply | Fault, outcome: Outcome) -> None:
    rig.server.script = lambda request: None if is_send(request) else reply

    got = await asyncio.gather(*(rig.channel.send(rig.message(f"d-{n}")) for n in range(3)))

    assert got == [outcome] * 3
    assert len(rig.server.grants) == 1, "the failure is shared as a token is"
    assert rig.server.sends == []


async def test_who_is_cancelled_while_waiting_leaves_the_others_their_token(rig: FcmRig) -> None:
    first = asyncio.create_task(rig.channel.send(rig.message("d-1")))
    second = asyncio.create_task(rig.channel.send(rig.message("d-2")))
    await rig.server.wait_for(1)
    first.cancel()

    assert isinstance(await second, Sent)
    assert first.cancelled()
    assert len(rig.server.grants) == 1


async def test_closing_ends_a_token_request_under_way(rig: FcmRig) -> None:
    rig.server.script = lambda request: Fault.HANG
    waiting = asyncio.create_task(rig.channel.send(rig.message()))
    await rig.server.wait_for(1)

    await rig.channel.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_credentials_are_json_or_the_path_of_a_file(rig: FcmRig, tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text(rig.server.service_account_json(), encoding="utf-8")
    settings = FcmSettings(credentials=SecretStr(str(file)), base_url=rig.server.url + "/")

    adapter = Fcm(settings, rig.http, rig.clock)

    assert isinstance(await adapter.send(rig.message()), Sent)
    await adapter.close()


def broken(**changes: str | None) -> str:
    account = orjson.loads(FcmServer().service_account_json()) | changes
    return orjson.dumps({key: value for key, value in account.items() if value is not None}).decode()


@pytest.mark.parametrize(
    ("credentials", "says"),
    [
        ('{"type": "service_account", "private_key": "hunter2"}', "client_email"),
        ("{not json, hunter2", "JSON"),
        ("/nowhere/hunter2.json", "No such file"),
        (lambda: broken(private_key="hunter2"), "no RSA key"),
        (lambda: broken(private_key=ec_pem()), "no RSA key"),
        (lambda: broken(token_uri=None), "token_uri"),
        (lambda: broken(project_id=None), "project_id"),
    ],
    ids=["incomplete", "malformed", "no-file", "no-pem", "no-rsa", "no-token-uri", "no-project"],
)
async def test_bad_credentials_are_told_at_the_start_and_not_quoted(rig: FcmRig, credentials: Any, says: str) -> None:
    text = credentials if isinstance(credentials, str) else credentials()

    with pytest.raises(ValueError, match=says) as refused:
        Fcm(FcmSettings(credentials=SecretStr(text)), rig.http, rig.clock)

    assert "hunter2" not in str(refused.value)


def ec_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
