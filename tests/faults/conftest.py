"""Faults on real processes. `make faults` runs them small, with short leases; `make soak` at full size.

FAULT_ROUNDS says how many rounds of kills, FAULT_STOPS how many stops; FAULT_FULL=1 makes every other test as large as
its fault is described in docs/faults.md. FAULT_SEED makes a run repeatable as far as processes allow.

Whatever a test does, all that its processes have logged is searched at the end for what was used: secrets, codes,
players and their addresses.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from promocast.demo.world import World
from tests.conftest import fresh_database
from tests.e2e import harness
from tests.e2e.harness import Installation
from tests.faults import logs

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "3"))
STOPS = int(os.environ.get("FAULT_STOPS", "4"))
FULL = os.environ.get("FAULT_FULL", "") == "1"
SEED = int(os.environ.get("FAULT_SEED", str(time.time_ns() % 1_000_000)))

# Where a fault has nothing to do with the ledger's kind, both take part at full size only.
LEDGERS = ["sqlite", "postgresql"] if FULL else ["sqlite"]

CAMPAIGNS = sorted((Path(__file__).parent / "campaigns").glob("*.toml"))

# A lease is as long as the slowest send may take, so what a crash leaves unknown is looked at again soon.
SHORT_LEASES = {
    "PROMOCAST_CHANNELS__POPUP__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__EMAIL__CONNECT_TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__EMAIL__TIMEOUT": "1s",
    "PROMOCAST_CHANNELS__EMAIL__FINAL_DOT_TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__EMAIL__UNKNOWN_AFTER": "3s",
    "PROMOCAST_CHANNELS__PUSH__FCM__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__PUSH__WEBPUSH__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__TELEGRAM__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__TELEGRAM__UNKNOWN_AFTER": "3s",
    "PROMOCAST_CHANNELS__SMS__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__SMS__UNKNOWN_AFTER": "3s",
    "PROMOCAST_CHANNELS__CALL__TIMEOUT": "2s",
    "PROMOCAST_LOG__LEVEL": "info",
}

# For faults after which no lease has to end: a loaded machine that takes its time is then no fault of its own.
PATIENT = {name: "20s" for name in SHORT_LEASES if name.endswith("TIMEOUT")}


def full(size: int, small: int) -> int:
    """`size` where everything is to have its full size, else `small`."""
    return size if FULL else small


@pytest.fixture
def chance() -> random.Random:
    print(f"\nFAULT_SEED={SEED}")
    return random.Random(SEED)


@pytest.fixture
def world() -> Iterator[World]:
    with harness.world() as made:
        yield made


@contextmanager
def installed(
    made: World, folder: Path, ledger: str, request: pytest.FixtureRequest, **environment: str
) -> Iterator[Installation]:
    """promocast on a ledger of that kind, with short leases."""
    if ledger == "sqlite":
        with searched(made, folder, environment) as up:
            yield up
        return
    with fresh_database(request.getfixturevalue("postgres_url")) as url, searched(made, folder, environment, url) as up:
        yield up


@contextmanager
def searched(
    made: World, folder: Path, environment: dict[str, str], ledger_url: str = "", more_logs: Iterable[Path] = ()
) -> Iterator[Installation]:
    """promocast with short leases, on SQLite or on that PostgreSQL; stopped at the end, and its logs searched."""
    settings = SHORT_LEASES | environment
    if ledger_url:
        settings["PROMOCAST_LEDGER__URL"] = with_password(ledger_url)
    with harness.installed(made, folder, settings, CAMPAIGNS) as up:
        yield up
    logs.search(up, made, more_logs)


def with_password(url: str) -> str:
    """As an operator writes it. The server trusts us without, but what is given must not be logged."""
    url = url.replace("postgresql+psycopg://", "postgresql://")
    scheme, _, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return url if ":" in account else f"{scheme}://{account}:of-the-ledger-{SEED}{at}{place}"
