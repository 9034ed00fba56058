"""docs/answers.md is made from the tables in tests/answers. Make it anew: python -m tests.channels.test_docs"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.channels.answers import load

DOCUMENT = Path(__file__).parents[2] / "docs" / "answers.md"

TABLES = {
    "Popup and call (Standard Webhooks)": "signed_post",
    "Email (SMTP)": "smtp",
    "Push (Firebase Cloud Messaging)": "fcm",
    "Push (Web Push)": "webpush",
    "Telegram": "telegram",
    "SMS (Twilio)": "twilio",
    "SMS (Twilio), told later by a status callback": "twilio_callbacks",
}

HEAD = """# What the providers answer, and what it means

Made from `tests/answers/*.toml`, from which the channels' tests are made as well.

| outcome | means |
|---|---|
| sent | the provider took responsibility |
| deferred | not now; costs no attempt. Where all that we send is meant, the channel, endpoint or push service waits |
| failed | surely not taken; costs an attempt and is tried again |
| failed_maybe_sent | may or may not have been taken: unknown, and the channel's policy decides |
| rejected | final for this message; the address is fine |
| rejected_dead | final, and the address is suppressed |
| halted | our configuration is at fault: the circuit of the channel or endpoint opens, deliveries stay planned |
| disabled | the operator's system wants no more: nothing is tried until the operator says so, deliveries stay planned |
| delivered | it has arrived |
| again | the provider dropped it: sent again, as an attempt of its own |
| opted_out | final; the address is suppressed until its owner says otherwise, and the player's consent goes with it |
"""


def made() -> str:
    parts = [HEAD]
    for title, name in TABLES.items():
        parts.append(f"\n## {title}\n\n| answer | outcome | why |\n|---|---|---|\n")
        parts += [f"| {_answer(row)} | {_becomes(row)} | {_cell(row['source'])} |\n" for row in load(name)]
    return "".join(parts)


def _becomes(row: dict[str, Any]) -> str:
    return str(row.get("outcome") or row["says"])


def _answer(row: dict[str, Any]) -> str:
    if "phase" in row:
        return f"{row['phase']}: {_cell(row['reply'])}"
    if "says" in row:
        return f"`{_cell(row['body'])}`"
    said = [str(row["status"]), *(f"`{k}: {v}`" for k, v in row.get("headers", {}).items())]
    if row["body"]:
        said.append(f"`{_cell(row['body'])}`")
    return " ".join(said)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def test_the_documents_tables_are_those_of_the_tests() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == made(), "run: python -m tests.channels.test_docs"


if __name__ == "__main__":
    DOCUMENT.write_text(made(), encoding="utf-8")
