"""Logs as they are written, at the level at which everybody says the most."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any, Literal

import pytest

from promocast import observe
from promocast.settings import LogSettings
from tests.logs import as_they_were, leaks

# Here, and not where they are logged: a text that stands in the logging module's source is told.
CODE = "AB12CD34"
MAIL = "ann@example.com"
TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"

LIBRARIES = (
    "aiohttp", "aiosmtplib", "alembic", "asyncio", "dramatiq", "google", "httpcore", "httpx", "psycopg", "redis",
    "sqlalchemy", "telegram", "twilio", "uvicorn", "uvicorn.access", "uvicorn.error",
)  # fmt: skip


class Log:
    """What this process logs, from `configure` on."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._stream = io.StringIO()
        self._printed = ""

    def configure(self, style: Literal["json", "text"] = "json") -> None:
        """Everybody logs all they have to say, those as well whom `configure` holds to a level."""
        with redirect_stderr(self._stream):
            observe.configure(LogSettings(level="debug", format=style), "worker-all")
        for name in LIBRARIES:
            logging.getLogger(name).setLevel(logging.DEBUG)

    @property
    def text(self) -> str:
        """What was logged, and what anybody printed past the log."""
        self._printed += "".join(self._capsys.readouterr())
        return self._stream.getvalue() + self._printed

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def ours(self) -> list[dict[str, Any]]:
        """Without what libraries log."""
        return [line for line in self.lines if "logger" not in line]

    def holds_none_of(self, *secrets: str) -> None:
        """Nothing of the secrets is in the log, and something is."""
        assert self.text, "nothing was logged"
        assert leaks(self.text, secrets) == []


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Log]:
    with as_they_were():
        made = Log(capsys)
        made.configure()
        yield made
