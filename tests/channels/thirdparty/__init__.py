"""Servers that nobody here wrote, for what ours may have misunderstood in the same way as our adapters.

`make counterparts` brings them. Where one is missing its tests are skipped, which they say, and in CI they fail.

| channel | counterpart | what it can be made to do |
|---|---|---|
| email | Exim 4, from Debian's package, run out of a folder | the whole channel suite; its own limits; its bounces |
| popup, call | `standardwebhooks` for Node | verify what we sign, refuse what it does not believe |
| push.webpush | `web-push-testing` for Node | verify our VAPID token, decrypt, expire a subscription |
| telegram | `telegram-test-api` for Node | take sendMessage; it answers dates that no client can read |
| push.fcm, sms | none on PyPI, npm or Debian | |
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / ".venv" / "counterparts"


def missing(what: str) -> None:
    """Skips the test, aloud; in CI it fails."""
    said = f"{what} is missing: make counterparts"
    if os.environ.get("CI") == "true":
        pytest.fail(said)
    pytest.skip(said)
