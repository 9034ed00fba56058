"""A request of a million recipients: by the command line and by HTTP, in constant memory, killed and taken up again.

SCALE says how many recipients there are; `make soak` has a million on PostgreSQL and 200,000 on SQLite.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from promocast.demo.world import World
from promocast.ledger import Connection, requests
from promocast.ledger.schema import codes
from promocast.model import system_clock
from tests.e2e.harness import Installation, eventually
from tests.faults.conftest import full, installed

SIZES = {
    "sqlite": int(os.environ.get("SCALE", full(200_000, 6_000))),
    "postgresql": int(os.environ.get("SCALE", full(1_000_000, 6_000))),
}
MOST_MEMORY = 400  # MiB, of each process


class Peaks:
    """The most memory that each of our processes ever had, those that were killed included."""

    def __init__(self, up: Installation) -> None:
        self._up = up
        self._names: dict[int, str] = {}
        self.mib: dict[str, int] = {}

    def watch(self, name: str, pid: int) -> None:
        self._names[pid] = name

    def look(self) -> None:
        for words, pid in self._up.pids().items():
            if pid is not None:
                self._names[pid] = " ".join(words)
        for pid, name in self._names.items():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self.mib[name] = max(self.mib.get(name, 0), int(line.split()[1]) // 1024)

    @contextmanager
    def watching(self) -> Iterator[None]:
        over = threading.Event()

        def keep_looking() -> None:
            while not over.wait(0.3):
                self.look()

        thread = threading.Thread(target=keep_looking)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self.look()


def write(path: Path, count: int) -> Path:
    with path.open("w") as file:
        for n in range(count):
            recipient = {
                "player_id": f"player-{n}",
                "locale": "en",
                "addresses": {"email": f"player-{n}@example.com", "sms": f"+356 99{n:06d}"},
                "attributes": {"first_name": f"Name {n}", "vip_level": n % 7},
            }
            file.write(json.dumps(recipient) + "\n")
    return path


def counts(up: Installation, ref: str) -> tuple[int, int]:
    """(accepted, issued) of a request."""
    with up.ledger() as ledger, ledger.read() as conn:
        told = requests.summary(conn, ref, system_clock())
    return (0, 0) if told is None else (told["accepted"], told["issued"])


def reckoned(conn: Connection, count: int) -> None:
    """Every player has one code, and no code is two players'."""
    c = codes.c
    found = conn.execute(
        select(func.count(), func.count(func.distinct(c.player_id)), func.count(func.distinct(c.folded)))
    )
    assert found.one() == (count, count, count)


@contextmanager
def issuing(up: Installation, file: Path) -> Iterator[subprocess.Popen[str]]:
    """`promocast issue`, as an operator runs it."""
    command = [sys.executable, "-m", "promocast", "--config", str(up.config)]
    command += ["issue", "codes", str(file), "--request-id", "large", "--wait", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=up.environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.timeout(3_600)
def test_a_large_request_is_taken_up_where_it_was_killed(
    kind: str, world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = SIZES[kind]
    file = write(tmp_path / "recipients.ndjson", count)
    with installed(world, tmp_path, kind, request) as up:
        peaks = Peaks(up)
        started = time.monotonic()
        with peaks.watching():
            with issuing(up, file) as first:
                peaks.watch("promocast issue", first.pid)
                eventually("a third of it accepted", lambda: counts(up, "large")[0] > count // 3, 1_800)
                first.kill()
                worker = up.pid_of("worker", "issue")
                assert worker is not None
                os.kill(worker, signal.SIGKILL)
            at_the_kill = counts(up, "large")
            with issuing(up, file) as second:
                peaks.watch("promocast issue", second.pid)
                told = json.loads(second.communicate(timeout=1_800)[0])
        seconds = time.monotonic() - started
        assert (told["accepted"], told["rejected"], told["issued"], told["refused"]) == (count, 0, count, 0)
        with up.ledger() as ledger, ledger.read() as conn:
            reckoned(conn, count)
        print(
            f"\n{kind}: {count} recipients accepted and issued in {seconds:.0f} s, {count / seconds:.0f} a second; "
            f"killed at {at_the_kill[0]} accepted and {at_the_kill[1]} issued; one code each; "
            f"peak memory in MiB: {dict(sorted(peaks.mib.items()))}"
        )
        assert max(peaks.mib.values()) < MOST_MEMORY


@pytest.mark.timeout(3_600)
def test_a_large_request_is_streamed_over_http(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    count = SIZES["sqlite"]
    file = write(tmp_path / "recipients.ndjson", count)
    with installed(world, tmp_path, "sqlite", request) as up, up.client("issue") as client:
        peaks = Peaks(up)
        started = time.monotonic()

        def broken() -> Iterator[bytes]:
            """The first half, and the client is gone."""
            with file.open("rb") as lines:
                for n, line in enumerate(lines):
                    if n > count // 2:
                        raise ConnectionAbortedError
                    yield line

        with peaks.watching():
            with pytest.raises(ConnectionAbortedError):
                client.post("/v1/requests/large/recipients", params={"campaign": "codes"}, content=broken())
            with file.open("rb") as whole:
                answer = client.post(
                    "/v1/requests/large/recipients", params={"campaign": "codes"}, content=whole, timeout=1_800
                )
            assert (answer.status_code, answer.json()["accepted"]) == (202, count), answer.text
            eventually("all of it issued", lambda: counts(up, "large")[1] == count, 1_800)
        seconds = time.monotonic() - started
        with up.ledger() as ledger, ledger.read() as conn:
            reckoned(conn, count)
        print(
            f"\n{count} recipients streamed, broken off at half and sent again, in {seconds:.0f} s; "
            f"peak memory in MiB: {dict(sorted(peaks.mib.items()))}"
        )
        assert max(peaks.mib.values()) < MOST_MEMORY
