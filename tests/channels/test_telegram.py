from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from promocast.channels.telegram import Telegram
from promocast.model import HOUR, MINUTE, SECOND, Deferred, Failed, Halted, Rejected, Sent
from promocast.settings import TelegramSettings
from promocast.standins.base import Fault, Received, Reply
from promocast.standins.telegram import TelegramBotApi, parameters, refusal
from tests.channels.answers import load, word
from tests.channels.rig_telegram import CHAT, TOKEN, TelegramRig
from tests.conftest import StoppedClock

pytestmark = pytest.mark.anyio

ANSWERS = load("telegram")


@pytest.fixture
async def rig(clock: StoppedClock) -> AsyncIterator[TelegramRig]:
    async with TelegramRig(clock) as made:
        yield made


def once(reply: Reply) -> Callable[[Received], Reply | Fault | None]:
    """A script that gives `reply` to the first request and lets the stand-in answer the others."""
    replies = [reply]
    return lambda request: replies.pop() if replies else None


@pytest.mark.parametrize("answer", ANSWERS, ids=[f"{a['status']} {a['body'][:90]}" for a in ANSWERS])
async def test_an_answer_means_what_the_table_says(rig: TelegramRig, answer: dict[str, Any]) -> None:
    rig.site.script = once(Reply(answer["status"], answer["body"].encode(), answer.get("headers", {})))

    outcome = await rig.channel.send(rig.message())

    assert word(outcome) == answer["outcome"], answer["source"]
    assert rig.received() == (2 if "migrate_to_chat_id" in answer["body"] else 1)


async def test_what_arrives_is_the_plain_text_and_nothing_else(rig: TelegramRig) -> None:
    outcome = await rig.channel.send(rig.message(text="<b>Привет</b> & _Ann_"))

    assert outcome == Sent("1")
    assert parameters(rig.site.requests[0]) == {"chat_id": CHAT, "text": "<b>Привет</b> & _Ann_"}


@pytest.mark.parametrize("address", ["-1001234567890", "-5551234", "@promo_channel"])
async def test_groups_and_channels_are_addresses_too(rig: TelegramRig, address: str) -> None:
    assert isinstance(await rig.channel.send(rig.message(address=address)), Sent)
    assert rig.site.messages == [(address, rig.message().content["text"])]


async def test_a_group_that_moved_is_followed_once(rig: TelegramRig) -> None:
    rig.site.migrated = {"-5551234": -1001234567890}

    outcome = await rig.channel.send(rig.message(address="-5551234"))

    assert isinstance(outcome, Sent)
    assert outcome.moved_to == "-1001234567890"
    assert rig.keys() == ["-5551234", "-1001234567890"]
    assert [chat for chat, _ in rig.site.messages] == ["-1001234567890"]


async def test_a_group_that_keeps_moving_is_not_followed_for_ever(rig: TelegramRig) -> None:
    rig.site.migrated = {"-5551234": -1001234567890, "-1001234567890": -5551234}

    outcome = await rig.channel.send(rig.message(address="-5551234"))

    assert outcome == Rejected("telegram 400", address_dead=False)
    assert rig.received() == 2


async def test_a_group_that_moved_where_the_answer_is_lost_may_have_it(rig: TelegramRig) -> None:
    moved = refusal(400, "Bad Request: moved", {"migrate_to_chat_id": -1001234567890})
    rig.site.script = lambda request: moved if len(rig.site.requests) == 1 else Fault.DROP

    outcome = await rig.channel.send(rig.message(address="-5551234"))

    assert isinstance(outcome, Failed)
    assert outcome.maybe_sent
    assert rig.received() == 2


@pytest.mark.parametrize(
    ("asked", "held"), [(1, SECOND), (40, 40 * SECOND), (0, SECOND), (-5, MINUTE), (10**9, HOUR), ("soon", MINUTE)]
)
async def test_a_wait_is_held_within_reason(rig: TelegramRig, asked: Any, held: int) -> None:
    rig.site.script = lambda request: refusal(429, "Too Many Requests", {"retry_after": asked})

    assert await rig.channel.send(rig.message()) == Deferred(rig.clock() + held, "telegram 429", True)


