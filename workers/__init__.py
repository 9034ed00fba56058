"""The queue's edge: actors that read a message and call a flow, and the sweeper's loop. Named as their flows.

This package is `promocast.workers`; never import it as `workers`, or its actors register twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dramatiq import Worker

from promocast.broker import WaitingBroker
from promocast.jobs import DELIVER, ISSUE, VERIFY
from promocast.model import CHANNELS
from promocast.observe import log
from promocast.runtime import Runtime, delivery_threads
from promocast.workers import deliver, issue, verify

KINDS: Final = ("issue", "deliver", "verify")

# How soon an idle thread notices that it is to stop, in milliseconds.
NOTICE: Final = 200
STOP_TIMEOUT: Final = 9_000


def run(runtime: Runtime, kinds: Iterable[str]) -> None:
    """Work until `runtime.stopping` is set, then end gracefully: what is in flight lands, the rest stays due."""
    workers = list(_workers(runtime, set(kinds)))
    for worker in workers:
        worker.start()
    log.info("worker_ready", queues=sorted(queue for worker in workers for queue in worker.consumer_whitelist or ()))
    runtime.stopping.wait()
    # All at once: each waits for what it has in flight.
    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(lambda worker: worker.stop(timeout=STOP_TIMEOUT), workers))


def _workers(runtime: Runtime, kinds: set[str]) -> Iterator[Worker]:
    """A Dramatiq worker for each queue, so that a slow provider holds up nobody else's channel."""
    if "issue" in kinds:
        yield _worker(runtime, issue.register, ISSUE, runtime.settings.workers.issue_threads)
    if "verify" in kinds:
        yield _worker(runtime, verify.register, VERIFY, runtime.settings.workers.verify_threads)
    if "deliver" in kinds:
        for channel, queue in zip(CHANNELS, DELIVER, strict=True):
            yield _worker(runtime, deliver.register, queue, delivery_threads(runtime.settings, channel))


def _worker(runtime: Runtime, register: Callable[[Runtime, WaitingBroker], None], queue: str, threads: int) -> Worker:
    broker = runtime.new_broker()
    register(runtime, broker)
    return Worker(broker, queues={queue}, worker_threads=threads, worker_timeout=NOTICE)
