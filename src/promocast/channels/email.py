"""E-mail over SMTP (RFC 5321): one transaction per message, on connections that are kept.

What an answer means depends on where in the conversation it came, so the commands are given one by one and the phase
is remembered. Before DATA nothing can have been taken. Between DATA and the answer to the final dot, a lost connection
leaves the truth with the server alone (RFC 1047).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal, cast

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from promocast import gate
from promocast.addresses import mailbox
from promocast.channels.http import Http
from promocast.channels.mime import Letterhead, build
from promocast.model import HOUR, MINUTE, SECOND, Clock, Deferred, Failed, Halted, Message, Outcome, Rejected, Sent
from promocast.settings import EmailSettings

# "connect" ends with the greeting; "data" is the DATA command, the message, and the answer to the final dot.
Phase = Literal["connect", "ehlo", "starttls", "auth", "rset", "mail", "rcpt", "data"]

# No message has been spoken of yet: what goes wrong here goes wrong for every message alike.
SESSION: Final = frozenset({"connect", "ehlo", "starttls", "auth"})

# Enhanced statuses 5.x.x (RFC 3463) by which nothing will ever arrive: no such mailbox, no such domain, bad syntax,
# moved away, null MX (RFC 7505), disabled for good.
DEAD: Final = frozenset({"1.1", "1.2", "1.3", "1.6", "1.10", "2.1"})
SENDER_REFUSED: Final = frozenset({"1.7", "1.8"})  # bad syntax, bad domain
CREDENTIALS_WANTED: Final = frozenset({530, 534, 535, 538})  # RFC 4954 section 6, at whichever command

SOON: Final = 5 * MINUTE  # what greylists usually want (RFC 6647 section 5), and enough for most hosts in trouble
LATER: Final = 30 * MINUTE  # nothing is known of why: RFC 5321 section 4.5.4.1 asks for at least this
MAILBOX_FULL: Final = 4 * HOUR  # a person has to empty it

KEEP_IDLE: Final = 30 * SECOND  # servers close what is idle, and firewalls forget it without a word

_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})(?!\S)")
_LINE_BREAK = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail in its envelope (RFC 5321 section 2.3.1)."""

    sender: str
    recipient: str = field(repr=False)
    content: bytes = field(repr=False)


class Email:
    """The e-mail channel. Every mail goes to the operator's own server or relay, which knows how to reach the rest."""

    asks_gate = True

    def __init__(self, settings: EmailSettings, _http: Http, clock: Clock) -> None:
        """Raises ValueError if an address, the Message-ID's domain or the CA file cannot be used."""
        self._letterhead = Letterhead(settings)
        self._settings = settings
        self._clock = clock
        self._tls = _tls(settings)
        self._idle: deque[Line] = deque()
        self._closed = False

    async def send(self, message: Message) -> Outcome:
        address = str(message.address)
        if _LINE_BREAK.search(address) or _LINE_BREAK.search(message.content.get("subject", "")):
            return Rejected("header_injection", address_dead=False)
        if not message.content.get("text") and not message.content.get("html"):
            return Rejected("empty", address_dead=False)
        recipient = mailbox(address)
        if recipient is None:
            return Rejected("address_syntax", address_dead=True)  # a server would say 5.1.3
        content = build(message, recipient, self._letterhead, self._clock())
        mail = Mail(self._letterhead.return_path(message.return_token), recipient, content)
        # A send is over before its lease is, also when every single step is within its own timeout.
        most = self._settings.connect_timeout + 2 * self._settings.timeout + self._settings.final_dot_timeout
        deadline = asyncio.get_running_loop().time() + most / SECOND
        if kept := self._take():
            outcome = await self._attempt(kept, mail, deadline)
            if not kept.was_stale:
                return outcome
        return await self._attempt(Line(self._settings, self._letterhead, self._tls), mail, deadline)

    async def close(self) -> None:
        self._closed = True
        lines, self._idle = self._idle, deque()
        await asyncio.gather(*(line.quit() for line in lines))

    async def _attempt(self, line: Line, mail: Mail, deadline: float) -> Outcome:
        try:
            # Cancels, as a stopping worker does. A cancelled aiosmtplib command leaves its reply to the next one, so
            # a line that is not at rest is never used again.
            async with asyncio.timeout_at(deadline):
                return await line.transmit(mail)
        except SMTPResponseException as exc:
            line.hear(exc.code)
            return read(line.phase, exc.code, exc.message, self._clock())
        except (SMTPException, OSError) as exc:
            return unanswered(line.phase, exc)
        finally:
            self._put_back(line)

    def _take(self) -> Line | None:
        oldest = self._clock() - KEEP_IDLE
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().drop()
        while self._idle:
            line = self._idle.pop()
            if line.is_connected:
                return line
            line.drop()
        return None

    def _put_back(self, line: Line) -> None:
        if line.at_rest and line.is_connected and not self._closed:
            line.idle_since = self._clock()
            self._idle.append(line)
        else:
            line.drop()


