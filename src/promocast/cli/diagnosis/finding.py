"""One thing that the doctor has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`error` keeps the setup from working or from being safe; `warning` is likely not meant, or may pass."""

    level: Literal["ok", "warning", "error"]
    what: str
    advice: str = ""
