"""What is sent and called: credentials, targets, and how what is told later finds its way back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

from promocast import channels, signing
from promocast.channels.http import Http
from promocast.cli.diagnosis.finding import Diagnosis
from promocast.errors import ConfigError
from promocast.model import system_clock
from promocast.runtime import configured_channels
from promocast.settings import Secrets, Settings


def channels_made(settings: Settings) -> Iterator[Diagnosis]:
    """Each adapter is made as a worker makes it: it refuses credentials whose shape cannot work."""
    for name in channels.ADAPTERS:
        try:
            if asyncio.run(_made(name, settings)):
                yield Diagnosis("ok", f"channel {name} is configured")
            else:
                yield Diagnosis("warning", f"channel {name} is not configured", "what a journey sends there is skipped")
        except ConfigError as exc:
            yield Diagnosis("error", str(exc))


async def _made(name: str, settings: Settings) -> bool:
    http = Http()
    try:
        channel = channels.make(name, settings, http, system_clock)
        if channel is not None:
            await channel.close()
        return channel is not None
    finally:
        await http.close()


def targets(settings: Settings) -> Iterator[Diagnosis]:
    """The operator's own systems: where they are, and whether they can tell our requests from anybody's."""
    popup = settings.channels.popup
    found: dict[str, tuple[str, Secrets]] = {
        f"endpoints.{n}": (t.url, t.secrets) for n, t in settings.endpoints.items()
    }
    if popup.url:
        found["channels.popup"] = (popup.url, popup.secrets)
    if settings.exclusion.url:
        yield from _strange("exclusion", settings.exclusion.url)
    for name, (url, secrets) in found.items():
        yield from _strange(name, url)
        if not secrets:
            yield Diagnosis(
                "warning", f"[{name}] has no secret", "its receiver cannot tell our requests from anybody's"
            )
        for secret in secrets:
            try:
                signing.webhook_key(secret.get_secret_value())
            except ValueError as exc:
                yield Diagnosis("error", f"[{name}]: {exc}")


def _strange(name: str, url: str) -> Iterator[Diagnosis]:
    """What the transport refuses to send to. The address itself is not told: it may hold a password."""
    try:
        parts = urlsplit(url)
        credentials, usable = "@" in parts.netloc, parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        credentials, usable = False, False
    if credentials:
        advice = "leave them out: the channel is halted over them, and requests are signed anyway"
        yield Diagnosis("error", f"[{name}] url has credentials in it", advice)
    elif not usable:
        yield Diagnosis("error", f"[{name}] url is no address of a web server", "write https://host/path")
    elif parts.scheme == "http" and not _is_near(parts.hostname or ""):
        advice = "write https, unless the network between is yours"
        yield Diagnosis("warning", f"[{name}] url is http: codes travel in the clear", advice)


def _is_near(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


def ways_back(settings: Settings) -> Iterator[Diagnosis]:
    """What providers and players answer comes to api.public_url."""
    of, configured = settings.channels, configured_channels(settings)
    if settings.api.public_url:
        if settings.api.public_url.startswith("http://"):
            advice = "mail programs and providers call https only"
            yield Diagnosis("warning", "api.public_url is http", advice)
        return
    advice = "set api.public_url to the https address at which players and providers reach the API"
    if "email" in configured:
        yield Diagnosis("warning", "mails have no link to unsubscribe: api.public_url is not set", advice)
    if "sms" in configured:
        what = "nobody tells whether an SMS arrived, or of STOP: api.public_url is not set"
        yield Diagnosis("warning", what, advice)
    if of.telegram.callback_secret.get_secret_value():
        yield Diagnosis("warning", "Telegram has no way to tell who blocks the bot: api.public_url is not set", advice)
