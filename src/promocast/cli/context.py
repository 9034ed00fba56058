"""What the commands share: settings, an open ledger, and how results are printed."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from promocast import observe
from promocast.bell import Bell
from promocast.broker import WaitingBroker
from promocast.errors import ConfigError
from promocast.flows import Ring
from promocast.ledger import Ledger, migrate
from promocast.loading import load
from promocast.model import system_clock
from promocast.observe import log
from promocast.runtime import Runtime
from promocast.settings import Settings
from promocast.valkey import queue_url

# Tables in a pipe are for programs and files: nothing is cut to a terminal's width.
PIPED_WIDTH: Final = 400

config_path: Path | None = None

# No markup: what is printed may hold brackets of its own, as [endpoints.crm] does.
out = Console(soft_wrap=True, highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def settings() -> Settings:
    return load(config_path)


@contextmanager
def open_ledger(of: Settings) -> Iterator[Ledger]:
    """The ledger of these settings, of this release.

    Raises:
        LedgerError: it is empty, or of another release.
    """
    observe.configure(of.log, "cli")
    ledger = Ledger(of.ledger_url, of.ledger.pool_size)
    try:
        migrate.check(ledger)
        yield ledger
    finally:
        ledger.close()


@contextmanager
def open_runtime(process: str) -> Iterator[Runtime]:
    """A runtime for a process that works: its ledger is of this release."""
    of = settings()
    observe.configure(of.log, process)
    runtime = Runtime(of)
    try:
        migrate.check(runtime.ledger)
        yield runtime
    finally:
        runtime.close()


def bell_or_silence(of: Settings) -> Ring:
    """The bell of these settings. Without a queue nothing rings, and the sweeper finds what is due by itself."""
    try:
        return Bell(WaitingBroker(queue_url(of))).ring
    except ConfigError:
        log.info("no_queue")
        return _silence


def _silence(_queue: str, _ids: Sequence[int | str]) -> None:
    return None


def who() -> str:
    """Whom to record as the author of what is done by hand."""
    return f"{getpass.getuser()} at the command line"


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None) + "\n")


clock = system_clock
random_bytes = os.urandom
