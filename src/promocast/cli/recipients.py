"""Recipients from a file: NDJSON as contract section 1 writes them, or CSV. Read line by line, in constant memory."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from promocast.errors import InputError

COLUMNS: Final = ("player_id", "locale", "timezone", "popup", "email", "sms", "telegram", "fcm")
ATTRIBUTE: Final = "attributes."

# (line in the file, the recipient as JSON or what could not be parsed)
Line = tuple[int, Any]


def read(path: Path) -> Iterator[Line]:
    """
    Raises:
        InputError: the file cannot be opened, or its CSV header names an unknown column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                yield from _from_csv(csv.DictReader(file), path)
            else:
                for number, text in enumerate(file, 1):
                    if text.strip():
                        yield number, _parsed(text)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError("unreadable_file", f"{path} cannot be read: {exc}") from exc


def parts(lines: Iterator[Line], size: int) -> Iterator[list[Line]]:
    while part := list(islice(lines, size)):
        yield part


def fingerprint(path: Path, campaign: str) -> str:
    """A request id for this file and campaign: the same file again is the same request, and issues nothing twice.

    Raises:
        InputError: the file cannot be read.
    """
    digest = hashlib.sha256(campaign.encode() + b"\0")
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as exc:
        raise InputError("unreadable_file", f"{path} cannot be read: {exc}") from exc
    return f"file-{digest.hexdigest()[:24]}"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # no recipient; the job's reader says so, with its place


def _from_csv(reader: csv.DictReader[str], path: Path) -> Iterator[Line]:
    columns = reader.fieldnames or []
    unknown = [name for name in columns if name not in COLUMNS and not name.startswith(ATTRIBUTE)]
    if unknown or "player_id" not in columns:
        wrong = f"has unknown columns {', '.join(unknown)}" if unknown else "has no column player_id"
        known = f"{', '.join(COLUMNS)} and {ATTRIBUTE}<name>"
        raise InputError("unreadable_file", f"{path} {wrong}; known are {known}.")
    for row in reader:
        yield reader.line_num, _recipient({name: value for name, value in row.items() if value})


def _recipient(row: dict[str, Any]) -> dict[str, Any]:
    addresses: dict[str, Any] = {name: row[name] for name in ("popup", "email", "sms", "telegram") if name in row}
    if "fcm" in row:
        addresses["push"] = [{"kind": "fcm", "token": row["fcm"]}]
    recipient = {name: row[name] for name in ("player_id", "locale", "timezone") if name in row}
    attributes = {name.removeprefix(ATTRIBUTE): row[name] for name in row if name and name.startswith(ATTRIBUTE)}
    return recipient | {"addresses": addresses, "attributes": attributes}
