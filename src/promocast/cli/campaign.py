"""`promocast campaign`: campaigns as files, and which of them are in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.table import Table

from promocast.campaign import label_tags
from promocast.campaign.diff import Change, changes
from promocast.cli import campaign_files, context
from promocast.cli.backtest import backtest
from promocast.cli.campaign_files import Checked
from promocast.errors import CampaignError, InputError
from promocast.flows import apply as flow
from promocast.flows import control
from promocast.ledger import campaigns
from promocast.model import duration, rfc3339

app = typer.Typer(help="Check campaign files, put them in force, list them.", no_args_is_help=True)

app.command()(backtest)

Id = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The id of a campaign in force.")]
File = Annotated[Path, typer.Argument(help="A campaign's TOML file.")]


# What the ledger keeps as milliseconds.
_DURATIONS: Final = frozenset({"valid_for", "after", "min_ttl", "spread"})
_MOMENTS: Final = frozenset({"starts_at", "ends_at"})


@app.command()
def check(file: File) -> None:
    """Say everything that is wrong with a campaign file. Exit status 1 if it could not be applied."""
    checked = campaign_files.read(file, context.settings())
    _print_findings(checked)
    if any(finding.level == "error" for finding, _ in checked.findings):
        raise typer.Exit(1)
    tag = checked.campaign.label_tags[checked.campaign.code.label_tag]
    space = label_tags.space(tag)
    context.out.print(f"{file}: campaign {checked.campaign.id} can be applied; {space:,} codes are possible")


@app.command()
def apply(
    file: File, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would change.")] = False
) -> None:
    """Put a campaign in force, and say what that changes. Codes that were issued keep the version that they were issued
    with."""
    settings = context.settings()
    checked = campaign_files.read(file, settings)
    _print_findings(checked, level=None if dry_run else "warning")
    with context.open_ledger(settings) as ledger:
        if dry_run:
            with ledger.read() as conn:
                before = flow.in_force(conn, checked.campaign.id)
            _print_changes(changes(before or {}, orjson.loads(flow.stored(checked.campaign))) if before else [])
            context.out.print("nothing was applied")
            return
        applied = campaign_files.apply(ledger, checked, context.clock(), by=context.who())
    _print_changes(applied.changed)
    told = "is in force" if applied.is_new else "was in force already"
    context.out.print(f"campaign {checked.campaign.id} version {applied.version} {told}")


def _print_changes(changed: list[Change]) -> None:
    for change in changed:
        told = change.as_json()
        key = change.pointer.rpartition("/")[2]
        before, after = (_said(key, told[side]) if side in told else "-" for side in ("before", "after"))
        context.out.print(f"  {change.pointer}: {before} -> {after}")


def _said(key: str, value: object) -> str:
    """As it would stand in the file."""
    if isinstance(value, int) and key in _DURATIONS:
        return f'"{duration(value)}"'
    if isinstance(value, int) and key in _MOMENTS:
        return rfc3339(value)
    return json.dumps(value, ensure_ascii=False)


@app.command()
def pause(campaign: Id) -> None:
    """Issue nothing more of a campaign, and send players nothing more. Deposits are judged all the same."""
    with context.open_ledger(context.settings()) as ledger:
        done = control.pause(ledger, campaign, context.clock(), by=context.who())
    context.out.print(f"{campaign} is paused" if done else f"{campaign} was paused already")


@app.command()
def resume(campaign: Id) -> None:
    """Let a campaign go on that was paused."""
    with context.open_ledger(context.settings()) as ledger:
        done = control.resume(ledger, campaign, context.clock(), by=context.who())
    context.out.print(f"{campaign} goes on" if done else f"{campaign} was not paused")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False) -> None:
    """Campaigns in force, and where their files differ from them."""
    settings = context.settings()
    found: dict[str, dict[str, object]] = {}
    with context.open_ledger(settings) as ledger, ledger.read() as conn:
        in_force = {campaign.id: campaign for campaign in campaigns.all_in_force(conn)}
    for campaign in in_force.values():
        applied = rfc3339(campaign.applied_at)
        found[campaign.id] = {
            "id": campaign.id,
            "version": campaign.version,
            "applied_at": applied,
            "file": None,
            "state": "in force",
            "paused": campaign.paused_at is not None,
        }
    for path in campaign_files.files(settings):
        try:
            checked = campaign_files.read(path, settings)
        except (CampaignError, InputError):
            found[f"{path}"] = {
                "id": None,
                "version": None,
                "applied_at": None,
                "file": str(path),
                "state": "does not check",
            }
            continue
        row = found.setdefault(checked.campaign.id, {"id": checked.campaign.id, "version": None, "applied_at": None})
        current = in_force.get(checked.campaign.id)
        row["file"] = str(path)
        row["state"] = (
            "not applied" if current is None else "in force" if current.digest == checked.digest else "file differs"
        )
    if as_json:
        context.print_json(list(found.values()))
        return
    table = Table("campaign", "version", "applied", "file", "state", box=None)
    for row in found.values():
        state = f"{row['state']}, paused" if row.get("paused") else str(row["state"])
        table.add_row(*(str(row[name] or "-") for name in ("id", "version", "applied_at", "file")), state)
    context.out.print(table)


def _print_findings(checked: Checked, level: str | None = None) -> None:
    for finding, line in checked.findings:
        if level is None or finding.level == level:
            context.err.print(f"{checked.path}:{line or 1}: {finding.level}: {finding.pointer}: {finding.reason}")
