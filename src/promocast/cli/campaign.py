"""`promocast campaign`: campaigns as files, and which of them are in force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from promocast.campaign import label_tags
from promocast.cli import campaign_files, context
from promocast.cli.backtest import backtest
from promocast.cli.campaign_files import Checked
from promocast.errors import CampaignError, InputError
from promocast.ledger import campaigns
from promocast.model import rfc3339

app = typer.Typer(help="Check campaign files, put them in force, list them.", no_args_is_help=True)

app.command()(backtest)

File = Annotated[Path, typer.Argument(help="A campaign's TOML file.")]


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
def apply(file: File) -> None:
    """Put a campaign in force. Codes that were issued keep the version that they were issued with."""
    settings = context.settings()
    checked = campaign_files.read(file, settings)
    _print_findings(checked, level="warning")
    with context.open_ledger(settings) as ledger:
        version, is_new = campaign_files.apply(ledger, checked, context.clock())
    told = "is in force" if is_new else "was in force already"
    context.out.print(f"campaign {checked.campaign.id} version {version} {told}")


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
        table.add_row(*(str(row[name] or "-") for name in ("id", "version", "applied_at", "file", "state")))
    context.out.print(table)


def _print_findings(checked: Checked, level: str | None = None) -> None:
    for finding, line in checked.findings:
        if level is None or finding.level == level:
            context.err.print(f"{checked.path}:{line or 1}: {finding.level}: {finding.pointer}: {finding.reason}")
