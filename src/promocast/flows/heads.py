"""Heads: what is written elsewhere of each seal, so that not even whoever owns the ledger can seal anew unseen.

A file of lines, one JSON object a seal: {ledger, seal, head, sealed_at}. Any line that is kept proves all that was
sealed up to it.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any, Final

from promocast.errors import ConfigError, InputError
from promocast.ledger import Ledger, chain, migrate, seals
from promocast.model import rfc3339

_PAGE: Final = 1_000
# A line is shorter than this.
_TAIL: Final = 4_096


def write(ledger: Ledger, path: Path) -> int:
    """Add the heads that the file does not have yet; their number. Who was kept from it before is made up for.

    Raises:
        ConfigError: the file cannot be written, or is another ledger's.
    """
    own = migrate.identity(ledger).ledger_id
    written = 0
    try:
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number = _last(file.fileno(), path, own)
            while True:
                with ledger.read() as conn:
                    page = seals.after(conn, number, _PAGE)
                if not page:
                    break
                for seal in page:
                    line = {"ledger": own, "seal": seal.number, "head": seal.head, "sealed_at": rfc3339(seal.sealed_at)}
                    file.write(json.dumps(line).encode() + b"\n")
                number, written = page[-1].number, written + len(page)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        raise ConfigError(f"The heads of the seals cannot be written to {path}: {exc.strerror}.") from exc
    return written


def _last(descriptor: int, path: Path, own: str) -> int:
    """The last seal in the file; a line that a crash has cut is ended and written again."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, _TAIL, max(0, size - _TAIL))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(descriptor, size - len(tail) + tail.rfind(b"\n") + 1)
        tail = tail[: tail.rfind(b"\n") + 1]
    lines = tail.splitlines()
    if not lines:
        return 0
    told = _read(lines[-1].decode(errors="replace"), path, "last line")
    if told["ledger"] != own:
        raise ConfigError(
            f"{path} holds the heads of another ledger ({told['ledger']}); give each ledger its own file."
        )
    return int(told["seal"])


def differences(ledger: Ledger, path: Path) -> list[str]:
    """One sentence for each line of the file that is not in the ledger's chain.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    own = migrate.identity(ledger).ledger_id
    found = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError("unreadable_file", f"{path} cannot be read as heads of seals.") from exc
    with ledger.read() as conn:
        for place, line in enumerate(lines, 1):
            told = _read(line, path, f"line {place}")
            if told["ledger"] != own:
                found.append(f"line {place}: of ledger {told['ledger']}, and this one is {own}")
            elif (head := chain.head_at(conn, told["seal"])) != told["head"]:
                found.append(
                    f"seal {told['seal']}: {'is missing' if head is None else 'is not the one'} of line {place}"
                )
    return found


def _read(line: str, path: Path, where: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
        return {"ledger": str(told["ledger"]), "seal": int(told["seal"]), "head": str(told["head"])}
    except (ValueError, KeyError, TypeError):
        raise InputError("unreadable_file", f"{path}, {where}: no head of a seal.") from None
