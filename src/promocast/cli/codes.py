"""`promocast codes`: one code's story, a player's codes, or all of them for a spreadsheet."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import typer
from rich.table import Table

from promocast.campaign.label_tags import fold
from promocast.cli import context, exporting
from promocast.errors import NotFound
from promocast.flows import export as exports
from promocast.flows import revoke
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, codes, story
from promocast.ledger.exports import Wanted
from promocast.model import Instant

app = typer.Typer(help="Look codes up, revoke and export them.", no_args_is_help=True)

SHOWN: Final = (
    "code", "campaign", "player_id", "request_id", "status", "issued_at", "sent_at", "shown_at", "expires_at",
)  # fmt: skip
PAGE: Final = 100


@app.command()
def show(
    code: Annotated[str | None, typer.Argument(help="However it is spelt.")] = None,
    player: Annotated[str | None, typer.Option(help="All codes of this player, in place of one code.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """A code and everything that happened to it, in order; or all codes of a player, each with what happened last."""
    if (code is None) == (player is None):
        raise typer.BadParameter("give either a code, or --player and the player's id")
    now = context.clock()
    with context.open_ledger(context.settings()) as ledger:
        if player is not None:
            _show_player(_of_player(ledger, player, now), now, as_json=as_json)
            return
        with ledger.read() as conn:
            found = codes.by_folded(conn, [fold(code or "")]).get(fold(code or ""))
            if found is None:
                raise NotFound("unknown_code", f"No code {code!r} is recorded.")
            told = story.whole(conn, found, now)
    if as_json:
        context.print_json(told)
        return
    for name in SHOWN:
        if told[name] is not None:
            context.out.print(f"{name:12} {told[name]}")
    context.out.print("timeline")
    for line in told["timeline"]:
        context.out.print(f"  {line['at']:24}  {line['what']}")


def _of_player(ledger: Ledger, player_id: str, now: Instant) -> list[dict[str, Any]]:
    """The player's codes with their timelines, in the order in which they were recorded."""
    told: list[dict[str, Any]] = []
    after = 0
    while True:
        with ledger.read() as conn:
            found = codes.page(conn, player_id=player_id, after=after, limit=PAGE)
            told += [story.whole(conn, code, now) for code in found]
        if len(found) < PAGE:
            return told
        after = found[-1].id


def _show_player(told: list[dict[str, Any]], now: Instant, *, as_json: bool) -> None:
    if as_json:
        context.print_json({"items": told, "next": None})
        return
    table = Table("code", "campaign", "status", "issued", "last", "", box=None)
    for code in told:
        line = story.last(code["timeline"], now)
        table.add_row(code["code"], code["campaign"], code["status"], code["issued_at"], line["at"], line["what"])
    context.out.print(table if told else "the player has no codes")


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
    status: Annotated[
        Literal["issued", "redeemed", "expired", "revoked"] | None, typer.Option(help="Only those that are it now.")
    ] = None,
    since: Annotated[
        int | None, typer.Option(parser=exporting.moment, metavar="TIME", help="Issued then or later.")
    ] = None,
    until: Annotated[int | None, typer.Option(parser=exporting.moment, metavar="TIME", help="Issued before.")] = None,
    form: exporting.Format = "csv",
    output: exporting.Output = None,
) -> None:
    """Codes with what they redeemed, a row each. In CSV no cell is a formula."""
    now = context.clock()
    wanted = Wanted(campaign, player, request_id, since, until)
    with context.open_ledger(context.settings()) as ledger:
        rows = exports.of_codes(ledger, wanted, now, status=status)
        count = exporting.export(rows, exports.CODE_COLUMNS, form, output)
    if output is not None:
        context.err.print(f"{count} codes written to {output}")
