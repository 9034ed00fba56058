"""Can what the channels lead to be reached? A connection is made, up to TLS or a greeting, and nothing sent. Only the
exclusion service is asked, about nobody."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from promocast.channels import guard
from promocast.channels.http import Http
from promocast.cli.diagnosis.finding import Diagnosis
from promocast.errors import ExclusionUnavailable
from promocast.exclusion import HttpExclusionService
from promocast.settings import IPNetwork, Settings

# Seconds for all of it; what takes longer is no use to a channel.
PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """`allow`: the networks that the guard lets it reach; None where nothing is guarded, as at the operator's relay."""

    name: str
    host: str
    port: int
    tls: bool
    allow: guard.Networks | None
    ca_file: Path | None = None
    greets: bool = False


def reachability(settings: Settings) -> list[Diagnosis]:
    async def ask() -> list[Diagnosis]:
        return list(await asyncio.gather(*(_reached(target) for target in targets_of(settings))))

    return asyncio.run(ask())


def targets_of(settings: Settings) -> Iterator[Target]:
    """Whatever is configured and ours to reach. Web Push leads wherever browsers say."""
    of = settings.channels
    urls: list[tuple[str, str, Sequence[IPNetwork]]] = [
        (f"endpoints.{name}", target.url, target.allow_private) for name, target in settings.endpoints.items()
    ]
    if of.popup.use == "builtin" and of.popup.configured:
        urls.append(("channels.popup", of.popup.url, of.popup.allow_private))
    for name, channel in (("push.fcm", of.push.fcm), ("telegram", of.telegram), ("sms", of.sms)):
        if channel.use == "builtin" and channel.configured:
            urls.append((f"channels.{name}", channel.base_url, channel.allow_private))
    for name, url, networks in urls:
        with contextlib.suppress(ValueError):  # an address that is none is told by sending.py
            parts = urlsplit(url)
            tls = parts.scheme == "https"
            if parts.hostname and "@" not in parts.netloc:
                port = parts.port or (443 if tls else 80)
                yield Target(name, parts.hostname, port, tls, guard.allowance(url, networks))
    mail = of.email
    if mail.use == "builtin" and mail.configured:
        yield Target("channels.email", mail.host, mail.port, mail.security == "tls", None, mail.ca_file, greets=True)


def exclusion(settings: Settings) -> Iterator[Diagnosis]:
    """Does the exclusion service answer? It is asked about nobody."""

    async def ask() -> None:
        http = Http()
        try:
            await HttpExclusionService(settings.exclusion, http).excluded([])
        finally:
            await http.close()

    if not settings.exclusion.url:
        return
    try:
        asyncio.run(ask())
        yield Diagnosis("ok", "the exclusion service answers")
    except ExclusionUnavailable as exc:
        yield Diagnosis("error", str(exc), "look at [exclusion], and at docs/exclusion.md for what it has to answer")


async def _reached(target: Target) -> Diagnosis:
    where = f"[{target.name}] {target.host}:{target.port}"
    away = "it may be away for now: deliveries wait for it. Else look at the address, and at firewalls"
    try:
        async with asyncio.timeout(PATIENCE):
            addresses = await _addresses(target)
            allowed = [each for each in addresses if _permitted(target, each)]
            if not allowed:
                advice = f"if that is meant, list its network in [{target.name}] allow_private"
                return Diagnosis(
                    "error", f"{where} leads to private addresses only, which are not connected to", advice
                )
            await _connect(target, allowed)
    except ssl.SSLCertVerificationError as exc:
        return Diagnosis(
            "error", f"{where}: its certificate is not trusted ({exc.verify_message})", "see ca_file, or renew it"
        )
    except ssl.SSLError as exc:
        return Diagnosis("error", f"{where} does not speak TLS as expected ({exc.reason})", "look at port and security")
    except socket.gaierror:
        return Diagnosis("warning", f"{where}: no such name is known", away)
    except (OSError, EOFError, TimeoutError) as exc:
        return Diagnosis("warning", f"{where} cannot be reached ({type(exc).__name__})", away)
    return Diagnosis("ok", f"{where} can be reached")


async def _addresses(target: Target) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _permitted(target: Target, address: str) -> bool:
    return target.allow is None or guard.permits(ip_address(address.partition("%")[0]), target.allow)


async def _connect(target: Target, addresses: Sequence[str]) -> None:
    """
    Raises:
        OSError: none of the addresses takes a connection; the last one's reason.
        EOFError: a mail server that closed without a greeting.
    """
    context = ssl.create_default_context(cafile=target.ca_file) if target.tls else None
    for address in addresses:
        try:
            reader, writer = await asyncio.open_connection(
                address, target.port, ssl=context, server_hostname=target.host if context else None
            )
        except OSError:
            if address == addresses[-1]:
                raise
            continue
        try:
            if target.greets:
                await reader.readuntil(b"\n")
        finally:
            writer.close()
        return
