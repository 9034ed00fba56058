"""How the processes are watched: each serves its own metrics and health, and the supervisor of `up` those of all."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import httpx

from promocast import exposition
from promocast.exposition import Book
from promocast.monitor import Monitor, Persistent, Views
from promocast.runtime import Runtime
from promocast.settings import MetricsSettings

# Seconds; a process that is asked answers at once, or has stopped.
PATIENCE: Final = 3
# Longer, for a supervisor has to ask its processes first.
PATIENCE_WITH_ALL: Final = 2 * PATIENCE


def health_of(runtime: Runtime, process: str) -> dict[str, Any]:
    """What /healthz answers of a process: `stuck` has the loops that have not come round, and for how many seconds."""
    stuck = runtime.progress.stuck()
    return {"alive": not stuck, "process": process, "stuck": stuck}


@contextmanager
def monitored(runtime: Runtime, process: str, listener: int | None, *, book: bool = False) -> Iterator[None]:
    """Serve a process's metrics and health while the block runs: on the supervisor's socket `listener`, else on
    [metrics]. `book`: with the figures of ledger and queue."""
    figures = [Book(runtime.ledger, runtime.broker, runtime.clock)] if book else []
    views = Views(lambda: exposition.of_process(process, *figures), lambda: health_of(runtime, process))
    serving = (
        Persistent(runtime.settings.metrics.host, runtime.settings.metrics.port, views)
        if listener is None
        else Monitor(socket.socket(fileno=listener), views)
    )
    try:
        yield
    finally:
        serving.close()


class Household:
    """The processes under one supervisor, asked at the loopback ports that it has given them."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports

    def metrics(self) -> bytes:
        """All processes' metrics as one exposition; of a process that does not answer there is only that."""
        answers = self._ask("/metrics").items()
        return exposition.render(exposition.Merged({name: answer.text if answer else None for name, answer in answers}))

    def health(self) -> dict[str, Any]:
        found = {
            name: {"alive": False, "stuck": {}} if answer is None else answer.json()
            for name, answer in self._ask("/healthz").items()
        }
        return {"alive": all(one["alive"] for one in found.values()), "processes": found}

    def _ask(self, path: str) -> dict[str, httpx.Response | None]:
        with ThreadPoolExecutor(len(self._ports)) as pool:
            return dict(zip(self._ports, pool.map(lambda port: _get(port, path), self._ports.values()), strict=True))


def _get(port: int, path: str) -> httpx.Response | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE, trust_env=False)
    except httpx.HTTPError:
        return None


def seen(settings: MetricsSettings) -> dict[str, Any] | None:
    """What /healthz answers where [metrics] says; None where nobody does."""
    if not settings.port:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 - asked, not bound
    try:
        answer = httpx.get(f"http://{host}:{settings.port}/healthz", timeout=PATIENCE_WITH_ALL, trust_env=False).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    return answer if isinstance(answer, dict) and "alive" in answer else None
