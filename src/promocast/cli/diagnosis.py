"""The doctor's questions: what keeps this setup from working, and what is likely not meant."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import redis

from promocast import channels, signing
from promocast.broker import make_client
from promocast.channels.http import Http
from promocast.cli import campaign_files
from promocast.errors import CampaignError, ConfigError, InputError, LedgerError
from promocast.ledger import Ledger, campaigns, inbox, migrate
from promocast.model import system_clock
from promocast.settings import Settings
from promocast.valkey import queue_url


@dataclass(frozen=True, slots=True)
class Diagnosis:
    level: Literal["ok", "warning", "error"]
    what: str
    advice: str = ""


def diagnose(settings: Settings) -> list[Diagnosis]:
    return [
        *_data_folder(settings),
        *_ledger(settings),
        *_queue(settings),
        *_channels(settings),
        *_endpoints(settings),
        *_campaign_files(settings),
    ]


def _data_folder(settings: Settings) -> Iterator[Diagnosis]:
    folder = settings.data_dir
    if not folder.is_dir():
        yield Diagnosis("warning", f"the data folder {folder} does not exist yet", "`promocast up` makes it")
    elif folder.stat().st_mode & 0o077:
        yield Diagnosis("error", f"others may look into the data folder {folder}", f"chmod 700 {folder}")
    else:
        yield Diagnosis("ok", f"data folder {folder}")


def _ledger(settings: Settings) -> Iterator[Diagnosis]:
    try:
        ledger = Ledger(settings.ledger_url)
    except LedgerError as exc:
        yield Diagnosis("error", str(exc))
        return
    try:
        migrate.check(ledger)
        yield Diagnosis("ok", f"the ledger answers ({ledger.dialect})")
        with ledger.read() as conn:
            waiting = sum(inbox.counts(conn).values())
        if waiting:
            yield Diagnosis("warning", f"{waiting} entries wait in the inbox", "`promocast inbox list` shows them")
    except LedgerError as exc:
        yield Diagnosis("error", str(exc))
    finally:
        ledger.close()


def _queue(settings: Settings) -> Iterator[Diagnosis]:
    try:
        make_client(queue_url(settings)).ping()
        yield Diagnosis("ok", "the queue answers")
    except ConfigError as exc:
        yield Diagnosis("warning", str(exc))
    except redis.RedisError as exc:
        advice = "start `promocast up`, or look at queue.url"
        yield Diagnosis("error", f"the queue does not answer ({type(exc).__name__})", advice)


def _channels(settings: Settings) -> Iterator[Diagnosis]:
    async def made(name: str) -> bool:
        http = Http()
        try:
            channel = channels.make(name, settings, http, system_clock)
            if channel is not None:
                await channel.close()
            return channel is not None
        finally:
            await http.close()

    for name in channels.ADAPTERS:
        try:
            if asyncio.run(made(name)):
                yield Diagnosis("ok", f"channel {name} is configured")
            else:
                yield Diagnosis("warning", f"channel {name} is not configured", "what a journey sends there is skipped")
        except ConfigError as exc:
            yield Diagnosis("error", str(exc))


def _endpoints(settings: Settings) -> Iterator[Diagnosis]:
    targets = {f"endpoints.{name}": target.secrets for name, target in settings.endpoints.items()}
    if settings.channels.popup.url:
        targets["channels.popup"] = settings.channels.popup.secrets
    for name, secrets in targets.items():
        if not secrets:
            yield Diagnosis(
                "warning", f"[{name}] has no secret", "its receiver cannot tell our requests from anybody's"
            )
        for secret in secrets:
            try:
                signing.webhook_key(secret.get_secret_value())
            except ValueError as exc:
                yield Diagnosis("error", f"[{name}]: {exc}")


def _campaign_files(settings: Settings) -> Iterator[Diagnosis]:
    try:
        ledger = Ledger(settings.ledger_url)
    except LedgerError:
        return  # said above
    try:
        for path in campaign_files.files(settings):
            try:
                checked = campaign_files.read(path, settings)
            except (CampaignError, InputError) as exc:
                yield Diagnosis("error", str(exc))
                continue
            for finding, line in checked.findings:
                yield Diagnosis(finding.level, f"{path}:{line or 1}: {finding.pointer}: {finding.reason}")
            with ledger.read() as conn:
                current = campaigns.in_force(conn, checked.campaign.id)
            if current is not None and current.digest != checked.digest:
                what = f"{path} differs from campaign {current.id} version {current.version}, which is in force"
                yield Diagnosis("warning", what, f"`promocast campaign apply {path}` puts it in force")
    except LedgerError:
        return  # said above
    finally:
        ledger.close()
