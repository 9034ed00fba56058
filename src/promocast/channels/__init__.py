"""The channels, in one screen. An adapter is imported when it is first needed, so an unused SDK costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

from promocast.channels.http import Http
from promocast.errors import ConfigError
from promocast.model import Channel, Clock
from promocast.settings import ChannelSettings, Settings

ADAPTERS: Final[Mapping[str, str]] = {
    "popup": "promocast.channels.signed_post:Popup",
    "email": "promocast.channels.email:Email",
    "push.fcm": "promocast.channels.fcm:Fcm",
    "push.webpush": "promocast.channels.webpush:WebPush",
    "telegram": "promocast.channels.telegram:Telegram",
    "sms": "promocast.channels.sms:Sms",
    "call": "promocast.channels.signed_post:Call",
}


def adapter_settings(settings: Settings, adapter: str) -> ChannelSettings:
    """The section of promocast.toml that configures `adapter` (a key of ADAPTERS)."""
    section: object = settings.channels
    for part in adapter.split("."):
        section = getattr(section, part)
    assert isinstance(section, ChannelSettings)  # noqa: S101 - ADAPTERS and ChannelsSettings are one list in two files
    return section


def make(adapter: str, settings: Settings, http: Http, clock: Clock) -> Channel | None:
    """The adapter that the settings ask for; None where the channel is not configured.

    A dotted path of somebody else's (`package.module:Class`) is called with the channel's settings, the shared
    HTTP transport and the clock, as the built-in ones are. That transport reaches public addresses only; an adapter
    that has a private one in its settings asks for it by `http.within(guard.allowance(url, networks))`.

    Raises:
        ConfigError: the dotted path leads nowhere, or the adapter refuses its settings.
    """
    section = adapter_settings(settings, adapter)
    if not section.configured:
        return None
    if section.use == "outbox":
        from promocast.channels.outbox import Outbox  # noqa: PLC0415

        return Outbox()
    path = ADAPTERS[adapter] if section.use == "builtin" else section.use
    factory = _resolve(adapter, path)
    try:
        if adapter == "call" and section.use == "builtin":
            return factory(section, settings.endpoints, http, clock)  # type: ignore[no-any-return]
        return factory(section, http, clock)  # type: ignore[no-any-return]
    except ValueError as exc:
        raise ConfigError(f"[channels.{adapter}]: {exc}") from exc


def _resolve(adapter: str, path: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigError(
            f"[channels.{adapter}] use = {path!r} leads to no adapter ({exc}); "
            "write builtin, outbox, or package.module:Class."
        ) from exc
