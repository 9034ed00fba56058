"""`promocast players`: erasing one."""

from __future__ import annotations

from typing import Annotated

import typer

from promocast.cli import context
from promocast.errors import PromocastError
from promocast.flows.erase import erase as erase_player

app = typer.Typer(help="Erase players.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """So that `erase` keeps its name while it is the only command."""


@app.command()
def erase(
    player_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Players, by the CRM's ids.")],
    reason: Annotated[str | None, typer.Option(help="Why; it is recorded, so name nobody.")] = None,
    blocked_too: Annotated[bool, typer.Option(help="Also if a block is active, which is then kept elsewhere.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Erase what is personal of players, for good. Their redemptions stay in the books, as nobody's."""
    totals: dict[str, int] = {}
    with context.open_ledger(context.settings()) as ledger:
        for player_id in player_ids:
            erased = erase_player(
                ledger,
                player_id,
                context.clock(),
                context.random_bytes,
                by=context.who(),
                reason=reason,
                blocked_too=blocked_too,
            )
            for what, count in erased.as_json().items():
                totals[what] = totals.get(what, 0) + count
        clean = ledger.scrub()
    if as_json:
        context.print_json(totals)
    else:
        context.out.print("erased from " + ", ".join(f"{count} {what}" for what, count in totals.items()))
    if not clean:
        raise PromocastError(
            "The players are erased, but somebody reads the ledger without a pause, and its write-ahead log (-wal) may "
            "still hold what was erased. Repeat the command in a quiet moment."
        )
