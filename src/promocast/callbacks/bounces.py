"""Bounces and complaints, as a mail server hands them to us: the whole mail, by HTTP.

Every mail leaves with a return path of its own, which carries a signed token, so a bounce is matched by the address it
came to and not by what it says. Delivery status notifications are RFC 3464 in RFC 3462's envelope; complaints are
RFC 5965. Vacation notes and whatever else comes to a return path say nothing of a delivery.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from email.message import Message
from email.policy import compat32
from typing import Final
from urllib.parse import parse_qs, urlsplit

from promocast.callbacks import Callback, Unproven, Unreadable, same
from promocast.channels.email import DEAD
from promocast.model import Report, Told
from promocast.returns import Returns
from promocast.settings import EmailSettings

# Who the mail came to, as servers note it; the first that holds a token of ours counts.
_RECIPIENT_HEADERS: Final = ("Delivered-To", "X-Original-To", "Envelope-To", "To")
_STATUS: Final = re.compile(r"([245])\.(\d{1,3}\.\d{1,3})", re.ASCII)
# A reply of SMTP's, as RFC 3464 section 2.3.6 has it quoted, with an enhanced status in it.
_QUOTED: Final = re.compile(r"smtp;\s*[245]\d\d[ -]([245]\.\d{1,3}\.\d{1,3})(?!\S)", re.ASCII | re.IGNORECASE)


class Bounces:
    def __init__(self, settings: EmailSettings, returns: Returns) -> None:
        self._secret = settings.callback_secret.get_secret_value()
        local, _, domain = settings.bounce_address.rpartition("@")
        self._token = re.compile(
            rf"(?<![^\s<:,;]){re.escape(local)}\+(d-[0-9a-f]{{8}}-\d{{1,19}}-[a-z2-7]{{24}})@{re.escape(domain)}",
            re.ASCII | re.IGNORECASE,
        )
        self._returns = returns

    def read(self, callback: Callback) -> Sequence[Told]:
        scheme, _, given = callback.header("authorization").partition(" ")
        if scheme.lower() != "bearer" or not same(given.strip(), self._secret):
            raise Unproven
        if not callback.body.strip():
            raise Unreadable("no mail")
        mail = message_from_bytes(callback.body, policy=compat32)
        key = self._key(callback, mail)
        if key is None:
            return ()
        if _reports(mail) == "feedback-report":
            return (Report(key, "rejected", "complaint", address_dead=True, opted_out=True),)
        return tuple(report for status in _statuses(mail) if (report := _report(key, status)))[:1]

    def _key(self, callback: Callback, mail: Message) -> str | None:
        """The delivery that the mail is about, by a token that we signed, wherever the server or the mail has it."""
        for text in self._places(callback, mail):
            for token in self._token.findall(text):
                delivery_id = self._returns.opened("bounce", token)
                if delivery_id is not None:
                    return self._returns.key_of(delivery_id)
        return None

    @staticmethod
    def _places(callback: Callback, mail: Message) -> Iterator[str]:
        yield from parse_qs(urlsplit(callback.path).query).get("recipient", ())
        for name in _RECIPIENT_HEADERS:
            yield from (str(value) for value in mail.get_all(name, ()))
        # A complaint comes to another address, and holds the mail that it is about, return path and all.
        for part in mail.walk():
            if part.get_content_type() in ("message/rfc822", "text/rfc822-headers", "message/feedback-report"):
                yield part.as_string()


def _reports(mail: Message) -> str:
    """The report-type of a multipart/report (RFC 6522), in lower case; empty for any other mail."""
    if mail.get_content_type() != "multipart/report":
        return ""
    return str(mail.get_param("report-type", "")).lower()


def _statuses(mail: Message) -> Iterator[Message]:
    """The per-recipient fields of a delivery status notification (RFC 3464 section 2.3)."""
    if _reports(mail) != "delivery-status":
        return
    for part in mail.walk():
        if part.get_content_type() in ("message/delivery-status", "message/global-delivery-status"):
            groups = part.get_payload()
            yield from (group for group in groups if isinstance(group, Message) and group["Action"])


def _report(key: str, status: Message) -> Report | None:
    """What a recipient's fields mean. `delayed` is no news: the server goes on trying."""
    action = str(status["Action"]).strip().lower()
    if action == "delivered":
        return Report(key, "delivered")
    if action in ("relayed", "expanded"):
        return Report(key, "sent")
    if action != "failed":
        return None
    found = _detail(status)
    if found is None:
        return Report(key, "rejected", "bounce")
    # 4.x.x: the server gave up after days of trying; the address may be fine.
    return Report(key, "rejected", f"bounce {found[0]}", address_dead=found[1] == "5" and found[2] in DEAD)


def _detail(status: Message) -> re.Match[str] | None:
    """The enhanced status. Some servers, Exim among them, say x.0.0 of everything and only quote the one that knew."""
    found = _STATUS.match(str(status["Status"] or "").strip())
    quoted = _QUOTED.match(str(status["Diagnostic-Code"] or "").strip())
    if found is None or quoted is None or found[2] != "0.0" or found[1] != quoted[1][0]:
        return found
    return _STATUS.match(quoted[1])


__all__ = ["Bounces"]
