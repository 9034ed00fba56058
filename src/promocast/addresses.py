"""Addresses as their networks know them. What cannot be one is found here, before a provider is asked.

Only what is certain is refused: numbering plans grow, and whether anybody is there the provider knows better.
"""

from __future__ import annotations

import re
from typing import Final

import idna
import phonenumbers
from email_validator import EmailNotValidError, validate_email

# What nearly every address looks like: a dot-atom at a domain of ASCII labels (RFC 5321 section 4.1.2).
_USUAL_MAILBOX: Final = re.compile(
    r"(?=[^@]{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*"
    r"@(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\.[a-z]{2,63}",
    re.ASCII | re.IGNORECASE,
)
# A chat's number, negative for groups, or a public chat's name (core.telegram.org/bots/api#sendmessage).
_CHAT: Final = re.compile(r"-?[0-9]{1,19}|@[A-Za-z][A-Za-z0-9_]{3,31}", re.ASCII)


def phone_number(text: str) -> str | None:
    """`text`, a number with its `+` and country, in E.164 (ITU-T), as "+35699123456"; None if it cannot be one."""
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def mailbox(text: str) -> str | None:
    """`text` as SMTP takes it (RFC 5321, RFC 6531), its domain as DNS knows it (RFC 5891); None if it is no mailbox.

    Quoted local parts and address literals are none here: no player has one, and headers would have to quote them.
    """
    if _USUAL_MAILBOX.fullmatch(text):
        local, _, domain = text.rpartition("@")
        return f"{local}@{domain.lower()}"
    try:
        # No DNS is asked, and test domains pass: whether a domain takes mail is for the server to say.
        found = validate_email(
            text, check_deliverability=False, test_environment=True, globally_deliverable=False, strict=True
        )
        return f"{found.local_part}@{found.ascii_domain or idna.encode(found.domain, uts46=True).decode('ascii')}"
    except (EmailNotValidError, idna.IDNAError):
        return None


def telegram_chat(text: str) -> str | None:
    """`text` where it is a chat's number or a public chat's `@name`; None if it can be neither."""
    return text if _CHAT.fullmatch(text) else None
