from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from promocast.channels.sms import CODES, Sms
from promocast.model import HOUR, MINUTE, SECOND, Deferred, Halted, Rejected, Sent
from promocast.standins.base import Fault, Received, Reply
from promocast.standins.twilio import TwilioApi, form, segments
from tests.channels.answers import load, word
from tests.channels.rig_sms import ACCOUNT, NUMBER, SENDER, SmsRig
from tests.conftest import StoppedClock

pytestmark = pytest.mark.anyio

ANSWERS = load("twilio")
SERVICE = "MG00000000000000000000000000000001"


@pytest.fixture
async def rig(clock: StoppedClock) -> AsyncIterator[SmsRig]:
    async with SmsRig(clock) as made:
        yield made


@pytest.mark.parametrize("answer", ANSWERS, ids=[f"{a['status']} {a['body'][:90]}" for a in ANSWERS])
async def test_an_answer_means_what_the_table_says(rig: SmsRig, answer: dict[str, Any]) -> None:
    rig.site.script = lambda request: Reply(answer["status"], answer["body"].encode(), answer.get("headers", {}))

    outcome = await rig.channel.send(rig.message())

    assert word(outcome) == answer["outcome"], answer["source"]
    assert rig.received() == 1, "whatever the answer, a second POST would be a second SMS"


def test_every_code_has_its_row() -> None:
    shown = {int(code) for answer in ANSWERS for code in re.findall(r'"(?:error_)?code":(\d+)', answer["body"])}

    assert set(CODES) <= shown


async def test_what_twilio_is_asked_for(rig: SmsRig) -> None:
    outcome = await rig.channel.send(rig.message(text="Привет & 50%: AB12CD34"))

    assert outcome == Sent("SM00000000000000000000000000000001")
    assert rig.site.messages == [
        {"To": NUMBER, "From": SENDER, "Body": "Привет & 50%: AB12CD34", "ValidityPeriod": "3600"}
    ]


async def test_twilio_is_told_where_to_report(rig: SmsRig) -> None:
    where = "https://promo.example.com/v1/callbacks/sms?delivery=d-0a1b2c3d-17"

    await rig.channel.send(replace(rig.message(), report_url=where))

    assert rig.site.messages[0]["StatusCallback"] == where


async def test_a_messaging_service_is_asked_instead_of_a_number(rig: SmsRig) -> None:
    channel = Sms(rig.settings(messaging_service_sid=SERVICE), rig.http, rig.clock)

    assert isinstance(await channel.send(rig.message()), Sent)
    assert rig.site.messages[0]["MessagingServiceSid"] == SERVICE
    assert "From" not in rig.site.messages[0]
    await channel.close()


@pytest.mark.parametrize(
    ("life", "seconds"),
    [
        (HOUR, "3600"),
        (90 * SECOND + 999, "90"),
        (999, "1"),
        (-HOUR, "1"),
        (10 * HOUR, "36000"),
        (10 * HOUR + SECOND, "36000"),
        (None, None),
    ],
)
async def test_a_message_waits_no_longer_than_its_code_lives(
    rig: SmsRig, life: int | None, seconds: str | None
) -> None:
    await rig.channel.send(rig.message(life=life))

    assert rig.site.messages[0].get("ValidityPeriod") == seconds


@pytest.mark.parametrize(
    "address", ["", "Ann", "+", "+1", "35699123456", "+999123456789", "+3569912345678901234", "84213"]
)
async def test_what_cannot_be_a_number_is_dead_without_asking(rig: SmsRig, address: str) -> None:
    assert await rig.channel.send(rig.message(address=address)) == Rejected("sms not_a_number", address_dead=True)
    assert rig.received() == 0


@pytest.mark.parametrize(
    ("header", "held"),
    [
        ("1", SECOND),
        ("40", 40 * SECOND),
        ("0", SECOND),
        ("999999999", HOUR),
        ("Tue, 24 Nov 2026 10:02:00 GMT", 2 * MINUTE),
        ("soon", MINUTE),
    ],
)
async def test_a_wait_is_held_within_reason(rig: SmsRig, header: str, held: int) -> None:
    rig.site.script = lambda request: Reply(429, b'{"code":20429}', {"Retry-After": header})

    assert await rig.channel.send(rig.message()) == Deferred(rig.clock() + held, "twilio 20429", True)


async def test_every_send_gets_the_wait_of_its_own_answer(rig: SmsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def all_at_once(request: Received) -> Reply:
        await rig.site.wait_for(20)
        return Reply(429, b"", {"retry-after": form(request)["Body"]})

    monkeypatch.setattr(rig.site, "answer", all_at_once)

    outcomes = await asyncio.gather(*(rig.channel.send(rig.message(text=str(n))) for n in range(1, 21)))

    assert outcomes == [Deferred(rig.clock() + n * SECOND, "twilio http 429", True) for n in range(1, 21)]


async def test_fifty_messages_are_under_way_together(rig: SmsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def all_at_once(request: Received) -> Reply | Fault:
        await rig.site.wait_for(50)
        return await TwilioApi.answer(rig.site, request)

    monkeypatch.setattr(rig.site, "answer", all_at_once)

    outcomes = await asyncio.gather(*(rig.channel.send(rig.message(text=f"No. {n}")) for n in range(50)))

    assert {word(outcome) for outcome in outcomes} == {"sent"}
    assert len({outcome.ref for outcome in outcomes if isinstance(outcome, Sent)}) == 50
    assert rig.received() == 50


@pytest.mark.parametrize(("text", "code"), [("", 21602), ("x" * 1601, 21617)], ids=["empty", "longer than 1600"])
async def test_a_text_that_twilio_does_not_take_is_refused_by_it(rig: SmsRig, text: str, code: int) -> None:
    assert await rig.channel.send(rig.message(text=text)) == Rejected(f"twilio {code}", address_dead=False)


async def test_a_player_who_answered_stop_is_told_from_others(rig: SmsRig) -> None:
    rig.site.opted_out = {NUMBER}

    assert await rig.channel.send(rig.message()) == Rejected("twilio 21610", address_dead=True, opted_out=True)
    assert isinstance(await rig.channel.send(rig.message(address="+35699123457")), Sent)


async def test_wrong_credentials_halt(rig: SmsRig) -> None:
    channel = Sms(rig.settings(token="wrong"), rig.http, rig.clock)

    assert await channel.send(rig.message()) == Halted("twilio 20003")
    await channel.close()


async def test_the_machine_s_twilio_variables_do_not_move_the_host(
    rig: SmsRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    channel = Sms(rig.settings(), rig.http, rig.clock)

    assert isinstance(await channel.send(rig.message()), Sent)
    await channel.close()


async def test_an_adapter_with_nobody_to_send_from_is_not_made(rig: SmsRig) -> None:
    with pytest.raises(ValueError, match="messaging_service_sid"):
        Sms(rig.settings(sender=""), rig.http, rig.clock)
    with pytest.raises(ValueError, match="auth_token"):
        Sms(rig.settings(token=""), rig.http, rig.clock)


async def test_closing_leaves_the_shared_transport_open(rig: SmsRig) -> None:
    await rig.channel.close()
    await rig.channel.close()
    gc.collect()

    answer = await rig.http.post(
        f"{rig.site.url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json", b"", {}, connect_timeout=SECOND, timeout=SECOND
    )

    assert answer.status == 401


@pytest.mark.parametrize(
    ("body", "parts"),
    [("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3), ("я" * 70, 1), ("я" * 71, 2), ("🎁" * 36, 2)],
)
def test_the_stand_in_counts_segments(body: str, parts: int) -> None:
    assert segments(body) == parts
