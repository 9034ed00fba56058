"""Exports as files: CSV whose cells no spreadsheet runs, or NDJSON; whole or not at all, and for their owner only."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TextIO

import typer

from promocast.errors import InputError
from promocast.model import Instant, parse_rfc3339

Format = Annotated[Literal["csv", "ndjson"], typer.Option("--format", help="How to write the rows.")]
Output = Annotated[
    Path | None, typer.Option("--output", help="Write to this file, for its owner only; else to standard output.")
]

# Columns of our own numbers. Whatever else begins like a formula is made inert, numbers of others included.
NUMBERS: Final = frozenset({"amount", "redemptions", "reward_amount", "reward_count"})
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")

# OWASP, CSV injection: what a spreadsheet takes for the beginning of a formula, full-width and small forms included;
# and not at the beginning of a cell alone, for one that reads the file with another separator, or passes over quotes,
# begins a cell where we do not.
_BEGINS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
_UNSEEN: Final = "\\s\u00ad\u200b-\u200f\u2060\ufeff"
_FORMULA: Final = re.compile(f"""(^|[;,|\\t\\r\\n"'])(?=[{_UNSEEN}]*[{_BEGINS}])|^(?=[\\t\\r\\n])""")


def inert(cell: str) -> str:
    """`cell` with an apostrophe wherever a spreadsheet would begin to read a formula."""
    return cell if cell.isalnum() else _FORMULA.sub(r"\1'", cell)


def moment(text: str) -> Instant:
    """An instant of the command line: RFC 3339, or a date, which means its beginning in UTC."""
    try:
        return parse_rfc3339(text if "T" in text.upper() else f"{text}T00:00:00Z")
    except ValueError:
        message = f"{text!r} is neither a date nor an RFC 3339 time; write 2026-11-24 or 2026-11-24T10:00:00Z"
        raise typer.BadParameter(message) from None


def export(rows: Iterable[dict[str, Any]], columns: Sequence[str], form: str, output: Path | None) -> int:
    """Write the rows as they come; how many.

    Raises:
        InputError: the file cannot be written.
    """
    with _destination(output) as out:
        return _write_csv(rows, columns, out) if form == "csv" else _write_ndjson(rows, out)


def _write_csv(rows: Iterable[dict[str, Any]], columns: Sequence[str], out: TextIO) -> int:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([_cell(name, row[name]) for name in columns])
        count += 1
    return count


def _write_ndjson(rows: Iterable[dict[str, Any]], out: TextIO) -> int:
    count = 0
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
        count += 1
    return count


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):  # a reward
        value = f"{value['amount']} {value['currency']}" if "amount" in value else f"{value['count']} free spins"
    text = str(value)
    return text if name in NUMBERS and _NUMBER.fullmatch(text) else inert(text)


@contextmanager
def _destination(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that has its name only once it is whole."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        target = output.resolve()
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            # A pipe or a device is written to; to put a file in its place would take it away.
            with target.open("w", encoding="utf-8", newline="") as out:
                yield out
            return
        with _replaced(target) as out:
            yield out
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise InputError("unwritable_file", f"{output} cannot be written: {exc.strerror or exc}") from exc


@contextmanager
def _replaced(target: Path) -> Iterator[TextIO]:
    # mkstemp makes files of mode 0600; beside the target, for a rename does not leave its file system.
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
