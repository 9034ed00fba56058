"""promocast as its operator types it: a folder with a configuration, and commands that run in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from promocast import cli
from promocast.flows import issue, verify
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, codes, deposits, migrate, requests
from promocast.loading import load
from promocast.model import system_clock
from tests.logs import as_they_were

CAMPAIGN = """\
id = "welcome"

[label_tags.promo_code]
type = "random"
length = 8

[code]
label_tag = "promo_code"
valid_for = "7d"

[redemption]
min_deposit = { EUR = "20.00" }

[templates.popup]
title = "Hi {{ player.first_name }}"
body = "Your code: {{ label.promo_code }}"

[[journey]]
on = "code.issued"
send = ["popup"]
"""


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Installation:
    """A folder with a configuration of its own: no queue, and a ledger of this release. Called with arguments, it is
    the `promocast` program."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "config" / "promocast.toml"
        self.campaigns = folder / "config" / "campaigns"
        self.campaigns.mkdir(parents=True)
        self.configure()
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Done:
        """Run a command. An error that was not foreseen is raised: it would have been a traceback."""
        command = ["promocast", "--config", str(self.config), *map(str, arguments)]
        self._monkeypatch.setattr(sys, "argv", command)
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        return Done(int(ended.value.code or 0), out, Text.from_ansi(err).plain)

    def configure(self, more: str = "") -> None:
        """Write promocast.toml anew, with `more` at its end."""
        self.config.write_text(f'data_dir = "{self.data}"\n[metrics]\nport = 0\n{more}', encoding="utf-8")
        self.config.chmod(0o600)

    def write(self, name: str, *lines: str | dict[str, Any]) -> Path:
        """A file of these lines; a dict is written as JSON."""
        path = self.folder / name
        text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
        return path

    def write_campaign(self, source: str = CAMPAIGN, name: str = "welcome.toml") -> Path:
        path = self.campaigns / name
        path.write_text(source, encoding="utf-8")
        return path

    def issue(self, *player_ids: str) -> dict[str, str]:
        """Apply the campaign, and give each player a code of it; {player: code}."""
        self("campaign", "apply", self.write_campaign())
        recipients = [{"player_id": player_id} for player_id in player_ids]
        assert self("issue", "welcome", self.write("given.ndjson", *recipients)).status == 0
        self.work()
        with self.ledger() as ledger, ledger.read() as conn:
            return {code.player_id or "": code.code for code in codes.page(conn)}

    def work(self) -> None:
        """Issue and judge what is due, as the workers do once the sweeper has rung for it."""
        versions, terms = Versions(), load(self.config).verification
        with self.ledger() as ledger:
            with ledger.read() as conn:
                parts, unjudged = requests.due(conn, system_clock(), 1_000), deposits.due(conn, system_clock(), 1_000)
            for part_id in parts:
                issue.issue_part(
                    ledger, part_id, versions=versions, clock=system_clock, random=os.urandom, ring=_silence
                )
            verify.judge(ledger, unjudged, versions=versions, terms=terms, clock=system_clock, ring=_silence)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        opened = Ledger(load(self.config).ledger_url)
        try:
            yield opened
        finally:
            opened.close()


def _silence(_queue: str, _ids: object) -> None:
    return None


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Installation:
    """An installation of which there is only the configuration."""
    return Installation(tmp_path, monkeypatch, capsys)


@pytest.fixture
def promocast(bare: Installation) -> Installation:
    with bare.ledger() as ledger:
        migrate.upgrade(ledger, os.urandom, system_clock())
    return bare


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Commands set up logging for their process, which here goes on without them."""
    with as_they_were():
        yield
