"""The sweeper's loop."""

from __future__ import annotations

from promocast.errors import LedgerUnavailable
from promocast.flows.sweep import sweep
from promocast.model import SECOND
from promocast.observe import log
from promocast.runtime import Runtime


def run(runtime: Runtime) -> None:
    """Sweep until `runtime.stopping` is set. A ledger that is away is asked again at the next pass."""
    log.info("sweeper_ready")
    while not runtime.stopping.wait(runtime.settings.sweep.every / SECOND):
        try:
            swept = sweep(
                runtime.ledger,
                settings=runtime.settings.sweep,
                versions=runtime.versions,
                policies=runtime.policies,
                clock=runtime.clock,
                jitter=runtime.jitter,
                ring=runtime.bell.ring,
                short=runtime.bell.short,
            )
        except LedgerUnavailable as exc:
            log.warning("ledger_unavailable", error=str(exc))
            continue
        if swept.leases_ended or swept.given_up:
            log.warning("deliveries_unknown", leases_ended=swept.leases_ended, given_up=swept.given_up)
