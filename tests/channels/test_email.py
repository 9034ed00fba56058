from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtplib import SMTPException, SMTPReadTimeoutError, SMTPServerDisconnected
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from promocast.channels.email import KEEP_IDLE, Line, Mail, read, unanswered
from promocast.channels.mime import Letterhead, build
from promocast.model import HOUR, MINUTE, Deferred, Failed, Halted, Message, Outcome, Rejected, Sent
from promocast.settings import EmailSettings
from promocast.standins.base import Fault
from promocast.standins.smtp import SmtpServer
from tests.channels.answers import load, word
from tests.channels.rig_email import SENDER, EmailRig, answering, channel, lines, mail, text_of
from tests.conftest import NOW, StoppedClock

pytestmark = pytest.mark.anyio

ANSWERS = load("smtp")


def caused_by(cause: OSError) -> SMTPException:
    """As aiosmtplib reports a connection that broke for `cause`."""
    lost = SMTPServerDisconnected("Connection lost")
    lost.__cause__ = cause
    return lost


ENDINGS: dict[str, SMTPException | OSError] = {
    "refused": ConnectionRefusedError(),
    "lost": SMTPServerDisconnected("Connection lost"),
    "timeout": SMTPReadTimeoutError("Timed out waiting for server response"),
    "certificate": ssl.SSLCertVerificationError("certificate verify failed"),
    "handshake": ssl.SSLError("wrong version number"),
    "eof": ssl.SSLEOFError("EOF occurred in violation of protocol"),
    "record": caused_by(ssl.SSLError("bad record mac")),
    "unsupported": SMTPException("SMTP STARTTLS extension not supported by server."),
}


@pytest.fixture
async def rig(clock: StoppedClock) -> AsyncIterator[EmailRig]:
    async with EmailRig(clock) as made:
        yield made


def name(row: dict[str, Any]) -> str:
    return f"{row['phase']} {row['reply']}"


@pytest.mark.parametrize("row", ANSWERS, ids=name)
def test_an_answer_means_what_the_table_says(row: dict[str, Any]) -> None:
    phase, reply = row["phase"], row["reply"]
    if reply in ENDINGS:
        outcome = unanswered(phase, ENDINGS[reply])
    else:
        code, _, text = reply.partition(" ")
        outcome = read(phase, int(code) if code.isdigit() else -1, text, NOW)

    assert word(outcome) == row["outcome"]
    assert row["source"]


@pytest.mark.parametrize("row", [row for row in ANSWERS if row["reply"][0].isdigit()], ids=name)
async def test_an_answer_means_the_same_over_the_wire(clock: StoppedClock, row: dict[str, Any]) -> None:
    phase, reply = row["phase"], row["reply"]
    script = answering("dot" if phase == "data" else phase, reply)
    security: Any = "starttls" if phase == "starttls" else "none"
    username = "ops" if phase == "auth" else ""
    async with (
        SmtpServer(script, security=security, username=username) as server,
        channel(server, clock, username=username) as email,
    ):
        outcome = await email.send(mail())

    assert word(outcome) == row["outcome"]
    if not isinstance(outcome, Sent):
        assert outcome.why.startswith(f"{phase} {reply[:3]}")
        assert not set(outcome.why) & set("@<>")


@pytest.mark.parametrize(
    ("phase", "code", "text", "least"),
    [
        ("connect", 421, "", 5 * MINUTE),
        ("rcpt", 450, "4.7.1 greylisted", 5 * MINUTE),
        ("rcpt", 450, "", 5 * MINUTE),
        ("mail", 451, "", 30 * MINUTE),
        ("rcpt", 452, "4.2.2 over quota", 2 * HOUR),
    ],
)
def test_how_long_a_deferral_waits(phase: Any, code: int, text: str, least: int) -> None:
    outcome = read(phase, code, text, NOW)

    assert isinstance(outcome, Deferred)
    assert NOW + least <= outcome.until <= NOW + 6 * HOUR


