"""What a process counts of its own work. docs/metrics.md lists all of it, and a test holds the two together.

What all processes share, as how many deliveries wait, is read from the ledger instead (`exposition.py`). No label names
a player, a code, an address or an endpoint's URL: each has few values, known beforehand or chosen by the operator.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Final

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from promocast.errors import Withheld
from promocast.model import Deferred, Failed, Halted, Outcome, Rejected, Sent

disable_created_metrics()  # type: ignore[no-untyped-call]

# Our own, so that a library that counts into the common one does not change what we serve.
REGISTRY: Final = CollectorRegistry()
for collector in (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR):
    REGISTRY.register(collector)

# From what a popup on the same network takes to where a mail server ends its filtering.
_SENDING: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_ANSWERING: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

SENDS: Final = Counter(
    "promocast_sends",
    "What became of messages: sent, deferred, failed, unknown, rejected, halted; withheld by the gate, or stopped.",
    ["channel", "outcome"],
    registry=REGISTRY,
)
SEND_SECONDS: Final = Histogram(
    "promocast_send_seconds",
    "From handing a message to the adapter to the provider's answer.",
    ["channel"],
    buckets=_SENDING,
    registry=REGISTRY,
)
SENDS_IN_FLIGHT: Final = Gauge(
    "promocast_sends_in_flight", "Messages handed to an adapter and not answered yet.", ["channel"], registry=REGISTRY
)
LIMITER_WAITS: Final = Counter(
    "promocast_limiter_waits",
    "How often a sender was given no leave: by the channel's rate, by a provider's 429, or for want of the queue.",
    ["channel"],
    registry=REGISTRY,
)
LEDGER_WAITS: Final = Counter(
    "promocast_ledger_waits",
    "How often a loop found the ledger away and waits to ask again.",
    ["who"],
    registry=REGISTRY,
)
RINGS_LOST: Final = Counter(
    "promocast_rings_lost",
    "Rings that the queue did not take; the sweeper rings again.",
    ["queue"],
    registry=REGISTRY,
)
ACTOR_FAILURES: Final = Counter(
    "promocast_actor_failures",
    "Queue messages whose actor raised what nobody foresaw; Dramatiq tries them again.",
    ["actor"],
    registry=REGISTRY,
)
CODES_ISSUED: Final = Counter("promocast_codes_issued", "Codes drawn and recorded.", ["campaign"], registry=REGISTRY)
DEPOSITS_JUDGED: Final = Counter(
    "promocast_deposits_judged",
    "Judgements by result and, of those refused, by reason; a deposit that is judged again counts again.",
    ["result", "reason"],
    registry=REGISTRY,
)
CALLBACKS: Final = Counter(
    "promocast_callbacks",
    "What providers told later: heard, unproven (refused) or unreadable (kept in the inbox).",
    ["channel", "result"],
    registry=REGISTRY,
)
HOOKS: Final = Counter(
    "promocast_hooks",
    "Events of inbound hooks: accepted, ignored or unreadable (kept in the inbox); posts that were unproven (refused).",
    ["source", "result"],
    registry=REGISTRY,
)
SWEPT: Final = Counter(
    "promocast_swept",
    "What the sweeper ended: leases whose sender did not report, unknown deliveries given up, codes expired; and its "
    "chores: leaves sealed, raw bodies emptied, codes stripped of what is personal.",
    ["what"],
    registry=REGISTRY,
)
SWEEP_SECONDS: Final = Histogram(
    "promocast_sweep_seconds", "One pass of the sweeper.", buckets=_ANSWERING, registry=REGISTRY
)
LAST_SWEEP: Final = Gauge(
    "promocast_sweep_last_timestamp_seconds", "When the sweeper last ended a pass, in Unix time.", registry=REGISTRY
)
REQUEST_SECONDS: Final = Histogram(
    "promocast_http_request_seconds",
    "HTTP requests by method, route and status; a path that is no route is `none`.",
    ["method", "route", "status"],
    buckets=_ANSWERING,
    registry=REGISTRY,
)

_WORDS: Final[dict[type[Outcome], str]] = {
    Sent: "sent",
    Deferred: "deferred",
    Failed: "failed",
    Rejected: "rejected",
    Halted: "halted",
}


async def measured(channel: str, sending: Awaitable[Outcome]) -> Outcome:
    """`sending`, counted by its outcome and timed."""
    word, started = "unknown", time.perf_counter()
    SENDS_IN_FLIGHT.labels(channel).inc()
    try:
        outcome = await sending
        if not (isinstance(outcome, Failed) and outcome.maybe_sent):
            word = _WORDS[type(outcome)]
    except Withheld:
        word = "withheld"
        raise
    except asyncio.CancelledError:
        word = "stopped"
        raise
    else:
        SEND_SECONDS.labels(channel).observe(time.perf_counter() - started)
        return outcome
    finally:
        SENDS_IN_FLIGHT.labels(channel).dec()
        SENDS.labels(channel, word).inc()
