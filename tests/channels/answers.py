"""The providers' answers as data: tests/answers/*.toml, from which tests and the documentation's tables are made."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from promocast.model import Deferred, Failed, Halted, Outcome, Rejected, Sent

FOLDER = Path(__file__).parents[1] / "answers"


def load(name: str) -> list[dict[str, Any]]:
    """The rows of one provider, in the file's order."""
    rows: list[dict[str, Any]] = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))["answer"]
    return rows


def word(outcome: Outcome) -> str:
    """An outcome as the rows spell it."""
    match outcome:
        case Sent():
            return "sent"
        case Deferred():
            return "deferred"
        case Failed(maybe_sent=maybe_sent):
            return "failed_maybe_sent" if maybe_sent else "failed"
        case Rejected(address_dead=address_dead):
            return "rejected_dead" if address_dead else "rejected"
        case Halted(gone=gone):
            return "disabled" if gone else "halted"
