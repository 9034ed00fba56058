"""The composition root: from settings to a ledger, a bell, and channels."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final, TypeVar

from promocast import channels, metrics, progress, valkey
from promocast.bell import Bell
from promocast.broker import WaitingBroker
from promocast.campaign.caps import Cap
from promocast.channels.http import Http
from promocast.errors import LedgerUnavailable
from promocast.exclusion import HttpExclusionService
from promocast.flows import circuits
from promocast.flows.desk import Desk
from promocast.flows.exclusion import Exclusions
from promocast.flows.outcomes import Policy
from promocast.flows.settle import Settling
from promocast.flows.versions import Versions
from promocast.flows.watch import Watch
from promocast.ledger import Ledger, inbox, migrate
from promocast.limiter import SharedLimiter
from promocast.model import CHANNELS, PLAYER_CHANNELS, Channel, Clock, RandomBytes, system_clock
from promocast.observe import log
from promocast.progress import Progress
from promocast.returns import Returns
from promocast.settings import CallSettings, ChannelSettings, PopupSettings, Settings, TelegramSettings

T = TypeVar("T")

LEDGER_PAUSE: Final = 1.0


class Runtime:
    """What one process works with. `stopping` is set once, when the process is to end."""

    def __init__(
        self, settings: Settings, *, clock: Clock = system_clock, random_bytes: RandomBytes = os.urandom
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.random = random_bytes
        self.jitter = random.SystemRandom().random
        self.stopping = threading.Event()
        self.progress = Progress()
        self.versions = Versions()
        self.ledger = Ledger(settings.ledger_url, settings.ledger.pool_size)
        self.broker = self.new_broker()
        self.bell = Bell(self.broker)
        self.policies = policies(settings)
        self._outside: _Outside | None = None

    def new_broker(self) -> WaitingBroker:
        """A broker on this installation's queue. Dramatiq wants one for each of its workers in a process."""
        return WaitingBroker(valkey.queue_url(self.settings), self._keep_unreadable, self.progress)

    def desk(self) -> Desk:
        """Adapters on an event loop of their own, and all that delivering needs besides.

        Raises:
            ConfigError: a channel's settings are refused by its adapter.
        """
        if self._outside is None:
            self._outside = _Outside(self.settings, self.clock, self.progress)
            self._watch = Watch(self.ledger, self.clock, self._exclusions(self._outside))
            self._watch.look()
            circuits.renew(self.ledger, targets(self.settings), self.clock())
            threading.Thread(target=self._keep_looking, name="watch", daemon=True).start()
        return Desk(
            ledger=self.ledger,
            returns=self.returns,
            versions=self.versions,
            watch=self._watch,
            adapters=self._outside.adapters,
            targets=targets(self.settings),
            policies=self.policies,
            loop=self._outside.loop,
            clock=self.clock,
            jitter=self.jitter,
            ring=self.bell.ring,
            limiter=SharedLimiter(valkey.queue_url(self.settings), self.clock),
            stopping=self.stopping,
            stop_grace=self.settings.workers.stop_grace,
            caps=caps(self.settings),
        )

    def _exclusions(self, outside: _Outside) -> Exclusions | None:
        if not self.settings.exclusion.url:
            return None
        return Exclusions(outside.exclusion, self.settings.exclusion.cache, outside.loop, self.clock)

    @cached_property
    def returns(self) -> Returns:
        """
        Raises:
            LedgerUnavailable: it does not answer.
        """
        own = migrate.identity(self.ledger)
        return Returns(own.ledger_id, own.secret, self.settings.api.public_url.rstrip("/"))

    @cached_property
    def settling(self) -> Settling:
        """
        Raises:
            LedgerUnavailable: it does not answer.
        """
        return Settling(self.ledger, self.returns, self.policies, self.versions, self.jitter, self.bell.ring)

    def once_ledger_answers(self, work: Callable[[], T]) -> T:
        """`work()`, waiting for a ledger that is away.

        Raises:
            LedgerUnavailable: it was still away when the process was told to stop.
        """
        while True:
            try:
                return work()
            except LedgerUnavailable as exc:
                progress.beat()
                metrics.LEDGER_WAITS.labels("actor").inc()
                log.warning("ledger_unavailable", error=exc)
                if self.stopping.wait(LEDGER_PAUSE):
                    raise

    def close(self) -> None:
        if self._outside is not None:
            self._outside.close()
        self.broker.close()
        self.ledger.close()

    def _keep_looking(self) -> None:
        with self.progress.watched("watch"):
            self._watch.keep_looking(self.stopping)

    def _keep_unreadable(self, queue: str, data: bytes) -> None:
        def keep() -> None:
            with self.ledger.begin() as conn:
                inbox.put(conn, "job", "unreadable_message", f"queue {queue}", data, self.clock())

        self.once_ledger_answers(keep)


