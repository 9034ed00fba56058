"""Ledgers to measure on: SQLite in a temporary folder, and a private PostgreSQL where it is installed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from tests import postgres

from promocast.campaign.document import Campaign
from promocast.ledger import Ledger, campaigns, migrate
from promocast.model import system_clock

CAMPAIGN = Campaign.model_validate(
    {
        "id": "bench",
        "label_tags": {"promo_code": {"type": "random"}},
        "code": {"label_tag": "promo_code", "valid_for": "7d"},
        "templates": {"popup": {"title": "Hi {{ player.first_name }}", "body": "Your code: {{ label.promo_code }}"}},
        "journey": [{"on": "code.issued", "send": ["popup"], "when_shown": "CODE_IS_SHOWN"}],
    }
)


@contextmanager
def each() -> Iterator[list[Ledger]]:
    with tempfile.TemporaryDirectory() as folder:
        made = [_open(f"sqlite:///{Path(folder) / 'ledger.sqlite3'}")]
        try:
            with postgres.server() as server:
                made.append(_open(server.url.replace("postgresql://", "postgresql+psycopg://")))
                yield made
                made[-1].close()
        except LookupError as exc:
            print(f"PostgreSQL is left out: {exc}")
            yield made
        made[0].close()


def _open(url: str) -> Ledger:
    ledger = Ledger(url)
    migrate.upgrade(ledger, os.urandom, system_clock())
    apply(ledger, CAMPAIGN)
    return ledger


def apply(ledger: Ledger, campaign: Campaign) -> None:
    document = orjson.dumps(campaign.model_dump(mode="json")).decode()
    with ledger.begin() as conn:
        campaigns.apply(conn, campaign.id, document, "0", system_clock())
