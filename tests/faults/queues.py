"""A Valkey of the test's own, as an operator brings one: it can be looked into, flushed, stopped and started again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from promocast import valkey
from promocast.broker import NAMESPACE
from promocast.demo.world import free_port
from promocast.settings import QueueSettings, Settings


class Queue:
    """`url` is what promocast is given. Its log, as it is, is the server's own."""

    def __init__(self, folder: Path) -> None:
        self._settings = Settings(data_dir=folder, queue=QueueSettings(port=free_port()))
        self._command = valkey.prepare(self._settings, os.urandom)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = valkey.queue_url(self._settings)
        self.client = redis.Redis.from_url(self.url)

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        valkey.wait_until_ready(self._settings, self._process)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(20)
        self._process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It keeps its connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.client.close()
        if self._process is not None:
            self.stop()

    def messages(self, queue_name: str) -> int:
        """How many messages of a queue wait, or are held by workers, dead ones included."""
        return int(self.client.hlen(f"{NAMESPACE}:{queue_name}.msgs"))

    def booked(self) -> dict[str, int]:
        """{worker and queue: how many messages it holds, fetched and not acknowledged}"""
        keys = self.client.keys(f"{NAMESPACE}:__acks__.*")
        assert isinstance(keys, list)
        return {os.fsdecode(key): int(self.client.scard(key)) for key in keys}


@contextmanager
def queue(folder: Path) -> Iterator[Queue]:
    made = Queue(folder)
    made.start()
    try:
        yield made
    finally:
        made.close()


def enqueue(url: str, jobs: Sequence[Mapping[str, Any]]) -> None:
    """Issue jobs, as any Dramatiq producer sends them."""
    _send(url, "issue", "issue_codes", [{"version": 1, **one} for one in jobs])


def enqueue_deposits(url: str, lists: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """Lists of deposits, as any Dramatiq producer sends them."""
    _send(url, "verify", "verify_deposits", lists)


def _send(url: str, queue_name: str, actor: str, bodies: Sequence[Any]) -> None:
    broker = RedisBroker(url=url)  # type: ignore[no-untyped-call]
    for body in bodies:
        broker.enqueue(dramatiq.Message(queue_name=queue_name, actor_name=actor, args=(body,), kwargs={}, options={}))
    broker.close()
