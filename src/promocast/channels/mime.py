"""A mail as bytes: headers, and text and HTML as alternatives (RFC 5322, RFC 2045, RFC 2046)."""

from __future__ import annotations

import base64
import binascii
import uuid
from datetime import UTC, datetime
from email.header import Header
from email.policy import SMTP as HEADER_RULES
from email.utils import format_datetime

from promocast.addresses import mailbox
from promocast.model import SECOND, Message
from promocast.settings import EmailSettings

_ASCII = bytes(range(0x80))


class Letterhead:
    """What all mails of a channel have in common: the envelope's sender, our domain, and the ready-made headers."""

    def __init__(self, settings: EmailSettings) -> None:
        self.mailbox, self.headers = _address_header("From", "sender", settings.sender)
        if settings.reply_to:
            self.headers += _address_header("Reply-To", "reply_to", settings.reply_to)[1]
        self.domain = settings.message_id_domain or self.mailbox.rpartition("@")[2]
        self.bounce = settings.bounce_address.rpartition("@")
        if settings.bounce_address and mailbox(settings.bounce_address) is None:
            raise ValueError('bounce_address must be one address, as in "bounces@mail.example.com"')
        if not self.domain.isascii() or mailbox(f"x@{self.domain}") is None:
            raise ValueError('message_id_domain must be a domain in ASCII, as in "mail.example.com"')

    def return_path(self, token: str) -> str:
        """The envelope's sender: where bounces go (RFC 5321 section 4.4), with the delivery's token in it if we can."""
        local, _, domain = self.bounce
        return f"{local}+{token}@{domain}" if local and token else self.mailbox


def _address_header(name: str, setting: str, value: str) -> tuple[str, bytes]:
    _, header = HEADER_RULES.header_store_parse(name, value)
    named = header.addresses[0].addr_spec if len(header.addresses) == 1 else ""
    if not named.isascii() or mailbox(named) is None:
        raise ValueError(f'{setting} must be one address in ASCII, as in "Casino <news@example.com>"')
    return named, header.fold(policy=HEADER_RULES).encode("ascii")


def message_id(key: str, domain: str) -> str:
    """The same on every attempt of a delivery: receivers that look for repetitions know them by it."""
    return f"<{uuid.uuid5(uuid.NAMESPACE_OID, key)}@{domain}>"


def build(message: Message, recipient: str, letterhead: Letterhead, now: int) -> bytes:
    """The mail as bytes, lines ending in CRLF: text or HTML, or both as alternatives (RFC 5322, RFC 2046).

    By hand, because an `EmailMessage` per mail costs ten times the rest of a send, and aiosmtplib would encode it anew.

    Args:
        recipient: the envelope's; it has no line break in it, and no more has the subject.
        now: the Date, in milliseconds.
    """
    identity = message_id(message.key, letterhead.domain)
    date = format_datetime(datetime.fromtimestamp(now / SECOND, UTC))
    own = (
        f"To: {recipient}\r\nSubject: {_header_text(message.content.get('subject', ''))}\r\nDate: {date}\r\n"
        f"Message-ID: {identity}\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"  # RFC 3834
    )
    if message.unsubscribe_url:
        # One click, of the mail program's own (RFC 8058). Never folded: some programs read what is on the first line.
        own += f"List-Unsubscribe: <{message.unsubscribe_url}>\r\n"
        own += "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    head = letterhead.headers + own.encode()
    text, html = message.content.get("text", ""), message.content.get("html", "")
    if not text or not html:
        return head + (_part("html", html) if html else _part("plain", text))
    # "=_" occurs neither in quoted-printable nor in base64 (RFC 2045 section 6.7).
    boundary = f"=_{uuid.uuid5(uuid.NAMESPACE_OID, message.key).hex}".encode()
    kind = b'Content-Type: multipart/alternative;\r\n boundary="%b"\r\n\r\n' % boundary
    parts = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in (_part("plain", text), _part("html", html)))
    return b"%b%b%b--%b--\r\n" % (head, kind, parts, boundary)


def _header_text(text: str) -> str:
    if text.isascii() and text.isprintable() and text == text.strip() and "=?" not in text and len(text) < 66:
        return text
    # CR and LF were refused; `Header` would fold at Unicode's other line breaks as well.
    return Header(" ".join(text.splitlines()), "utf-8", maxlinelen=75, header_name="Subject").encode(linesep="\r\n")


def _part(kind: str, text: str) -> bytes:
    """A body whose lines are short and in ASCII, whatever the template wrote (RFC 5321 section 4.5.3.1.6)."""
    raw = (text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n") + "\n").encode()
    # Each byte that is not ASCII costs three in quoted-printable; base64 costs a third on all.
    if 6 * len(raw.translate(None, _ASCII)) < len(raw):
        encoding, body = b"quoted-printable", binascii.b2a_qp(raw)
    else:
        encoding, body = b"base64", base64.encodebytes(raw.replace(b"\n", b"\r\n"))
    head = b"Content-Type: text/%b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n" % (kind.encode(), encoding)
    return head + body.replace(b"\n", b"\r\n")
