"""`promocast deposits`: telling deposits by hand, asking what became of them, and all of them for finance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from promocast import jobs
from promocast.campaign.reasons import in_words
from promocast.campaign.verdict import Result
from promocast.cli import context, exporting
from promocast.errors import InputError, NotFound
from promocast.flows import export as exports
from promocast.flows import tell, verify
from promocast.flows.export import WantedDeposits
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, deposits
from promocast.ledger.deposits import Recorded

app = typer.Typer(help="Tell deposits, see their verdicts, and export them.", no_args_is_help=True)

PAGE: Final = 100


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="NDJSON: one deposit a line, as in contract section 4.")],
) -> None:
    """Record the deposits in a file and have them judged. Telling one twice changes nothing."""
    good: list[jobs.Deposit] = []
    bad = 0
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError("unreadable_file", f"{file} cannot be read: {exc}") from exc
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            good.append(jobs.read_deposit(json.loads(line)))
        except ValueError:
            bad += 1
            context.err.print(f"line {number}: no JSON")
        except InputError as exc:
            bad += 1
            context.err.print(f"line {number}: " + "; ".join(f"{f.pointer or '/'}: {f.reason}" for f in exc.faults))
    settings = context.settings()
    ring = context.bell_or_silence(settings)
    with context.open_ledger(settings) as ledger:
        for i in range(0, len(good), jobs.MOST_DEPOSITS_PER_JOB):
            changed = tell.record(ledger, good[i : i + jobs.MOST_DEPOSITS_PER_JOB], context.clock())
            if changed:
                ring(jobs.VERIFY, changed)
    context.out.print(f"{len(good)} recorded, {bad} refused")
    if bad:
        raise typer.Exit(1)


@app.command()
def reverify(deposit_id: str, reason: Annotated[str, typer.Option(help="Why; it is recorded.")]) -> None:
    """Judge a refused deposit anew, by what is committed now. A verdict that took something stands."""
    settings = context.settings()
    with context.open_ledger(settings) as ledger:
        with ledger.read() as conn:
            known = deposits.get(conn, deposit_id)
        if known is None:
            raise NotFound("unknown_deposit", f"No deposit {deposit_id!r} was told.")
        if known.result not in ("refused", "no_code"):
            raise InputError("not_refused", f"Deposit {deposit_id!r} is {known.result or 'not judged yet'}; it stands.")
        verdict = verify.judge(
            ledger,
            [deposit_id],
            versions=Versions(),
            terms=settings.verification,
            clock=context.clock,
            ring=context.bell_or_silence(settings),
            anew=verify.Anew(context.who(), reason),
        )[deposit_id]
    context.out.print(f"{deposit_id}: {verdict['result']}" + (f", {verdict['reason']}" if verdict["reason"] else ""))


@app.command()
def show(
    deposit_id: Annotated[str | None, typer.Argument()] = None,
    player: Annotated[str | None, typer.Option(help="All deposits of this player, in place of one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """A deposit with its verdict, and why; or all deposits of a player, each with its verdict in a line."""
    if (deposit_id is None) == (player is None):
        raise typer.BadParameter("give either a deposit's id, or --player and the player's id")
    settings = context.settings()
    with context.open_ledger(settings) as ledger:
        if player is not None:
            told = [tell.describe(known, settings.verification) for known in _of_player(ledger, player)]
        else:
            with ledger.read() as conn:
                found = deposits.get(conn, deposit_id or "")
            if found is None:
                raise NotFound("unknown_deposit", f"No deposit {deposit_id!r} was told.")
            told = [tell.describe(found, settings.verification)]
    if as_json:
        context.print_json({"items": told, "next": None} if player is not None else told[0])
    elif player is not None:
        _print_table(told)
    else:
        _print_one(told[0])


def _of_player(ledger: Ledger, player_id: str) -> Iterator[Recorded]:
    after = ""
    while True:
        with ledger.read() as conn:
            found = deposits.of_player(conn, player_id, after, PAGE)
        yield from found
        if len(found) < PAGE:
            return
        after = found[-1].deposit_id


def _print_table(told: list[dict[str, Any]]) -> None:
    table = Table("deposit", "occurred", "amount", "status", "verdict", "code", "", box=None)
    for deposit in sorted(told, key=lambda deposit: deposit["occurred_at"]):
        verdict = deposit["verdict"] or {"result": "not judged yet"}
        why = in_words(verdict["reason"], verdict["near_miss"]) if verdict.get("reason") else ""
        amount = f"{deposit['amount'] or '?'} {deposit['currency'] or ''}"
        about = (deposit["deposit_id"], deposit["occurred_at"], amount, deposit["status"])
        table.add_row(*about, verdict["result"], verdict.get("code") or "", why)
    context.out.print(table if told else "no deposit of the player was told")


def _print_one(told: dict[str, Any]) -> None:
    verdict = told.pop("verdict") or {"result": "not judged yet"}
    for name, value in told.items():
        if value is not None:
            context.out.print(f"{name:16} {value}")
    reason = verdict.get("reason")
    context.out.print(f"{'verdict':16} {verdict['result']}" + (f": {reason}" if reason else ""))
    if reason:
        context.out.print(f"{'in words':16} {in_words(reason)}")
    for name in ("detail", "code", "campaign"):
        if verdict.get(name):
            context.out.print(f"{name:16} {verdict[name]}")
    if verdict.get("near_miss"):
        context.out.print(f"{'near miss':16} {verdict['near_miss']['text']}")
    for check in verdict.get("trace", ()):
        mark = "✓" if check["passed"] else "✗"
        context.out.print(f"  {mark} {check['rule']:22} {check['detail']}")


@app.command()
def export(
    campaign: Annotated[str | None, typer.Option(help="Only those whose verdict names this campaign.")] = None,
    player: Annotated[str | None, typer.Option(help="Only this player's.")] = None,
    result: Annotated[Result | None, typer.Option(help="Only those with this verdict.")] = None,
    since: Annotated[
        int | None, typer.Option(parser=exporting.moment, metavar="TIME", help="Made then or later, by occurred_at.")
    ] = None,
    until: Annotated[
        int | None, typer.Option(parser=exporting.moment, metavar="TIME", help="Made before, by occurred_at.")
    ] = None,
    form: exporting.Format = "csv",
    output: exporting.Output = None,
) -> None:
    """Deposits with their verdicts, a row each. In CSV no cell is a formula."""
    settings = context.settings()
    wanted = WantedDeposits(player, campaign, result, since, until)
    with context.open_ledger(settings) as ledger:
        rows = exports.of_deposits(ledger, wanted, context.clock(), settings.verification)
        count = exporting.export(rows, exports.DEPOSIT_COLUMNS, form, output)
    if output is not None:
        context.err.print(f"{count} deposits written to {output}")
