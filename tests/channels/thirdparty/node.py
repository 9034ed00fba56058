"""Counterparts that run on Node, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from promocast.demo.world import free_port
from tests.channels.thirdparty import FOLDER, missing

MODULES = FOLDER / "node" / "node_modules"
SERVE = Path(__file__).parent / "node" / "serve.cjs"


@contextmanager
def serving(which: str, **environment: str) -> Iterator[str]:
    """Its URL, once it listens."""
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None or not MODULES.exists():
        missing("Node, or its packages for the tests,")
    assert node is not None
    port = free_port()
    process = subprocess.Popen(
        [node, str(SERVE), which, str(port)],
        env={**os.environ, "NODE_PATH": str(MODULES), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", f"{which} did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.communicate(timeout=10)
