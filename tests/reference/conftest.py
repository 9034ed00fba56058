"""Ledgers for many short stories, and how many of them are told.

`MODEL_EXAMPLES=5000` tells that many, other ones each time; pytest's `--hypothesis-seed=N` repeats a run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import delete

from promocast.ledger import Ledger, schema

EXAMPLES = os.environ.get("MODEL_EXAMPLES")
_MEMORY = Path("/dev/shm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Many examples on a busy machine take longer than one test may."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(0 if EXAMPLES else 600))


def profile(usual: int, share: float = 1.0) -> settings:
    """`usual` examples, the same in every run; or `share` of the number that is asked for, drawn anew."""
    return settings(
        max_examples=max(1, int(int(EXAMPLES) * share)) if EXAMPLES else usual,
        derandomize=EXAMPLES is None,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(scope="module")
def sqlite_ledger(_migrated_sqlite: Path) -> Iterator[Ledger]:
    """One file for all stories, in memory where there is such a folder: nobody asks it to outlive a power cut."""
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        made = Ledger(f"sqlite:///{shutil.copyfile(_migrated_sqlite, Path(folder) / 'ledger.sqlite3')}")
        yield made
        made.close()


@pytest.fixture(scope="module")
def postgres_ledger(_migrated_postgres: str) -> Iterator[Ledger]:
    made = Ledger(_migrated_postgres)
    yield made
    made.close()


def emptied(ledger: Ledger) -> Ledger:
    """The ledger without rows."""
    with ledger.begin() as conn:
        for table in reversed(schema.metadata.sorted_tables):
            if table is not schema.ledger:
                conn.execute(delete(table))
    return ledger
