"""Commands and documents agree: every command says what it does, every command line that is written down exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from promocast.cli.app import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
)

PROGRAM: Any = typer.main.get_command(app)


def commands(command: Any = PROGRAM, name: str = "promocast") -> list[tuple[str, Any]]:
    """[(name, command)] of the program, its groups and their commands."""
    below = getattr(command, "commands", {}).items()
    return [(name, command), *(found for word, inner in below for found in commands(inner, f"{name} {word}"))]


def command_lines(markdown: str) -> Iterator[str]:
    """What stands in code, in spans or blocks, and begins with `promocast` as a shell would have it."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", markdown, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE))
    for line in [*(line for block in blocks for line in block.replace("\\\n", " ").splitlines()), *spans]:
        for part in re.split(r"&&|;|\|\s", line):
            if found := re.match(r"\s*(?:\$ )?(?:\S*/)?(promocast(?: .*)?)$", part):
                yield found[1].rstrip()


def fault(line: str) -> str | None:
    """Why a command line cannot be run; None if it can."""
    command = PROGRAM
    words = shlex.split(line.replace("[", " ").replace("]", " ").replace("\\|", "|"), comments=True)[1:]
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            if word.partition("=")[0] not in options:
                return f"`{line}`: no option {word}"
            if command is PROGRAM and word == "--config":
                del words[:1]
        elif below := getattr(command, "commands", None):
            alternatives = word.split("|")
            if unknown := [name for name in alternatives if name not in below]:
                return f"`{line}`: no command {unknown[0]}"
            command = below[alternatives[0]]
    return None


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_a_command_says_in_a_sentence_what_it_does(name: str, command: Any) -> None:
    assert command.help, name
    assert command.help.rstrip().endswith("."), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_that_is_written_down_exists(document: Path) -> None:
    faults = [told for line in command_lines(document.read_text(encoding="utf-8")) if (told := fault(line))]

    assert faults == []


def test_a_command_line_that_does_not_exist_is_found_wherever_it_stands() -> None:
    markdown = """
Run `promocast keys make`, then `promocast status --json`. The `promocast` package is not a command line.

```sh
$ promocast --config my.toml issue welcome players.csv --url http://localhost | jq .accepted
.venv/bin/promocast codes export --loudly && promocast notify   # comments; are let be
```
"""

    found = [fault(line) for line in command_lines(markdown)]

    assert [told for told in found if told] == [
        "`promocast codes export --loudly`: no option --loudly",
        "`promocast notify   # comments`: no command notify",
        "`promocast keys make`: no command make",
    ]
    assert len(found) == 6
