"""What `GET /metrics` shows: a process's own counts, and of one process the figures of the ledger and the queue.

The figures are the same whoever reads them, so the sweeper does, which reads the book anyway. Counting is held to a
twentieth of the time and to once in `FRESH` seconds, however often is asked and however much is open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

import redis
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from promocast import jobs, metrics
from promocast.broker import WaitingBroker
from promocast.errors import LedgerUnavailable
from promocast.ledger import Ledger, figures
from promocast.ledger.channels import EVERY
from promocast.ledger.figures import Figures
from promocast.model import CHANNELS, SECOND, Clock, Instant

FRESH: Final = 5.0
SHARE: Final = 20
INBOX_KINDS: Final = ("job", "deposit", "client_action", "callback", "hook")


class Source(Protocol):
    """Whatever has metrics: a registry, or one of the classes below."""

    def collect(self) -> Iterable[Metric]: ...


class Book:
    """The figures of ledger and queue as gauges. Where one of them is away, its `_up` says so and its figures are left
    out: an old number must not pass for a new one."""

    def __init__(
        self, ledger: Ledger, broker: WaitingBroker, clock: Clock, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._broker = broker
        self._clock = clock
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._until = float("-inf")

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            started = self._elapsed()
            if started >= self._until:
                self._kept = [*self._of_ledger(), *self._of_queue()]
                ended = self._elapsed()
                self._until = ended + max(FRESH, SHARE * (ended - started))
            return self._kept

    def _of_ledger(self) -> Iterator[Metric]:
        try:
            with self._ledger.read() as conn:
                now = self._clock()
                found = figures.figures(conn, now)
        except LedgerUnavailable:
            yield _up("ledger", False)
            return
        yield _up("ledger", True)
        yield from _of_channels(found, now)
        yield _gauge("promocast_request_parts_waiting", "Request parts accepted and not issued.", found.parts)
        yield _gauge("promocast_deposits_waiting", "Deposits recorded and not judged for good.", found.deposits)
        inbox = GaugeMetricFamily("promocast_inbox_entries", "Refused work that nobody has replayed.", labels=["kind"])
        for kind, count in {**dict.fromkeys(INBOX_KINDS, 0), **found.inbox}.items():
            inbox.add_metric([kind], count)
        yield inbox

    def _of_queue(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "promocast_queue_messages", "Messages in a queue's list that no worker has taken.", labels=["queue"]
        )
        try:
            for queue in jobs.QUEUES:
                waiting.add_metric([queue], self._broker.backlog(queue))
        except redis.RedisError:
            yield _up("queue", False)
            return
        yield _up("queue", True)
        yield waiting


def _of_channels(found: Figures, now: Instant) -> Iterator[Metric]:
    by_state = GaugeMetricFamily(
        "promocast_deliveries", "Deliveries for which something is still to come.", labels=["channel", "state"]
    )
    due = GaugeMetricFamily("promocast_deliveries_due", "Deliveries that wait for a sender now.", labels=["channel"])
    age = GaugeMetricFamily(
        "promocast_oldest_due_seconds", "How long the oldest of them has waited; 0 if none does.", labels=["channel"]
    )
    paused = GaugeMetricFamily("promocast_channel_paused", "1: paused, or everything is.", labels=["channel"])
    halted = GaugeMetricFamily(
        "promocast_channel_halted",
        "1: our configuration is at fault; a probe is sent now and then.",
        labels=["channel"],
    )
    disabled = GaugeMetricFamily(
        "promocast_channel_disabled",
        "1: its system wants no more, or failed for days; nothing goes there until the operator says so.",
        labels=["channel"],
    )
    every = found.standing.get(EVERY)
    for channel in CHANNELS:
        of = found.channels[channel]
        for state, count in of.states.items():
            by_state.add_metric([channel, state], count)
        due.add_metric([channel], of.due)
        age.add_metric([channel], 0 if of.oldest_due is None else (now - of.oldest_due) / SECOND)
    # Endpoints stand beside the channels once there was something to say of them, as `endpoints.crm`.
    for circuit in [*CHANNELS, *sorted(found.standing.keys() - {*CHANNELS, EVERY})]:
        own = found.standing.get(circuit)
        paused.add_metric([circuit], any(state is not None and state.paused_at is not None for state in (every, own)))
        halted.add_metric([circuit], own is not None and own.halted_at is not None)
        disabled.add_metric([circuit], own is not None and own.disabled_at is not None)
    yield from (by_state, due, age, paused, halted, disabled)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)


def _up(which: str, answers: bool) -> Metric:
    return _gauge(f"promocast_{which}_up", f"1: the {which} answered when it was last asked.", float(answers))


class Labelled:
    """Sources as one, each sample with the label `process`: several processes count by the same names."""

    def __init__(self, process: str, *sources: Source) -> None:
        self._process = process
        self._sources = sources

    def collect(self) -> Iterable[Metric]:
        for source in self._sources:
            for family in source.collect():
                labelled = Metric(family.name, family.documentation, family.type, family.unit)
                labelled.samples = [
                    Sample(s.name, {**s.labels, "process": self._process}, s.value) for s in family.samples
                ]
                yield labelled


class Merged:
    """Expositions of several processes as one: the samples of a name stand together, as the format wants it.

    Args:
        expositions: {process: its exposition, or None where it did not answer}
    """

    def __init__(self, expositions: Mapping[str, str | None]) -> None:
        self._expositions = expositions

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("promocast_process_up", "1: the process answered its supervisor.", labels=["process"])
        families: dict[str, Metric] = {up.name: up}
        for process, text in self._expositions.items():
            up.add_metric([process], text is not None)
            for family in text_string_to_metric_families(text or ""):
                known = families.setdefault(family.name, family)
                if known is not family:
                    known.samples += family.samples
        return families.values()


def render(source: Source) -> bytes:
    """The Prometheus text format, version 0.0.4."""
    return generate_latest(source)


def of_process(process: str, *more: Source) -> bytes:
    """The exposition of this process."""
    return render(Labelled(process, metrics.REGISTRY, *more))
