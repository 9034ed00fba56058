"""The layers hold, and the machine that checks them sees when they do not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product, with the link to workers/ as it is."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "src" / "promocast", copy / "src" / "promocast", symlinks=True, ignore=_caches)
    shutil.copytree(ROOT / "workers", copy / "workers", ignore=_caches)
    shutil.copy(ROOT / ".importlinter", copy)
    return copy


def _caches(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "NO_COLOR": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def test_the_layers_hold(tree: Path) -> None:
    done = lint(tree)

    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("src/promocast/channels/sms.py", "from promocast.ledger import codes", "Imports point downward"),
        ("src/promocast/flows/issue.py", "from promocast.workers import issue", "Imports point downward"),
        ("src/promocast/flows/show.py", "from promocast.channels import http", "Flows see the Channel protocol"),
        ("src/promocast/channels/email.py", "from promocast.channels import sms", "Adapters do not know each other"),
        ("src/promocast/api/codes.py", "import sqlalchemy", "SQL only in the ledger"),
        ("src/promocast/flows/sweep.py", "import dramatiq", "Dramatiq only at the queue's edge"),
        ("src/promocast/campaign/journey.py", "import httpx", "What a campaign means is pure"),
        ("workers/sweep.py", "from promocast import cli", "Imports point downward"),
    ],
)
def test_a_planted_violation_is_caught(tree: Path, file: str, line: str, broken: str) -> None:
    path = tree / file
    original = path.read_text(encoding="utf-8")
    path.write_text(f"{original}\n{line}\n", encoding="utf-8")

    done = lint(tree)
    path.write_text(original, encoding="utf-8")

    assert done.returncode != 0
    assert any(broken in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout
