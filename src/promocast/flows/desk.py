"""The desk: what a process that delivers works with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promocast import retry
from promocast.campaign.caps import Cap
from promocast.flows import Limiter, Ring
from promocast.flows.outcomes import Policy
from promocast.flows.versions import Versions
from promocast.flows.watch import Watch
from promocast.ledger import Ledger
from promocast.model import Channel, Clock
from promocast.returns import Returns


@dataclass(frozen=True, slots=True)
class Desk:
    """What delivering needs. `adapters` has those configured; `targets` the systems of the operator's that are posted
    to, as {`popup` or `endpoints.crm`: the digest of its URL}. Once `stopping` is set nothing more is claimed."""

    ledger: Ledger
    returns: Returns
    versions: Versions
    watch: Watch
    adapters: Mapping[str, Channel]
    targets: Mapping[str, str]
    policies: Mapping[str, Policy]
    loop: asyncio.AbstractEventLoop
    clock: Clock
    jitter: retry.Jitter
    ring: Ring
    limiter: Limiter
    stopping: threading.Event
    stop_grace: int
    caps: Sequence[Cap] = ()
