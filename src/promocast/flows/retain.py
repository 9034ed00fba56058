"""Retain: keep raw bodies and personal data for as long as is configured, and no longer."""

from __future__ import annotations

from promocast.ledger import Ledger, retention
from promocast.model import Instant
from promocast.settings import RetentionSettings


def bodies(ledger: Ledger, settings: RetentionSettings, now: Instant, limit: int) -> int:
    """Empty raw bodies that are too old; how many."""
    before = now - settings.bodies
    with ledger.read() as conn:
        if not retention.any_body(conn, before):
            return 0
    with ledger.begin() as conn:
        return retention.empty_bodies(conn, before, limit)


def personal(
    ledger: Ledger, settings: RetentionSettings, now: Instant, after: int, limit: int
) -> tuple[int, int | None]:
    """One step of a walk over the codes: strip those that have been over for long enough.

    How many, and where the walk goes on; None at its end. It goes by the primary key, for every code that is issued
    would pay for an index.
    """
    with ledger.read() as conn:
        ids, further = retention.over(conn, after, now - settings.personal, limit)
    if not ids:
        return 0, further
    with ledger.begin() as conn:
        return retention.strip(conn, ids), further
