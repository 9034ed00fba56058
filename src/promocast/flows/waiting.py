"""Deposits that wait for the code that they quote, and how they and the code find each other.

Who records a code looks for deposits after its commit; who leaves a deposit waiting looks for its code after its own.
Whichever commits second sees the other, so none of them waits in vain, and neither has to lock the other out.
"""

from __future__ import annotations

from collections.abc import Sequence

from promocast import jobs
from promocast.flows import Ring
from promocast.ledger import Ledger, codes, deposits
from promocast.model import Instant


def wake_for(ledger: Ledger, recorded: Sequence[str], now: Instant, ring: Ring) -> None:
    """Codes were recorded and committed: have the deposits judged again that wait for them."""
    with ledger.read() as conn:
        if not deposits.anyone_waits(conn, recorded):
            return
    with ledger.begin() as conn:
        woken = deposits.wake(conn, recorded, now)
    ring(jobs.VERIFY, woken)


def look_for(ledger: Ledger, quoted: Sequence[str], now: Instant, ring: Ring) -> None:
    """Deposits were left waiting and committed: their codes may have been recorded meanwhile."""
    if not quoted:
        return
    with ledger.read() as conn:
        recorded = sorted(codes.by_folded(conn, quoted))
    if recorded:
        wake_for(ledger, recorded, now, ring)
