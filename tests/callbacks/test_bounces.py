"""Bounces and complaints: matched by the address that they came to, never by what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from promocast.callbacks import Callback, Unproven, Unreadable
from promocast.callbacks.bounces import Bounces
from promocast.channels.mime import Letterhead
from promocast.model import Report
from promocast.returns import Returns
from promocast.settings import EmailSettings

SECRET = "bounce-secret"
RETURNS = Returns("0a1b2c3d", bytes(range(32)), "https://promo.example.com")
KEY = "d-0a1b2c3d-17"
SETTINGS = EmailSettings(
    host="mail.example.com",
    sender="Casino <codes@example.com>",
    bounce_address="bounces@mail.example.com",
    callback_secret=SecretStr(SECRET),
)
RETURN_PATH = Letterhead(SETTINGS).return_path(RETURNS.token("bounce", KEY))


@pytest.fixture
def reader() -> Bounces:
    return Bounces(SETTINGS, RETURNS)


def callback(mail: str, *, secret: str = SECRET, query: str = "") -> Callback:
    headers = {"authorization": f"Bearer {secret}"}
    return Callback(f"/v1/callbacks/email{query}", headers, mail.replace("\n", "\r\n").encode())


def dsn(action: str, status: str, *, to: str = RETURN_PATH, fields: str = "") -> str:
    """A delivery status notification as RFC 3464 has it, in the manner of Postfix."""
    return f"""Return-Path: <>
Delivered-To: {to}
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="4F2A.1795514400/mx.example.net"

--4F2A.1795514400/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

<ann@player.example>: host mx.player.example said: 550 5.1.1 no such user

--4F2A.1795514400/mx.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Arrival-Date: Tue, 24 Nov 2026 10:00:00 +0000 (UTC)

Final-Recipient: rfc822; ann@player.example
Action: {action}
Status: {status}
{fields}Diagnostic-Code: smtp; 550 5.1.1 <ann@player.example>: no such user

--4F2A.1795514400/mx.example.net
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: Casino <codes@example.com>
To: ann@player.example
Subject: Your code

