"""Logs under test: what they must not hold, and how they are left as they were."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog


def leaks(log: str, secrets: Iterable[str]) -> list[tuple[int, str]]:
    """[(line number, its first word)] of the lines in which one of `secrets` stands; without the secret, which a
    failing test would print."""
    wanted = [secret for secret in secrets if secret]
    return [
        (number, line.split(maxsplit=1)[0][:40])
        for number, line in enumerate(log.splitlines(), 1)
        if any(secret in line for secret in wanted)
    ]


@contextmanager
def as_they_were() -> Iterator[None]:
    """Whatever `observe.configure` sets for a process is undone: a test goes on without it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in root.manager.loggerDict}
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
