"""A private PostgreSQL for the test run: a fresh cluster in a temporary folder, on a loopback port of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from promocast.demo.world import free_port

HOW_TO_INSTALL = (
    "install PostgreSQL (Debian: apt-get install postgresql), or set PROMOCAST_TEST_POSTGRES to a server's URL"
)


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, the newest version first; None where PostgreSQL is not installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if versions:
        return versions[0].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class Server:
    """A running cluster. `stop` and `start` are what an operator's restart is."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._programs = programs
        self._as = _unprivileged()
        if self._as:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        self._run(
            "initdb",
            "-D",
            str(folder / "data"),
            "-U",
            "promocast",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )

    @property
    def url(self) -> str:
        return f"postgresql://promocast@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200 "
            "-c fsync=off"  # its data need not outlive the machine
        )
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=self.folder
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr}")


@contextmanager
def server() -> Iterator[Server]:
    """
    Raises:
        LookupError: PostgreSQL is not installed; the message says what to do.
    """
    programs = binaries()
    if programs is None:
        raise LookupError(HOW_TO_INSTALL)
    folder = Path(tempfile.mkdtemp(prefix="promocast-postgres-"))
    try:
        running = Server(folder, programs)
        running.start()
        try:
            yield running
        finally:
            running.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
