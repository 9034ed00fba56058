"""promocast as its operator runs it: real processes, a real queue, real files; and the demo's world around them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx

from promocast.cli.supervisor import PROCESSES
from promocast.demo.world import World, free_port
from promocast.ledger import Ledger
from promocast.loading import load

T = TypeVar("T")


def eventually(what: str, look: Callable[[], T | None], seconds: float = 60) -> T:
    """The first answer of `look` that is not None or False; looks often, and says what it waited for."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for: {what}")
        threading.Event().wait(0.05)
    return found


class Installation:
    """A folder with a configuration, and `promocast up` in it. `start` and `stop` as often as wanted."""

    def __init__(self, config: Path, environment: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.environment = {**os.environ, **(environment or {})}
        self.settings = load(config, {**self.environment})
        self.url = f"http://127.0.0.1:{self.settings.api.port}"
        self.log = config.parent / "up.log"
        self.process: subprocess.Popen[str] | None = None
        self.keys: list[str] = []

    def start(self) -> None:
        """Returns when `up` has printed its address."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "promocast", "--config", str(self.config), "up"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if self.url not in line:
            self.stop()
            raise AssertionError(f"up said {line!r}; {self.log.read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> float:
        """End `up`; how many seconds it took."""
        assert self.process is not None
        assert self.process.stdout is not None
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=20)
        self.process.stdout.close()
        self.process = None
        return time.monotonic() - started

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Another promocast command on the same configuration. What it logs is kept with the logs."""
        command = [sys.executable, "-m", "promocast", "--config", str(self.config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False, timeout=110)
        with self.log.with_name("commands.log").open("a") as log:
            log.write(done.stderr)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def client(self, scopes: str = "admin") -> httpx.Client:
        key = json.loads(self.run("keys", "create", "--scopes", scopes, "--json").stdout)["key"]
        self.keys.append(key)
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False)

    @contextmanager
    def beside(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """One more process of ours next to those of `up`, as ("worker", "deliver"); ended at the end."""
        command = [sys.executable, "-m", "promocast", "--config", str(self.config), *words]
        with self.log.with_name(f"{'-'.join(words)}.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, env=self.environment)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(15)

    def pids(self) -> dict[tuple[str, ...], int | None]:
        """{the words of each process of `up`: its id}"""
        return {tuple(words): self.pid_of(*words) for words in PROCESSES.values()}

    def pid_of(self, *words: str) -> int | None:
        """The process of `up` that does what `words` say."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            expected = (*words, "--supervised")
            if str(self.config) in command and expected == tuple(
                command[command.index(str(self.config)) + 1 :][: len(expected)]
            ):
                return int(entry.name)
        return None

    def queue_pid(self) -> int | None:
        """The embedded queue's process."""
        config = str(self.settings.data_dir / "queue" / "valkey.conf")
        for entry in Path("/proc").iterdir():
            try:
                # A server rewrites its command line to what it listens on; its folder stays.
                if entry.name.isdigit() and (entry / "cwd").readlink() == Path(config).parent:
                    return int(entry.name)
            except OSError:
                continue
        return None

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        ledger = Ledger(self.settings.ledger_url)
        try:
            yield ledger
        finally:
            ledger.close()


@contextmanager
def world() -> Iterator[World]:
    """The demo's world on an event loop of its own. Nobody looks at the popups."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = World()
    try:
        asyncio.run_coroutine_threadsafe(made.__aenter__(), loop).result(30)
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(made.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def installed(
    made: World,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    campaigns: Sequence[Path] = (),
    *,
    public: bool = False,
) -> Iterator[Installation]:
    """promocast, up, configured for that world, with campaigns beside the demo's, and if `public` with an address for
    what comes back; stopped at the end."""
    port = free_port()
    config = made.write_config(folder, port)
    for campaign in campaigns:
        shutil.copy(campaign, config.parent / "campaigns")
    address = {"PROMOCAST_API__PUBLIC_URL": f"http://127.0.0.1:{port}"} if public else {}
    installation = Installation(config, {**address, **(environment or {})})
    installation.start()
    try:
        yield installation
    finally:
        if installation.process is not None:
            installation.stop()