@pytest.mark.parametrize("phase", ["connect", "ehlo", "mail", "rcpt", "data"])
@pytest.mark.parametrize("fault", list(Fault))
async def test_a_server_that_goes_away_before_data_surely_took_nothing(
    clock: StoppedClock, phase: Any, fault: Fault
) -> None:
    async with (
        SmtpServer(answering(phase, fault)) as server,
        channel(server, clock, timeout=100, connect_timeout=100, final_dot_timeout=100) as email,
    ):
        outcome = await email.send(mail())

        assert isinstance(outcome, Failed)
        # aiosmtplib does not tell the wait for 354 from the wait after the final dot: the careful reading of the two.
        assert outcome.maybe_sent == (phase == "data")
        assert server.messages == []


async def test_a_send_that_outlasts_its_lease_is_given_up(clock: StoppedClock) -> None:
    async with SmtpServer(answering("rcpt", Fault.HANG)) as server, channel(server, clock, timeout=HOUR) as email:
        line = Line(email._settings, email._letterhead, None)

        outcome = await email._attempt(
            line, Mail("us@x.example", "ann@player.example", b""), asyncio.get_running_loop().time() + 0.1
        )

        assert outcome == Failed("rcpt timeout", maybe_sent=False)
        assert not line.is_connected


async def test_connections_are_kept_and_reused(rig: EmailRig) -> None:
    for number in range(5):
        assert isinstance(await rig.channel.send(rig.message(f"d-{number}")), Sent)
    assert rig.server.connections == 1

    await asyncio.gather(*(rig.channel.send(rig.message(f"e-{number}")) for number in range(8)))
    assert rig.server.connections == 8
    assert rig.received() == 13


async def test_a_refusal_leaves_the_connection_usable(rig: EmailRig) -> None:
    rig.server.script = answering("rcpt", "550 5.1.1 no such user")
    assert isinstance(await rig.channel.send(rig.message("d-1")), Rejected)
    rig.server.script = None

    assert isinstance(await rig.channel.send(rig.message("d-2")), Sent)
    assert rig.server.connections == 1


@pytest.mark.parametrize("phase", ["rset", "mail"])
@pytest.mark.parametrize("answer", ["421 4.4.2 idle for too long", Fault.DROP])
async def test_a_stale_connection_is_replaced_once(rig: EmailRig, phase: Any, answer: str | Fault) -> None:
    rig.server.script = answering("rcpt", "550 5.7.1 no") if phase == "rset" else None
    await rig.channel.send(rig.message("d-1"))
    rig.server.script = lambda at, argument: answer if at == phase and rig.server.connections == 1 else None

    assert isinstance(await rig.channel.send(rig.message("d-2")), Sent)
    assert rig.server.connections == 2


async def test_a_fresh_connection_is_not_replaced(rig: EmailRig) -> None:
    rig.server.script = answering("mail", "421 4.7.0 too much from you")

    assert isinstance(await rig.channel.send(rig.message()), Deferred)
    assert rig.server.connections == 1


async def test_a_connection_idle_for_long_is_not_used_again(rig: EmailRig, clock: StoppedClock) -> None:
    await rig.channel.send(rig.message("d-1"))
    clock.advance(KEEP_IDLE + 1)

    assert isinstance(await rig.channel.send(rig.message("d-2")), Sent)
    assert rig.server.connections == 2


async def test_a_cancelled_send_leaves_no_reply_to_the_next(rig: EmailRig) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def late() -> str:
        asked.set()
        await answer.wait()
        return "550 5.1.1 no such user"

    rig.server.script = lambda phase, argument: late() if phase == "rcpt" and "slow" in argument else None
    sending = asyncio.create_task(rig.channel.send(replace(rig.message("d-1"), address="slow@player.example")))
    await asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    answer.set()

    assert isinstance(await rig.channel.send(rig.message("d-2")), Sent)
    assert rig.server.connections == 2


