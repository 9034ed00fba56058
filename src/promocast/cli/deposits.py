"""`promocast deposits`: telling deposits by hand, and asking what became of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from promocast import jobs
from promocast.cli import context
from promocast.errors import InputError, NotFound
from promocast.flows import tell, verify
from promocast.flows.versions import Versions
from promocast.ledger import deposits

app = typer.Typer(help="Tell deposits, and see their verdicts.", no_args_is_help=True)


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
    deposit_id: str, as_json: Annotated[bool, typer.Option("--json", help="Print the JSON object.")] = False
) -> None:
    """A deposit with its verdict, and why."""
    settings = context.settings()
    with context.open_ledger(settings) as ledger, ledger.read() as conn:
        found = deposits.get(conn, deposit_id)
    if found is None:
        raise NotFound("unknown_deposit", f"No deposit {deposit_id!r} was told.")
    told = tell.describe(found, settings.verification)
    if as_json:
        context.print_json(told)
        return
    verdict = told.pop("verdict") or {"result": "not judged yet"}
    for name, value in told.items():
        if value is not None:
            context.out.print(f"{name:16} {value}")
    context.out.print(
        f"{'verdict':16} {verdict['result']}" + (f": {verdict['reason']}" if verdict.get("reason") else "")
    )
    for name in ("detail", "code", "campaign"):
        if verdict.get(name):
            context.out.print(f"{name:16} {verdict[name]}")
    if verdict.get("near_miss"):
        context.out.print(f"{'near miss':16} {verdict['near_miss']['text']}")
    for check in verdict.get("trace", ()):
        mark = "✓" if check["passed"] else "✗"
        context.out.print(f"  {mark} {check['rule']:22} {check['detail']}")
