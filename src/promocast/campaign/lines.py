"""On which line of a TOML file a key stands. tomllib tells no positions, and a fault without its line is half told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_BARE_OR_QUOTED = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED: Final = rf"{_BARE_OR_QUOTED}(?:\s*\.\s*{_BARE_OR_QUOTED})*"
_TABLE: Final = re.compile(rf"^\s*(\[\[?)\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(rf"^\s*({_DOTTED})\s*=\s*(.*)$")
_PART: Final = re.compile(_BARE_OR_QUOTED)
_LONG_STRINGS: Final = ('"""', "'''")

Path = tuple[str | int, ...]


def lines_of(source: str) -> dict[Path, int]:
    """The line (from 1) of every table and key of a valid TOML document, by its path; arrays of tables by index."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    closing = ""
    for number, line in enumerate(source.split("\n"), 1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if header := _TABLE.match(line):
            table = _resolve(_split(header[2]), counts, appended=header[1] == "[[")
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault(table + _split(key[1]), number)
            closing = _opens_long_string(key[2])
    return found


def line_for(path: Sequence[str | int], lines: dict[Path, int]) -> int | None:
    """The line of `path`, or of the nearest thing around it."""
    for length in range(len(path), 0, -1):
        if (number := lines.get(tuple(path[:length]))) is not None:
            return number
    return None


def _split(dotted: str) -> Path:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in _PART.findall(dotted))


def _resolve(parts: Path, counts: dict[Path, int], *, appended: bool) -> Path:
    """`parts` with the current index after each array of tables on the way; `[[x]]` opens a further element."""
    path: Path = ()
    for i, part in enumerate(parts):
        path = (*path, part)
        if appended and i == len(parts) - 1:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _opens_long_string(value: str) -> str:
    for quotes in _LONG_STRINGS:
        if value.startswith(quotes) and value.count(quotes) == 1:
            return quotes
    return ""
