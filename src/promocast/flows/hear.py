"""Hear: what another system posted to its hook. What can be read is recorded, the rest is kept with its bytes."""

from __future__ import annotations

from typing import Final

from promocast import jobs
from promocast.errors import Conflict
from promocast.flows import Ring, show, tell
from promocast.flows.versions import Versions
from promocast.hooks import Heard
from promocast.ledger import Ledger, inbox
from promocast.ledger.inbox import Entry
from promocast.model import Instant

UNREADABLE: Final = "unreadable_hook"


def hear(
    ledger: Ledger, source: str, body: bytes, heard: Heard, now: Instant, *, versions: Versions, ring: Ring, grace: int
) -> None:
    """Record what a body says, and keep the body where any of it could not be read.

    It is kept last: if the ledger goes away before, the sender is told so and repeats the whole, which adds nothing to
    what was recorded.
    """
    record(ledger, heard, now, versions=versions, ring=ring, grace=grace)
    if heard.faults:
        detail = f"{source}: {heard.what_was_wrong}"
        with ledger.begin() as conn:
            inbox.put(conn, "hook", UNREADABLE, detail, body, now, heard.player_id)


def record(ledger: Ledger, heard: Heard, now: Instant, *, versions: Versions, ring: Ring, grace: int) -> None:
    """Record what could be read; once, however often it is told. `grace` is for actions that come before their code."""
    for start in range(0, len(heard.deposits), jobs.MOST_DEPOSITS_PER_JOB):
        told = heard.deposits[start : start + jobs.MOST_DEPOSITS_PER_JOB]
        if changed := tell.record(ledger, told, now):
            ring(jobs.VERIFY, changed)
    for action in heard.actions:
        try:
            show.client_action(ledger, action, now, versions=versions, ring=ring, grace=grace)
        except Conflict:
            continue  # another player's code: that is recorded, and repeating it would change nothing


def source_of(entry: Entry) -> str:
    """The source of a kept body."""
    return entry.detail.partition(":")[0]
