"""`promocast audit`: who did what by hand, and when."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from promocast.cli import context
from promocast.ledger import events
from promocast.model import parse_duration, rfc3339


def audit(
    since: Annotated[str, typer.Option(help='How far back, as in "30d".')] = "30d",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Who applied, paused, revoked, replayed, erased, confirmed and cancelled what, and when; oldest first."""
    try:
        start = context.clock() - parse_duration(since)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--since") from None
    with context.open_ledger(context.settings()) as ledger, ledger.read() as conn:
        found = events.by_hand(conn, start)
    if as_json:
        context.print_json([{**told, "at": rfc3339(at)} for at, told in found])
        return
    table = Table("at", "who", "what", "campaign", "of", box=None)
    for at, told in found:
        rest = {key: value for key, value in told["data"].items() if key != "by" and value not in (None, [])}
        of = ", ".join(f"{key} {value}" for key, value in rest.items())
        table.add_row(rfc3339(at), told["by"], told["type"], told["campaign"] or "-", of)
    context.out.print(table if found else "nothing was done by hand")