async def test_close_ends_the_kept_connections_and_keeps_no_new_one(rig: EmailRig) -> None:
    await rig.channel.send(rig.message("d-1"))
    assert len(rig.server.sessions) == 1

    await rig.channel.close()
    assert isinstance(await rig.channel.send(rig.message("d-2")), Sent)
    await asyncio.gather(*rig.server.sessions, return_exceptions=True)
    assert not rig.server.sessions


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_tls_with_a_trusted_certificate(clock: StoppedClock, security: Any) -> None:
    async with (
        SmtpServer(security=security, username="ops", password="s3cret") as server,
        channel(server, clock, username="ops", password=SecretStr("s3cret")) as email,
    ):
        assert isinstance(await email.send(mail()), Sent)
        assert server.messages[0].over_tls


@pytest.mark.parametrize(
    ("offered", "wanted", "why"),
    [
        ("starttls", "starttls", "starttls certificate"),
        ("tls", "tls", "connect certificate"),
        ("none", "starttls", "starttls unsupported"),
        ("none", "tls", "connect handshake"),
    ],
)
async def test_tls_that_cannot_be_trusted_or_had_halts(
    clock: StoppedClock, offered: Any, wanted: Any, why: str
) -> None:
    async with SmtpServer(security=offered) as server, channel(server, clock, security=wanted, ca_file=None) as email:
        assert await email.send(mail()) == Halted(why)
        assert server.messages == []


async def test_wrong_credentials_halt(clock: StoppedClock) -> None:
    async with (
        SmtpServer(username="ops", password="s3cret") as server,
        channel(server, clock, username="ops", password=SecretStr("wrong")) as wrong,
        channel(server, clock) as without,
    ):
        assert await wrong.send(mail()) == Halted("auth 535 5.7.8")
        assert await without.send(mail()) == Halted("mail 530 5.7.0")


async def test_the_server_gets_the_mail_that_was_meant(clock: StoppedClock) -> None:
    content = {
        "subject": "Привет, Анна! " + "Ваш код внутри. " * 12,
        "text": ".dot\n..\n.\nЖ" + "x" * 1200 + " \nFrom here = there\n",
        "html": "<p>Код: <b>AB12CD34</b></p>\n",
    }
    async with SmtpServer() as server, channel(server, clock, reply_to="help@casino.example") as email:
        assert isinstance(await email.send(mail(content)), Sent)
        assert isinstance(await email.send(mail(content | {"html": ""})), Sent)
        assert isinstance(await email.send(mail(content | {"text": ""})), Sent)

    received, plain, html = [message.parsed() for message in server.messages]
    assert server.messages[0].sender == "news@casino.example"
    assert server.messages[0].recipients == ("ann@player.example",)
    assert received["From"] == SENDER
    assert received["To"] == "ann@player.example"
    assert received["Reply-To"] == "help@casino.example"
    assert received["Date"].datetime.timestamp() * 1000 == NOW
    assert received["Auto-Submitted"] == "auto-generated"
    assert received["Subject"] == content["subject"]
    assert received.get_content_type() == "multipart/alternative"
    assert [text_of(part) for part in received.iter_parts()] == [content["text"], content["html"]]
    assert (plain.get_content_type(), text_of(plain)) == ("text/plain", content["text"])
    assert (html.get_content_type(), text_of(html)) == ("text/html", content["html"])


async def test_the_message_id_is_the_deliverys_own(clock: StoppedClock) -> None:
    async with SmtpServer() as server, channel(server, clock, message_id_domain="mail.casino.example") as email:
        for key in ("d-1", "d-1", "d-2"):
            await email.send(mail(key=key))

    first, again, other = [received.parsed()["Message-ID"] for received in server.messages]
    assert first == again != other
    assert first.endswith("@mail.casino.example>")


