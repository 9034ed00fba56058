"""Email against Exim: its own words, its own limits, and the bounces that it writes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest
from pydantic import SecretStr

from promocast.callbacks import Callback
from promocast.callbacks.bounces import Bounces
from promocast.channels.email import Email
from promocast.channels.http import Http
from promocast.model import Deferred, Message, Outcome, Rejected, Report, Sent, system_clock
from promocast.settings import EmailSettings
from promocast.standins.smtp import SmtpServer
from tests.callbacks.test_bounces import KEY, RETURNS, SECRET
from tests.channels.rig_email import answering, mail
from tests.channels.thirdparty.exim import PASSWORD, USER, Exim

pytestmark = pytest.mark.anyio

SETTINGS = EmailSettings(
    host="127.0.0.1",
    username=USER,
    password=SecretStr(PASSWORD),
    sender="Casino <news@casino.example>",
    bounce_address="bounces@casino.example",
    callback_secret=SecretStr(SECRET),
    timeout=5_000,
    final_dot_timeout=5_000,
)


@asynccontextmanager
async def running(**how: Any) -> AsyncIterator[tuple[Exim, Email]]:
    """Exim, and an adapter for it."""
    exim, http = Exim(**how), Http()
    exim.start()
    settings = SETTINGS.model_copy(update={"port": exim.port, "ca_file": exim.ca_file})
    email = Email(settings, http, system_clock)
    try:
        yield exim, email
    finally:
        await email.close()
        await http.close()
        exim.close()


def to(local_part: str, key: str = "d-1", **content: str) -> Message:
    return mail({"subject": "Ваш код", "text": "Код: AB12CD34\n.\n", **content}, f"{local_part}@player.example", key)


async def delivered(exim: Exim) -> bytes:
    """The mail in its mailbox, once it is there: Exim delivers in processes of its own."""
    async with asyncio.timeout(20):
        while not (found := exim.delivered()):  # noqa: ASYNC110 - nobody tells us of its files
            await asyncio.sleep(0.02)
    return found[0]


@pytest.mark.parametrize("local_part", ["ann", "анна"])
async def test_what_it_delivers_is_what_was_sent(local_part: str) -> None:
    async with running() as (exim, email):
        assert isinstance(await email.send(to(local_part)), Sent)
        found = message_from_bytes(await delivered(exim), policy=policy.default)
        arrived = exim.arrived()

    assert arrived == [found["Message-ID"]]
    assert found["Subject"] == "Ваш код"
    assert found.get_content().replace("\r\n", "\n") == "Код: AB12CD34\n.\n"
    assert found["Envelope-To"] == f"{local_part}@player.example"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (to("dead"), Rejected("rcpt 550 5.1.1", address_dead=True)),
        (to("nosuch"), Rejected("rcpt 550", address_dead=False)),
        (to("full"), Rejected("rcpt 552 5.2.2", address_dead=False)),
        (to("ann", text="x" * 30_000), Rejected("size", address_dead=False)),
    ],
    ids=["no such mailbox", "its own words for that", "full", "too large"],
)
async def test_what_it_refuses(message: Message, expected: Outcome) -> None:
    async with running() as (exim, email):
        assert await email.send(message) == expected
        assert isinstance(await email.send(to("ann")), Sent), "the connection goes on"
        assert len(exim.arrived()) == 1


async def test_a_connection_on_which_it_takes_no_more_is_left_for_another() -> None:
    async with running() as (exim, email):
        outcomes = [await email.send(to("ann", f"d-{i}")) for i in range(8)]
        arrived, log = exim.arrived(), exim.log()

    assert [type(outcome) for outcome in outcomes] == [Sent] * 8
    assert len(set(arrived)) == 8
    assert "too many messages in one connection" in log


async def test_more_connections_than_it_takes_are_put_off_and_nothing_is_sent_twice() -> None:
    async with running() as (exim, email):
        outcomes = await asyncio.gather(*(email.send(to("ann", f"d-{i}")) for i in range(12)))
        arrived = exim.arrived()

    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds.keys() == {Sent, Deferred}
    assert len(arrived) == len(set(arrived)) == kinds[Sent]


@pytest.mark.parametrize(
    ("reply", "report"),
    # Exim itself says 5.0.0 of all of them.
    [
        ("550 5.1.1 <ann@far.example>: no such mailbox", Report(KEY, "rejected", "bounce 5.1.1", address_dead=True)),
        ("552 5.2.2 <ann@far.example>: over quota", Report(KEY, "rejected", "bounce 5.2.2")),
        ("554 no", Report(KEY, "rejected", "bounce 5.0.0")),
    ],
)
async def test_its_bounce_tells_of_the_delivery_that_it_is_about(reply: str, report: Report) -> None:
    async with SmtpServer(script=answering("rcpt", reply)) as far, running(far=far.port) as (exim, email):
        message = replace(to("ann", KEY), address="ann@far.example", return_token=RETURNS.token("bounce", KEY))
        assert isinstance(await email.send(message), Sent)
        bounce = await delivered(exim)

    callback = Callback("/v1/callbacks/email", {"authorization": f"Bearer {SECRET}"}, bounce)
    assert Bounces(SETTINGS, RETURNS).read(callback) == (report,)