async def test_every_send_gets_the_wait_of_its_own_answer(rig: TelegramRig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def all_at_once(request: Received) -> Reply:
        await rig.site.wait_for(20)
        return refusal(429, "Too Many Requests", {"retry_after": int(parameters(request)["chat_id"])})

    monkeypatch.setattr(rig.site, "answer", all_at_once)

    outcomes = await asyncio.gather(*(rig.channel.send(rig.message(address=str(n))) for n in range(1, 21)))

    assert outcomes == [Deferred(rig.clock() + n * SECOND, "telegram 429", True) for n in range(1, 21)]


async def test_fifty_messages_are_under_way_together(rig: TelegramRig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def all_at_once(request: Received) -> Reply | Fault:
        await rig.site.wait_for(50)
        return await TelegramBotApi.answer(rig.site, request)

    monkeypatch.setattr(rig.site, "answer", all_at_once)

    outcomes = await asyncio.gather(*(rig.channel.send(rig.message(address=str(n))) for n in range(50)))

    assert {word(outcome) for outcome in outcomes} == {"sent"}
    assert len({outcome.ref for outcome in outcomes if isinstance(outcome, Sent)}) == 50
    assert rig.received() == 50


@pytest.mark.parametrize("text", ["", "x" * 4097], ids=["empty", "longer than 4096"])
async def test_a_text_that_telegram_cannot_show_is_refused_by_it(rig: TelegramRig, text: str) -> None:
    assert await rig.channel.send(rig.message(text=text)) == Rejected("telegram 400", address_dead=False)


async def test_a_player_who_blocked_the_bot_is_told_from_others(rig: TelegramRig) -> None:
    rig.site.blocked = {"17"}

    assert await rig.channel.send(rig.message(address="17")) == Rejected("telegram 403 blocked", address_dead=True)
    assert isinstance(await rig.channel.send(rig.message(address="18")), Sent)


async def test_a_token_that_is_not_the_bot_s_halts(rig: TelegramRig) -> None:
    settings = TelegramSettings(token=SecretStr("700100:AAanother"), base_url=rig.site.url + "/bot")
    channel = Telegram(settings, rig.http, rig.clock)

    assert await channel.send(rig.message()) == Halted("telegram 401")
    await channel.close()


async def test_the_stand_in_takes_json_as_the_bot_api_does(rig: TelegramRig) -> None:
    answer = await rig.http.post(
        f"{rig.site.url}/bot{TOKEN}/sendMessage",
        b'{"chat_id": -5551234, "text": "AB12CD34"}',
        {"content-type": "application/json"},
        connect_timeout=SECOND,
        timeout=SECOND,
    )

    assert answer.status == 200
    assert rig.site.messages == [("-5551234", "AB12CD34")]


async def test_what_is_no_chat_is_a_dead_address(rig: TelegramRig) -> None:
    outcome = await rig.channel.send(rig.message(address="Ann"))

    assert outcome == Rejected("telegram not_a_chat", address_dead=True)
    assert rig.received() == 0


async def test_an_answer_that_cannot_be_read_is_not_logged(rig: TelegramRig, caplog: pytest.LogCaptureFixture) -> None:
    rig.site.script = lambda request: Reply(200, b'{"ok":true,"result":{"text":"AB12CD34"')
    caplog.set_level("WARNING")

    outcome = await rig.channel.send(rig.message())

    assert word(outcome) == "failed_maybe_sent"
    assert caplog.text == ""


async def test_closing_leaves_the_shared_transport_open(rig: TelegramRig) -> None:
    assert isinstance(rig.channel, Telegram)
    await rig.channel.close()
    await rig.channel.close()
    gc.collect()

    answer = await rig.http.post(rig.site.url + "/", b"", {}, connect_timeout=SECOND, timeout=SECOND)

    assert answer.status == 404
