"""The queue's edge: actors that read a message and call a flow, and the sweeper's loop. Named as their flows.

This package is `promocast.workers`; never import it as `workers`, or its actors register twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dramatiq import Worker

from promocast.jobs import DELIVER, ISSUE, VERIFY
from promocast.observe import log
from promocast.runtime import Runtime
from promocast.workers import deliver, issue, verify

KINDS: Final = ("issue", "deliver", "verify")

# Threads per delivery queue: one sends and records while the other waits for its first batch.
DELIVER_THREADS: Final = 2
# How soon an idle thread notices that it is to stop, in milliseconds.
NOTICE: Final = 200
STOP_TIMEOUT: Final = 9_000


def run(runtime: Runtime, kinds: Iterable[str]) -> None:
    """Work until `runtime.stopping` is set, then end gracefully: what is in flight lands, the rest stays due."""
    workers = [
        Worker(runtime.broker, queues={q}, worker_threads=n, worker_timeout=NOTICE) for q, n in _queues(runtime, kinds)
    ]
    for worker in workers:
        worker.start()
    log.info("worker_ready", queues=sorted(queue for worker in workers for queue in worker.consumer_whitelist or ()))
    runtime.stopping.wait()
    for worker in workers:
        worker.stop(timeout=STOP_TIMEOUT)


def _queues(runtime: Runtime, kinds: Iterable[str]) -> Iterable[tuple[str, int]]:
    """(queue, threads), the actors registered. Each delivery queue has threads of its own, so that a slow provider
    holds up nobody else's channel."""
    wanted = set(kinds)
    if "issue" in wanted:
        issue.register(runtime)
        yield ISSUE, runtime.settings.workers.issue_threads
    if "verify" in wanted:
        verify.register(runtime)
        yield VERIFY, runtime.settings.workers.verify_threads
    if "deliver" in wanted:
        deliver.register(runtime)
        for queue in DELIVER:
            yield queue, DELIVER_THREADS
