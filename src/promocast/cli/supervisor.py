"""The supervisor of `up`: starts the processes in their order, restarts what dies, and stops all of it in time."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import httpx

from promocast import valkey
from promocast.cli import campaign_files
from promocast.cli.watching import Household
from promocast.errors import PromocastError
from promocast.ledger import Ledger, migrate
from promocast.model import system_clock
from promocast.monitor import Persistent, Views, listen
from promocast.observe import log
from promocast.settings import Settings

STOP_SECONDS: Final = 9.5
READY_SECONDS: Final = 30
LONGEST_PAUSE: Final = 30.0
# A process that lived this long died of something new: its pauses start over.
STEADY_SECONDS: Final = 60
# How often the processes are asked whether they come round, and how often in a row one may fail to say so.
ASK_EVERY: Final = 10.0
MOST_SILENCES: Final = 6

PROCESSES: Final = {
    "api": ["api"],
    "worker-issue": ["worker", "issue"],
    "worker-deliver": ["worker", "deliver"],
    "worker-verify": ["worker", "verify"],
    "sweeper": ["sweeper"],
}


@dataclass(slots=True)
class _Child:
    name: str
    command: list[str]
    listener: socket.socket | None = (
        None  # where it serves its metrics and health; ours, so that it outlives the process
    )
    silences: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    pause: float = 0.5
    restart_at: float = field(default=0)


class Supervisor:
    """`start`, then `watch` until `stopping` is set."""

    def __init__(self, settings: Settings, config: Path | None) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self._config = config
        self._queue: _Child | None = None
        self._children: list[_Child] = []
        self._environment = dict(os.environ)
        self._lock: IO[str] | None = None
        self._monitor: Persistent | None = None

    @property
    def api_url(self) -> str:
        return f"http://{self.settings.api.host}:{self.settings.api.port}"

    @property
    def pids(self) -> dict[str, int]:
        """{process: its id}, the queue's included."""
        everyone = [*self._children, *([self._queue] if self._queue else [])]
        return {child.name: child.process.pid for child in everyone if child.process is not None}

    def start(self) -> None:
        """Queue, ledger, campaigns, then the processes; returns when the API is ready.

        Raises:
            PromocastError: something did not start; all of it is stopped again.
        """
        try:
            self._own_data_folder()
            if not self.settings.queue.url.get_secret_value():
                valkey.end_orphan(self.settings)
                self._queue = _Child("queue", valkey.prepare(self.settings, os.urandom))
                self._launch(self._queue)
            self._prepare_ledger()
            base = [sys.executable, "-m", "promocast", *(["--config", str(self._config)] if self._config else [])]
            self._children = [_child(name, [*base, *words, "--supervised"]) for name, words in PROCESSES.items()]
            self._household = Household(
                {child.name: child.listener.getsockname()[1] for child in self._children if child.listener}
            )
            for child in self._children:
                self._launch(child)
            self._wait_until_ready()
            views = Views(self._household.metrics, self._household.health)
            self._monitor = Persistent(self.settings.metrics.host, self.settings.metrics.port, views)
        except BaseException:
            self.stop()
            raise

    def watch(self) -> int:
        """Restart what dies, with growing pauses, and end what hangs, until told to stop; the exit status."""
        threading.Thread(target=self._keep_asking, name="liveness", daemon=True).start()
        while not self.stopping.wait(0.1):
            for child in [*([self._queue] if self._queue else []), *self._children]:
                self._tend(child)
        self.stop()
        return 0

    def _keep_asking(self) -> None:
        while not self.stopping.wait(ASK_EVERY):
            self.end_stuck(self._household.health()["processes"])

    def end_stuck(self, health: Mapping[str, Any]) -> None:
        """Kill those that have said for too long that they hang, or have said nothing: `watch` starts them again."""
        for child in self._children:
            child.silences = 0 if health[child.name]["alive"] else child.silences + 1
            if child.silences >= MOST_SILENCES and child.process is not None:
                log.error("process_stuck", name=child.name, stuck=sorted(health[child.name]["stuck"]))
                child.process.kill()
                child.silences = 0

    def stop(self) -> None:
        """Processes first, the queue last, so that what they give back has somewhere to go."""
        self.stopping.set()
        if self._monitor is not None:
            self._monitor.close()
        deadline = time.monotonic() + STOP_SECONDS
        self._end(self._children, deadline)
        self._end([self._queue] if self._queue else [], deadline)
        if self._lock is not None:
            self._lock.close()

    def _own_data_folder(self) -> None:
        """One supervisor to a data folder: two would fight for its queue and its port."""
        self.settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (self.settings.data_dir / "up.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise PromocastError(f"promocast is already up with the data folder {self.settings.data_dir}.") from None

    def _prepare_ledger(self) -> None:
        ledger = Ledger(self.settings.ledger_url)
        try:
            migrate.upgrade(ledger, os.urandom, system_clock())
            for line in campaign_files.apply_new(ledger, self.settings, system_clock(), by="the first start"):
                log.info("campaign_applied", campaign=line)
        finally:
            ledger.close()

    def _launch(self, child: _Child) -> None:
        is_queue = child is self._queue
        listener = child.listener and child.listener.fileno()
        child.process = subprocess.Popen(  # noqa: S603 - our own program, or the server of the embedded queue
            [*child.command, *(["--monitor", str(listener)] if listener else [])],
            pass_fds=[listener] if listener else [],
            stdin=subprocess.DEVNULL if is_queue else subprocess.PIPE,
            stdout=subprocess.DEVNULL if is_queue else None,
            env=self._environment,
            # A terminal's Ctrl-C is ours to pass on: the queue must outlive those who use it.
            start_new_session=True,
        )
        child.started = time.monotonic()
        if is_queue:
            valkey.wait_until_ready(self.settings, child.process)

    def _tend(self, child: _Child) -> None:
        now = time.monotonic()
        if child.process is not None and child.process.poll() is None:
            return
        if child.process is not None:
            if now - child.started > STEADY_SECONDS:
                child.pause = 0.5
            log.error("process_died", name=child.name, status=child.process.returncode, restart_in=child.pause)
            _close_input(child)
            child.process = None
            child.restart_at = now + child.pause
            child.pause = min(child.pause * 2, LONGEST_PAUSE)
        if now >= child.restart_at:
            try:
                self._launch(child)
            except PromocastError as exc:
                log.error("process_did_not_start", name=child.name, error=exc)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and not self.stopping.is_set():
            for child in self._children:
                if child.process is not None and child.process.poll() is not None:
                    raise PromocastError(f"{child.name} ended with status {child.process.returncode} while starting.")
            try:
                if httpx.get(f"{self.api_url}/readyz", timeout=1, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            self.stopping.wait(0.05)
        if not self.stopping.is_set():
            raise PromocastError(f"The API was not ready at {self.api_url} within {READY_SECONDS} s.")

    def _end(self, children: list[_Child], deadline: float) -> None:
        alive = [child for child in children if child.process is not None]
        for child in alive:
            assert child.process is not None  # noqa: S101
            child.process.terminate()
        for child in alive:
            assert child.process is not None  # noqa: S101
            try:
                child.process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("process_killed", name=child.name)
                child.process.kill()
                child.process.wait()
            _close_input(child)


def _child(name: str, command: list[str]) -> _Child:
    return _Child(name, command, listen("127.0.0.1", 0))


def _close_input(child: _Child) -> None:
    if child.process is not None and child.process.stdin is not None:
        child.process.stdin.close()
