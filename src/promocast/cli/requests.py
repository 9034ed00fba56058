"""`promocast requests`: what became of one, cancelling it, confirming one that was held."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from promocast.cli import context
from promocast.errors import NotFound
from promocast.flows import control
from promocast.ledger import Ledger, requests

app = typer.Typer(help="Look at requests, cancel and confirm them.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Ref = Annotated[str, typer.Argument(metavar="REQUEST_ID")]


@app.command()
def show(request_id: Ref, as_json: Json = False) -> None:
    """How many recipients of a request were issued a code, sent it, shown it, have redeemed it."""
    with context.open_ledger(context.settings()) as ledger:
        _print(_summary(ledger, request_id), as_json)


@app.command()
def cancel(request_id: Ref, as_json: Json = False) -> None:
    """Leave unsent what was not sent, and unissued what was not issued. Codes that were issued stay as they are."""
    with context.open_ledger(context.settings()) as ledger:
        control.cancel(ledger, request_id, context.clock(), by=context.who())
        _print(_summary(ledger, request_id), as_json)


@app.command()
def confirm(request_id: Ref, as_json: Json = False) -> None:
    """Let a request be issued that is held because it is far larger than is usual for its campaign."""
    with context.open_ledger(context.settings()) as ledger:
        control.confirm(ledger, request_id, context.clock(), by=context.who())
        _print(_summary(ledger, request_id), as_json)


def _summary(ledger: Ledger, request_id: str) -> dict[str, Any]:
    with ledger.read() as conn:
        found = requests.summary(conn, request_id, context.clock())
    if found is None:
        raise NotFound("unknown_request", f"No part of request {request_id!r} was accepted.")
    return found


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        context.print_json(found)
        return
    standing = "cancelled" if found["cancelled"] else "held: confirm or cancel it" if found["held"] else "goes on"
    context.out.print(f"request {found['request_id']} of {found['campaign']}: {standing}")
    counts = ("accepted", "rejected", "issued", "refused", "shown", "redeemed", "sent", "failed", "unknown", "skipped")
    context.out.print(", ".join(f"{found[name]} {name}" for name in (*counts, "planned") if found[name]))
