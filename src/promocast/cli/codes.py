"""`promocast codes`: one code's story, or all of them for a spreadsheet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from promocast.campaign.label_tags import fold
from promocast.cli import context
from promocast.errors import NotFound
from promocast.flows import revoke
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, codes, story

app = typer.Typer(help="Look codes up, revoke and export them.", no_args_is_help=True)

COLUMNS: Final = [
    "code",
    "campaign",
    "player_id",
    "request_id",
    "status",
    "issued_at",
    "sent_at",
    "shown_at",
    "expires_at",
]
PAGE: Final = 1_000


@app.command()
def show(code: str, as_json: Annotated[bool, typer.Option("--json", help="Print the JSON object.")] = False) -> None:
    """A code and everything that happened to it, in order."""
    with context.open_ledger(context.settings()) as ledger, ledger.read() as conn:
        found = codes.by_folded(conn, [fold(code)]).get(fold(code))
        if found is None:
            raise NotFound("unknown_code", f"No code {code!r} is recorded.")
        told = story.whole(conn, found, context.clock())
    if as_json:
        context.print_json(told)
        return
    for name in COLUMNS:
        if told[name] is not None:
            context.out.print(f"{name:12} {told[name]}")
    context.out.print("timeline")
    for line in told["timeline"]:
        context.out.print(f"  {line['at']:24}  {line['what']}")


@app.command("revoke")
def revoke_code(code: str, reason: Annotated[str, typer.Option(help="Why; it is recorded.")]) -> None:
    """Take a code out of use, now. What was not sent stays unsent."""
    settings = context.settings()
    with context.open_ledger(settings) as ledger:
        revoked = revoke.revoke(
            ledger,
            code,
            context.clock(),
            versions=Versions(),
            ring=context.bell_or_silence(settings),
            by=context.who(),
            reason=reason,
        )
    context.out.print(f"{revoked.code} of {revoked.campaign_id} is revoked")


@app.command()
def export(
    campaign: Annotated[str | None, typer.Option(help="Only this campaign's.")] = None,
    player: Annotated[str | None, typer.Option(help="Only this player's.")] = None,
    request_id: Annotated[str | None, typer.Option(help="Only this request's.")] = None,
) -> None:
    """Codes as CSV on standard output; cells that a spreadsheet would run are made inert."""
    with context.open_ledger(context.settings()) as ledger:
        context.write_csv(_all(ledger, campaign, player, request_id), COLUMNS)
    sys.stdout.flush()


def _all(ledger: Ledger, campaign: str | None, player: str | None, request_id: str | None) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        with ledger.read() as conn:
            found = codes.page(
                conn, player_id=player, campaign_id=campaign, request_ref=request_id, after=after, limit=PAGE
            )
            yield from story.summaries(conn, found, context.clock())
        if len(found) < PAGE:
            return
        after = found[-1].id
