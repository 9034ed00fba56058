"""The sweeper's loop."""

from __future__ import annotations

from promocast import metrics, progress
from promocast.errors import LedgerUnavailable
from promocast.flows.chores import Chores
from promocast.flows.sweep import Swept, sweep
from promocast.model import SECOND
from promocast.observe import log
from promocast.progress import WITHIN
from promocast.runtime import Runtime


def run(runtime: Runtime) -> None:
    """Sweep until `runtime.stopping` is set. A ledger that is away is asked again at the next pass."""
    every = runtime.settings.sweep.every / SECOND
    chores = Chores(runtime.ledger, runtime.settings.seal, runtime.settings.retention, runtime.random)
    log.info("sweeper_ready")
    with runtime.progress.watched("sweeper", WITHIN + every):
        while not runtime.stopping.wait(every):
            progress.beat()
            try:
                with metrics.SWEEP_SECONDS.time():
                    swept = _pass(runtime)
                done = chores.do(runtime.clock())
            except LedgerUnavailable as exc:
                metrics.LEDGER_WAITS.labels("sweeper").inc()
                log.warning("ledger_unavailable", error=exc)
                continue
            metrics.LAST_SWEEP.set(runtime.clock() / SECOND)
            for what in ("leases_ended", "given_up", "expired"):
                metrics.SWEPT.labels(what).inc(getattr(swept, what))
            for what, count in done.items():
                metrics.SWEPT.labels(what).inc(count)
            if swept.leases_ended or swept.given_up:
                log.warning("deliveries_unknown", leases_ended=swept.leases_ended, given_up=swept.given_up)


def _pass(runtime: Runtime) -> Swept:
    return sweep(
        runtime.ledger,
        settings=runtime.settings.sweep,
        versions=runtime.versions,
        policies=runtime.policies,
        clock=runtime.clock,
        jitter=runtime.jitter,
        ring=runtime.bell.ring,
        short=runtime.bell.short,
    )