class Line:
    """One connection to the server, and how far the conversation on it has come. For one send at a time."""

    def __init__(self, settings: EmailSettings, letterhead: Letterhead, tls: ssl.SSLContext | None) -> None:
        self.phase: Phase = "connect"
        self.at_rest = False
        self.idle_since = 0
        self._settings = settings
        self._letterhead = letterhead
        self._half_done = False
        self._transport: asyncio.WriteTransport | None = None
        self._smtp = SMTP(
            hostname=settings.host,
            port=settings.port,
            # A name that is ours. The library's default asks DNS for the machine's, with no time limit.
            local_hostname=letterhead.domain,
            timeout=settings.timeout / SECOND,
            use_tls=settings.security == "tls",
            start_tls=False,  # by hand, as all the rest
            tls_context=tls,
        )

    @property
    def is_connected(self) -> bool:
        return self._smtp.is_connected

    @property
    def was_stale(self) -> bool:
        """Whether the server had given up the kept connection: surely nothing was sent, a fresh one may be tried."""
        return not self.at_rest and self.phase in ("rset", "mail")

    async def transmit(self, mail: Mail) -> Outcome:
        """Give `mail` to the server. Raises aiosmtplib's exceptions and OSError; `phase` then says where."""
        if self.phase == "connect":
            await self._open()
        if not mail.recipient.isascii() and not self._smtp.supports_extension("smtputf8"):
            return Rejected("smtputf8", address_dead=False)
        largest = self._smtp.esmtp_extensions.get("size", "")
        if largest.isdigit() and 0 < int(largest) < len(mail.content):
            return Rejected("size", address_dead=False)
        self.at_rest = False
        if self._half_done:
            self.phase = "rset"
            await self._smtp.rset()
        self._half_done = True
        await self._transaction(mail)
        self._half_done = False
        self.at_rest = True
        return Sent()

    async def _open(self) -> None:
        settings = self._settings
        await self._smtp.connect(timeout=settings.connect_timeout / SECOND)
        await self._ehlo()
        if settings.security == "starttls":
            self.phase = "starttls"
            await self._smtp.starttls()
            await self._ehlo()  # what was offered in the clear no longer counts (RFC 3207 section 4.2)
        if settings.username:
            self.phase = "auth"
            await self._smtp.login(settings.username, settings.password.get_secret_value())
        self.at_rest = True

    async def _ehlo(self) -> None:
        self._transport = cast("asyncio.WriteTransport", self._smtp.transport)
        self.phase = "ehlo"
        await self._smtp.ehlo()

    async def _transaction(self, mail: Mail) -> None:
        options, encoding = ([], "ascii") if mail.recipient.isascii() else (["SMTPUTF8"], "utf-8")
        if self._smtp.supports_extension("size"):
            options.append(f"SIZE={len(mail.content)}")
        self.phase = "mail"
        await gate.about_to_write()
        await self._smtp.mail(mail.sender, options=options, encoding=encoding)
        self.phase = "rcpt"
        await self._smtp.rcpt(mail.recipient, encoding=encoding)
        gate.still_open()  # the server may have taken its time
        self.phase = "data"
        await self._smtp.data(mail.content, timeout=self._settings.final_dot_timeout / SECOND)

    def hear(self, code: int) -> None:
        """A whole reply came, if a bad one. After 421 the server hangs up; one that cannot be read has lost step."""
        self.at_rest = self.phase in ("mail", "rcpt", "data") and 400 <= code < 600 and code != 421

    async def quit(self) -> None:
        with suppress(SMTPException, OSError):
            await self._smtp.execute_command(b"QUIT", timeout=self._settings.connect_timeout / SECOND)
        self.drop()

    def drop(self) -> None:
        """Hang up at once: a polite close of TLS would wait for the other side."""
        if self._transport is not None:
            self._transport.abort()
        self._smtp.close()