--4F2A.1795514400/mx.example.net--
"""


@pytest.mark.parametrize(
    ("action", "status", "report"),
    [
        ("failed", "5.1.1", Report(KEY, "rejected", "bounce 5.1.1", address_dead=True)),
        ("Failed", "5.1.10", Report(KEY, "rejected", "bounce 5.1.10", address_dead=True)),
        ("failed", "5.2.1", Report(KEY, "rejected", "bounce 5.2.1", address_dead=True)),
        ("failed", "5.2.2", Report(KEY, "rejected", "bounce 5.2.2")),
        ("failed", "5.7.1", Report(KEY, "rejected", "bounce 5.7.1")),
        ("failed", "4.4.7", Report(KEY, "rejected", "bounce 4.4.7")),
        ("failed", "nonsense", Report(KEY, "rejected", "bounce")),
        ("delivered", "2.0.0", Report(KEY, "delivered")),
        ("relayed", "2.0.0", Report(KEY, "sent")),
        ("expanded", "2.0.0", Report(KEY, "sent")),
    ],
)
def test_a_notification_says_what_became_of_the_mail(reader: Bounces, action: str, status: str, report: Report) -> None:
    assert reader.read(callback(dsn(action, status))) == (report,)


def test_a_delay_is_no_news(reader: Bounces) -> None:
    assert reader.read(callback(dsn("delayed", "4.4.1"))) == ()


@pytest.mark.parametrize("fold", [str.upper, str.lower, str.title])
def test_a_server_may_fold_the_return_path(reader: Bounces, fold: Callable[[str], str]) -> None:
    [report] = reader.read(callback(dsn("failed", "5.1.1", to=fold(RETURN_PATH))))

    assert isinstance(report, Report)
    assert report.key == KEY


def test_the_server_may_say_to_whom_it_came(reader: Bounces) -> None:
    mail = dsn("failed", "5.1.1", to="catchall@mail.example.com")

    assert reader.read(callback(mail)) == ()
    assert len(reader.read(callback(mail, query=f"?recipient={RETURN_PATH.replace('+', '%2B')}"))) == 1


@pytest.mark.parametrize(
    "to",
    [
        RETURN_PATH.replace("-17-", "-18-"),
        RETURN_PATH.replace("bounces+", "bounces+x"),
        RETURN_PATH[:-30] + "aaaa@mail.example.com",
        Letterhead(SETTINGS).return_path(RETURNS.token("unsubscribe", KEY)),
        Letterhead(SETTINGS).return_path(Returns("0a1b2c3d", b"another").token("bounce", KEY)),
        "ann@player.example",
    ],
    ids=["another delivery", "a longer name", "cut", "for something else", "another secret", "somebody's"],
)
def test_an_address_that_we_did_not_sign_names_no_delivery(reader: Bounces, to: str) -> None:
    assert reader.read(callback(dsn("failed", "5.1.1", to=to))) == ()


def test_a_vacation_note_says_nothing(reader: Bounces) -> None:
    note = f"To: {RETURN_PATH}\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nBack on Monday. 5.1.1\n"

    assert reader.read(callback(note)) == ()


def test_a_complaint_is_matched_by_the_mail_that_it_holds(reader: Bounces) -> None:
    """RFC 5965, as a mailbox provider's feedback loop sends it to an address that is registered there."""
    complaint = f"""From: feedback@isp.example
To: fbl@example.com
Subject: FW: Your code
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part"

--part
Content-Type: text/plain

This is an abuse report.
--part
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Loop/1.0
Version: 1
Original-Mail-From: <{RETURN_PATH}>

--part
Content-Type: message/rfc822

Return-Path: <{RETURN_PATH}>
From: Casino <codes@example.com>
To: ann@player.example
Subject: Your code

Hi
--part--
"""
    assert reader.read(callback(complaint)) == (
        Report(KEY, "rejected", "complaint", address_dead=True, opted_out=True),
    )


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic bounce-secret", "bounce-secret"])
def test_without_the_secret_nobody_is_believed(reader: Bounces, header: str) -> None:
    with pytest.raises(Unproven):
        reader.read(Callback("/v1/callbacks/email", {"authorization": header}, dsn("failed", "5.1.1").encode()))


def test_an_empty_body_is_told_apart(reader: Bounces) -> None:
    with pytest.raises(Unreadable):
        reader.read(callback("\n"))


def test_a_mangled_notification_is_read_or_ignored_and_never_fatal(reader: Bounces) -> None:
    whole = dsn("failed", "5.1.1").replace("\n", "\r\n").encode()
    headers = {"authorization": f"Bearer {SECRET}"}

    for cut in range(0, len(whole), 7):
        broken = whole[:cut] + b"\xff\x00" + whole[cut:]
        told = reader.read(Callback("/v1/callbacks/email", headers, broken))
        assert all(isinstance(one, Report) and one.key == KEY for one in told)


def test_the_letterhead_writes_the_return_path_that_is_read_here() -> None:
    assert RETURN_PATH.startswith("bounces+d-0a1b2c3d-17-")
    assert len(RETURN_PATH.partition("@")[0]) <= 64  # RFC 5321 section 4.5.3.1.1
    longest = Letterhead(SETTINGS).return_path(RETURNS.token("bounce", RETURNS.key_of(2**63 - 1)))
    assert len(longest.partition("@")[0]) <= 64


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("exim-no-such-mailbox", Report(KEY, "rejected", "bounce 5.1.1", address_dead=True)),
        ("exim-over-quota", Report(KEY, "rejected", "bounce 5.2.2")),
        ("exim-no-reason", Report(KEY, "rejected", "bounce 5.0.0")),
    ],
)
def test_bounces_that_servers_have_written(name: str, report: Report) -> None:
    """Kept as Exim 4.96 wrote them (tests/channels/thirdparty/test_exim.py has it write more): its own status is 5.0.0
    whatever the reason, which only the reply that it quotes says."""
    settings = SETTINGS.model_copy(update={"bounce_address": "bounces@casino.example"})
    mail = (Path(__file__).parents[1] / "data" / "dsn" / f"{name}.eml").read_text(encoding="ascii")

    assert Bounces(settings, RETURNS).read(callback(mail)) == (report,)
