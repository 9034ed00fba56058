"""A mail server on 127.0.0.1 that takes what it is given and shows it: aiosmtpd speaking, and a script."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

from aiosmtpd.smtp import SMTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from promocast.standins.base import Fault

# "dot" is after the final dot: the whole message is here. "connect" is before the greeting.
Phase = Literal["connect", "ehlo", "starttls", "auth", "rset", "mail", "rcpt", "data", "dot"]

# A reply line as it stands, a fault, or None to answer as a server would.
Verdict = str | Fault | None

# Given the phase and the command's argument; may take its time.
Script = Callable[[Phase, str], Verdict | Awaitable[Verdict]]

Security = Literal["none", "starttls", "tls"]

LARGEST: Final = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """One mail as it came in, however it was answered. `content` is without the wire's dot-stuffing; `at` is when it
    was whole, by the monotonic clock in seconds."""

    sender: str = field(repr=False)
    recipients: tuple[str, ...] = field(repr=False)
    content: bytes = field(repr=False)
    over_tls: bool
    at: float = field(default_factory=time.monotonic)

    def parsed(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)


class SmtpServer:
    """A server for one operator's mail. `messages` holds all that came; `wait_for(n)` waits on the n-th.

    Args:
        security: plain, STARTTLS on offer, or TLS from the first byte; `ca_file` then is the certificate to trust.
        username, password: what AUTH PLAIN and LOGIN must give before MAIL is taken; empty for none.
        smtputf8: whether internationalised mailboxes are taken (RFC 6531).
        largest: octets of the largest message, as offered by SIZE (RFC 1870).
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        security: Security = "none",
        username: str = "",
        password: str = "",
        smtputf8: bool = True,
        largest: int = LARGEST,
    ) -> None:
        self.script = script
        self.security: Security = security
        self.username = username
        self.password = password
        self.smtputf8 = smtputf8
        self.largest = largest
        self.messages: list[ReceivedMail] = []
        self.connections = 0
        self.port = 0
        self.ca_file: Path | None = None
        self.tls: ssl.SSLContext | None = None
        self.sessions: dict[asyncio.Task[None], Session] = {}
        self._arrived = asyncio.Condition()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        # aiosmtpd logs every command and line at INFO and DEBUG, and a warning at each AUTH about its own old API.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        if self.security != "none" and self.tls is None:
            self._folder = tempfile.TemporaryDirectory(prefix="promocast-smtp-")
            self.ca_file, key = write_certificate(Path(self._folder.name))
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(self.ca_file, key)
        loop = asyncio.get_running_loop()
        from_the_start = self.tls if self.security == "tls" else None
        self._server = await loop.create_server(lambda: Session(self, loop), "127.0.0.1", self.port, ssl=from_the_start)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task, session in self.sessions.items():
            session.hang_up()
            task.cancel()  # aiosmtpd is not told of a client that left during STARTTLS
        await asyncio.gather(*self.sessions, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = self.ca_file = self.tls = None

    async def wait_for(self, count: int) -> None:
        """Return once `count` messages have come in all."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.messages) >= count)

    async def keep(self, mail: ReceivedMail) -> None:
        async with self._arrived:
            self.messages.append(mail)
            self._arrived.notify_all()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()


class Session(SMTP):
    """One client's connection. At each command the script is asked first."""

    def __init__(self, standin: SmtpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._standin = standin
        super().__init__(
            Mailbox(standin),
            loop=loop,
            hostname="localhost",
            ident="promocast stand-in",
            data_size_limit=standin.largest,
            enable_SMTPUTF8=standin.smtputf8,
            tls_context=standin.tls if standin.security == "starttls" else None,
            auth_require_tls=False,
            auth_exclude_mechanism=() if standin.username else ("LOGIN", "PLAIN"),
            auth_callback=self._knows,
        )

    def hang_up(self, *, politely: bool = False) -> None:
        """Close the connection after what was written, or reset it at once."""
        if self.transport is not None:
            transport = cast("asyncio.WriteTransport", self.transport)
            (transport.close if politely else transport.abort)()

    async def verdict(self, phase: Phase, argument: str) -> str | None:
        """The script's reply line, if it has one. A fault ends here: this waits until the client has gone."""
        script = self._standin.script
        reply = script(phase, argument) if script else None
        if isinstance(reply, Awaitable):
            reply = await reply
        if reply in (Fault.DROP, Fault.LOSE_ANSWER):
            self.hang_up()
        if isinstance(reply, Fault):
            await asyncio.Event().wait()
        assert not isinstance(reply, Fault)  # noqa: S101 - nobody sets that event
        return reply

    async def scripted(self, phase: Phase, argument: str | None) -> bool:
        """Whether the script has answered in our place."""
        reply = await self.verdict(phase, argument or "")
        if reply is None:
            return False
        await self.push(reply)
        if reply.startswith("421"):
            self.hang_up(politely=True)
        return True

    async def _handle_client(self) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._standin.sessions[task] = self
        self._standin.connections += 1
        try:
            if await self.scripted("connect", None):
                self.hang_up(politely=True)
                return
            with suppress(ConnectionError):
                await super()._handle_client()
        finally:
            self._standin.sessions.pop(task, None)

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - aiosmtpd finds a command's method by its name
        if not await self.scripted("ehlo", hostname):
            await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
        if not await self.scripted("starttls", arg):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        if not await self.scripted("auth", (arg or "").partition(" ")[0]):
            await super().smtp_AUTH(arg)

    async def smtp_RSET(self, arg: str) -> None:  # noqa: N802
        if not await self.scripted("rset", arg):
            await super().smtp_RSET(arg)

    async def smtp_MAIL(self, arg: str) -> None:  # noqa: N802
        if await self.scripted("mail", arg):
            return
        if self._standin.username and not (self.session and self.session.authenticated):
            await self.push("530 5.7.0 Authentication required")
            return
        await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg: str) -> None:  # noqa: N802
        if not await self.scripted("rcpt", arg):
            await super().smtp_RCPT(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if not await self.scripted("data", arg):
            await super().smtp_DATA(arg)

    def _knows(self, _mechanism: str, login: bytes, password: bytes) -> bool:
        return (login, password) == (self._standin.username.encode(), self._standin.password.encode())


class Mailbox:
    """What aiosmtpd calls its handler."""

    def __init__(self, standin: SmtpServer) -> None:
        self._standin = standin

    async def handle_DATA(self, server: Session, session: Any, envelope: Any) -> str:  # noqa: N802
        over_tls = session.ssl is not None or self._standin.security == "tls"
        mail = ReceivedMail(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content, over_tls)
        await self._standin.keep(mail)
        return await server.verdict("dot", "") or "250 2.0.0 Ok: taken"


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and 127.0.0.1 that is good for a week, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "promocast stand-in")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    today = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=7))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return certificate_file, key_file