def read(phase: Phase, code: int, text: str, now: int) -> Outcome:
    """What a reply means: by phase, then enhanced status (RFC 3463), then basic code (RFC 5321 section 4.2).

    Args:
        code: the three digits; anything outside 200 to 599 is a reply that could not be read.
        text: the rest. Only a leading enhanced status is looked at: free text may quote an address.
        now: milliseconds; a deferral counts from it.
    """
    found = _ENHANCED.match(text)
    detail = found[1] if found else ""
    why = f"{phase} {code}" + (f" {code // 100}.{detail}" if detail else "")
    if 400 <= code < 500:
        return Deferred(now + _wait(phase, code, detail), why)
    if 500 <= code < 600:
        return _refusal(phase, code, detail, why)
    if 200 <= code < 300 and phase == "data":
        return Sent()
    # Neither yes nor no: whoever speaks so may have made anything of a message that it had.
    return Failed(f"{phase} unreadable", maybe_sent=phase == "data")


def _wait(phase: Phase, code: int, detail: str) -> int:
    if phase in SESSION or code == 421 or detail.startswith("3."):
        return SOON  # the host's trouble, or its limit
    if detail == "2.2":
        return MAILBOX_FULL
    # Greylisting is a 450 or 451 with 4.7.x, 4.2.0 or nothing; most do it at RCPT, some after DATA.
    return SOON if phase == "rcpt" or detail.startswith("7.") else LATER


def _refusal(phase: Phase, code: int, detail: str, why: str) -> Outcome:
    if phase in SESSION or code in CREDENTIALS_WANTED:
        return Halted(why)
    if phase == "mail":
        # Only we have been named so far. A size (RFC 1870) is this message's fault, anything else that is known ours.
        ours = code in (550, 553) or detail in SENDER_REFUSED or detail.startswith("7.")
        return Halted(why) if ours and detail != "3.4" else Rejected(why, address_dead=False)
    # One recipient per transaction: whoever is meant after DATA is ours too. A bare 550 may be policy (RFC 5321 section
    # 4.2.3), as 5.7.1 always is, and 5.2.2 is a full mailbox: no address is given up for those.
    return Rejected(why, address_dead=detail in DEAD or code == 556)


def unanswered(phase: Phase, exc: SMTPException | OSError) -> Outcome:
    """What it means that the conversation ended in `phase` without a reply."""
    cause = exc if isinstance(exc, ssl.SSLError) else exc.__cause__
    if phase in SESSION and isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        word = "certificate" if isinstance(cause, ssl.SSLCertVerificationError) else "handshake"
        return Halted(f"{phase} {word}")
    if isinstance(exc, TimeoutError):
        return Failed(f"{phase} timeout", maybe_sent=phase == "data")
    if isinstance(exc, OSError):
        return Failed(f"{phase} {'failed' if phase == 'connect' else 'lost'}", maybe_sent=phase == "data")
    # STARTTLS or AUTH is wanted and not on offer. To go on without would be what an attacker in between hopes for.
    return Halted(f"{phase} unsupported")


def _tls(settings: EmailSettings) -> ssl.SSLContext | None:
    if settings.security == "none":
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as exc:
        raise ValueError(f"ca_file {settings.ca_file} holds no certificates that can be read: {exc}") from exc
