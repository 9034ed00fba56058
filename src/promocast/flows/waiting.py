"""Deposits and client actions that wait for the code that they quote, and how they and the code find each other.

Who records a code looks for who waits after its commit; who leaves something waiting looks for its code after its own.
Whichever commits second sees the other, so nothing waits in vain, and neither has to lock the other out.
"""

from __future__ import annotations

from collections.abc import Sequence

from promocast import jobs
from promocast.flows import Ring
from promocast.ledger import Ledger, codes, deposits, early
from promocast.model import Instant


def wake_for(ledger: Ledger, recorded: Sequence[str], now: Instant, ring: Ring) -> None:
    """Codes were recorded and committed: deposits that wait for them are judged again, and client actions that came too
    early are due for the sweeper."""
    with ledger.read() as conn:
        told, done = deposits.anyone_waits(conn, recorded), early.any_for(conn, recorded)
    if not told and not done:
        return
    with ledger.begin() as conn:
        woken = deposits.wake(conn, recorded, now) if told else []
        if done:
            early.wake(conn, recorded, now)
    if woken:
        ring(jobs.VERIFY, woken)


def look_for(ledger: Ledger, quoted: Sequence[str], now: Instant, ring: Ring) -> None:
    """Something was left waiting and committed: its codes may have been recorded meanwhile."""
    if not quoted:
        return
    with ledger.read() as conn:
        recorded = sorted(codes.by_folded(conn, quoted))
    if recorded:
        wake_for(ledger, recorded, now, ring)
