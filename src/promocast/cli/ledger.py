"""`promocast ledger`: migrations, and whether the books balance."""

from __future__ import annotations

import typer

from promocast import observe
from promocast.cli import context
from promocast.ledger import Ledger, audit, migrate

app = typer.Typer(help="Migrate the ledger, and check its invariants.", no_args_is_help=True)


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
def verify() -> None:
    """Check every invariant. Exit status 1, and what is wrong, if one does not hold."""
    with context.open_ledger(context.settings()) as ledger, ledger.read() as conn:
        found = audit.violations(conn)
    for violation in found:
        context.err.print(violation)
    if found:
        raise typer.Exit(1)
    context.out.print("every invariant holds")
