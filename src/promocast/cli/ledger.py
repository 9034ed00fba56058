"""`promocast ledger`: migrations, whether the books balance, and the seals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promocast import observe
from promocast.cli import context
from promocast.flows import heads
from promocast.flows import seal as sealing
from promocast.ledger import Ledger, audit, migrate, seals
from promocast.model import rfc3339

app = typer.Typer(help="Migrate the ledger, check its invariants, and seal it.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the ledger to the shape that this release expects, all or nothing."""
    settings = context.settings()
    observe.configure(settings.log, "cli")
    ledger = Ledger(settings.ledger_url)
    try:
        before = migrate.upgrade(ledger, context.random_bytes, context.clock())
    finally:
        ledger.close()
    context.out.print(f"the ledger is up to date (it was at {before or 'nothing'})")


@app.command()
def verify(
    head_file: Annotated[
        list[Path], typer.Option("--heads", help="A file of heads that was kept elsewhere; may be given several times.")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Check every invariant and every seal. Exit status 1, and what is wrong, if one does not hold."""
    with context.open_ledger(context.settings()) as ledger:
        with ledger.read() as conn:
            found = audit.violations(conn)
            sealed, leaves = seals.count(conn)
        for path in head_file:
            found += [f"{path}: {difference}" for difference in heads.differences(ledger, path)]
    for violation in found:
        context.err.print(violation)
    if found:
        raise typer.Exit(1)
    context.out.print(f"every invariant holds; {leaves} redemptions and rollbacks in {sealed} seals are what they were")


@app.command()
def seal(
    head_file: Annotated[
        Path | None, typer.Option("--heads", help="Add the heads to this file; else to [seal] head_file, if set.")
    ] = None,
) -> None:
    """Close what was redeemed and rolled back since the last seal, now. The sweeper does it by itself."""
    settings = context.settings()
    path = head_file or settings.seal.head_file
    with context.open_ledger(settings) as ledger:
        closed = sealing.seal(ledger, context.clock(), context.random_bytes, settings.seal.batch)
        if path is not None:
            heads.write(ledger, path)
    for one in closed:
        context.out.print(f"seal {one.number} of {rfc3339(one.sealed_at)}: {one.leaves} leaves, head {one.head}")
    if not closed:
        context.out.print("nothing to seal")