async def test_a_mail_can_be_answered_by_a_bounce_and_by_one_click(clock: StoppedClock) -> None:
    """RFC 8058: both headers, the address in one piece however long, and a return path of the delivery's own."""
    link = f"https://promo.example.com/u/d-0a1b2c3d-17-{'a' * 24}?{'x' * 60}"
    answerable = replace(mail(), unsubscribe_url=link, return_token="d-0a1b2c3d-17-aaaa")
    async with SmtpServer() as server:
        async with channel(server, clock, bounce_address="bounces@mail.casino.example") as email:
            await email.send(answerable)
        async with channel(server, clock) as email:
            await email.send(replace(answerable, unsubscribe_url=""))

    with_both, with_neither = server.messages
    assert f"\r\nList-Unsubscribe: <{link}>\r\n".encode() in with_both.content
    assert with_both.parsed()["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert with_both.sender == "bounces+d-0a1b2c3d-17-aaaa@mail.casino.example"
    assert with_neither.parsed()["List-Unsubscribe"] is None
    assert with_neither.sender == "news@casino.example"


async def test_internationalised_addresses(clock: StoppedClock) -> None:
    async with (
        SmtpServer() as modern,
        SmtpServer(smtputf8=False) as old,
        channel(modern, clock) as email,
        channel(old, clock) as limited,
    ):
        assert isinstance(await email.send(mail(address="анна@пример.рф")), Sent)
        assert await limited.send(mail(address="анна@пример.рф")) == Rejected("smtputf8", address_dead=False)
        assert isinstance(await limited.send(mail(address="anna@пример.рф")), Sent)

    assert modern.messages[0].parsed()["To"] == modern.messages[0].recipients[0] == "анна@xn--e1afmkfd.xn--p1ai"
    assert old.messages[0].recipients == ("anna@xn--e1afmkfd.xn--p1ai",)


async def test_a_mail_over_the_servers_size_is_not_tried(clock: StoppedClock) -> None:
    async with SmtpServer(largest=2_000) as server, channel(server, clock) as email:
        assert await email.send(mail({"text": "x" * 3_000})) == Rejected("size", address_dead=False)
        assert isinstance(await email.send(mail()), Sent)
        assert server.connections == 1


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (mail({"subject": "Hi\r\nBcc: all@player.example"}), Rejected("header_injection", address_dead=False)),
        (mail(address="ann@player.example\r\nRCPT TO:<x@y.example>"), Rejected("header_injection", address_dead=False)),
        (mail({"text": ""}), Rejected("empty", address_dead=False)),
        (mail(address="ann@player.example> SIZE=1"), Rejected("address_syntax", address_dead=True)),
        (mail(address="ann, bob@player.example"), Rejected("address_syntax", address_dead=True)),
        (mail(address="nobody"), Rejected("address_syntax", address_dead=True)),
        (mail(address="ann@-пример.рф"), Rejected("address_syntax", address_dead=True)),
    ],
)
async def test_what_cannot_be_a_mail_is_rejected(rig: EmailRig, message: Message, outcome: Outcome) -> None:
    assert await rig.channel.send(message) == outcome
    assert rig.server.connections == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"sender": ""},
        {"sender": "a@b.example, c@d.example"},
        {"sender": "a@b.example\r\nBcc: c@d.example"},
        {"reply_to": "анна@casino.example"},
        {"message_id_domain": "casino.example\r\n"},
        {"bounce_address": "bounces"},
        {"ca_file": "nowhere.pem"},
    ],
)
async def test_settings_that_cannot_work_are_refused_at_once(clock: StoppedClock, settings: dict[str, str]) -> None:
    async with SmtpServer() as server:
        with pytest.raises(ValueError, match=r"must be|may not contain|no certificates"):
            async with channel(server, clock, **({"security": "tls"} | settings)):
                pass


BODY = st.text(st.characters(exclude_categories=["Cs"])) | st.text("a. \t\n=Ж", min_size=60)


@given(subject=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])), text=BODY, html=BODY)
def test_any_content_is_read_back_as_it_was(subject: str, text: str, html: str) -> None:
    content = {"subject": subject, "text": text, "html": html}

    made = build(mail(content), "ann@player.example", Letterhead(EmailSettings(sender=SENDER)), NOW)

    read_back = message_from_bytes(made, policy=policy.default)
    assert read_back["Subject"] == subject
    parts = list(read_back.iter_parts()) or [read_back]
    assert [text_of(part) for part in parts] == [lines(body) for body in (text, html) if body] or not text + html
    assert all(len(line) <= 76 or b"example" in line for line in made.split(b"\r\n"))
    assert made.count(b"\n") == made.count(b"\r") == made.count(b"\r\n")