class _Outside:
    """The event loop on which adapters send, with their shared transport, in a thread of its own."""

    def __init__(self, settings: Settings, clock: Clock, progress: Progress) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="adapters", daemon=True)
        self._thread.start()
        self._http, self.adapters = asyncio.run_coroutine_threadsafe(_open(settings, clock), self.loop).result()
        self._turning = asyncio.run_coroutine_threadsafe(progress.keep_turning("adapters' event loop"), self.loop)
        self.exclusion = HttpExclusionService(settings.exclusion, self._http)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(timeout=5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)
        self.loop.close()

    async def _close(self) -> None:
        self._turning.cancel()
        for adapter in self.adapters.values():
            await adapter.close()
        await self._http.close()


async def _open(settings: Settings, clock: Clock) -> tuple[Http, dict[str, Channel]]:
    http = Http()
    try:
        made = {name: channels.make(name, settings, http, clock) for name in channels.ADAPTERS}
    except BaseException:
        await http.close()
        raise
    return http, {name: adapter for name, adapter in made.items() if adapter is not None}


def policies(settings: Settings) -> dict[str, Policy]:
    """How each channel sends. Push has two adapters and one queue: it goes by the slower and the more patient."""
    found = {}
    for channel in CHANNELS:
        first, *_ = sections = _sections(settings, channel)
        found[channel] = Policy(
            slots=_concurrency(sections) // delivery_threads(settings, channel),
            lease=max(section.lease for section in sections),
            max_attempts=first.max_attempts,
            unknown=first.unknown,
            unknown_after=first.unknown_after,
            rate=min((section.rate for section in sections if section.rate), default=0),
            per_address=first.per_chat if isinstance(first, TelegramSettings) else 0,
            disable_after=first.disable_after if isinstance(first, PopupSettings | CallSettings) else 0,
        )
    return found


def caps(settings: Settings) -> list[Cap]:
    """The caps on what a player is sent; one that names no channel counts all of them."""
    return [Cap(frozenset(cap.channels or PLAYER_CHANNELS), cap.most, cap.per) for cap in settings.caps]


def targets(settings: Settings) -> dict[str, str]:
    """{circuit: digest of its URL} of the systems of the operator's that are posted to."""
    urls = {f"endpoints.{name}": endpoint.url for name, endpoint in settings.endpoints.items()}
    if settings.channels.popup.url:
        urls["popup"] = settings.channels.popup.url
    return {circuit: hashlib.sha256(url.encode()).hexdigest()[:16] for circuit, url in urls.items()}


def delivery_threads(settings: Settings, channel: str) -> int:
    """How many threads of a process send on the channel. They share its `concurrency`, so they are not more."""
    return min(settings.workers.deliver_threads, _concurrency(_sections(settings, channel)))


def _concurrency(sections: Sequence[ChannelSettings]) -> int:
    return min(section.concurrency for section in sections)


def _sections(settings: Settings, channel: str) -> list[ChannelSettings]:
    """The settings of the channel's adapters: of those that are configured, if any is."""
    names = [name for name in channels.ADAPTERS if name == channel or name.startswith(f"{channel}.")]
    sections = [channels.adapter_settings(settings, name) for name in names]
    return [section for section in sections if section.configured] or sections


def configured_channels(settings: Settings) -> set[str]:
    """The player channels on which this installation can send."""
    names = (name for name in channels.ADAPTERS if channels.adapter_settings(settings, name).configured)
    return {name.partition(".")[0] for name in names} - {"call"}
