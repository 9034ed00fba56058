"""Faults on real processes. `make faults` runs them, with short leases; `make soak` runs the rounds for long.

PROMOCAST_ROUNDS says how many rounds, PROMOCAST_SEED makes a run repeatable as far as processes allow.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from promocast.demo.world import World
from tests.conftest import fresh_database
from tests.e2e import harness
from tests.e2e.harness import Installation

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "3"))
SEED = int(os.environ.get("FAULT_SEED", str(time.time_ns() % 1_000_000)))

# A lease is as long as the slowest send may take, so what a crash leaves unknown is looked at again soon.
SHORT_LEASES = {
    "PROMOCAST_CHANNELS__POPUP__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__EMAIL__CONNECT_TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__EMAIL__TIMEOUT": "1s",
    "PROMOCAST_CHANNELS__EMAIL__FINAL_DOT_TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__PUSH__FCM__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__PUSH__WEBPUSH__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__TELEGRAM__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__TELEGRAM__UNKNOWN_AFTER": "3s",
    "PROMOCAST_CHANNELS__SMS__TIMEOUT": "2s",
    "PROMOCAST_CHANNELS__SMS__UNKNOWN_AFTER": "3s",
    "PROMOCAST_CHANNELS__CALL__TIMEOUT": "2s",
    "PROMOCAST_LOG__LEVEL": "info",
}


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
        with harness.installed(made, folder, SHORT_LEASES | environment) as up:
            yield up
        return
    with fresh_database(request.getfixturevalue("postgres_url")) as url:
        ledger_url = url.replace("postgresql+psycopg://", "postgresql://")
        with harness.installed(made, folder, {"PROMOCAST_LEDGER__URL": ledger_url} | SHORT_LEASES | environment) as up:
            yield up
