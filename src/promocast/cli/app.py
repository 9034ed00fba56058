"""Which commands there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promocast.cli import (
    audit,
    campaign,
    codes,
    context,
    deposits,
    halting,
    issue,
    ledger,
    operate,
    players,
    requests,
    run,
    status,
)
from promocast.cli.demo import demo

app = typer.Typer(
    name="promocast",
    help="Issues promo codes, delivers them to players, and decides which deposit redeems which code.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _everywhere(
    config: Annotated[
        Path | None,
        typer.Option(help="promocast.toml; else PROMOCAST_CONFIG, else config/promocast.toml if it is there."),
    ] = None,
) -> None:
    context.config_path = config


app.command()(demo)
app.command()(run.up)
app.command()(run.api)
app.command()(run.worker)
app.command()(run.sweeper)
app.command()(issue.issue)
app.command()(status.status)
app.command()(operate.doctor)
app.command()(audit.audit)
app.command("stop-all")(halting.stop_all)
app.command("resume-all")(halting.resume_all)
app.add_typer(halting.app, name="channel")
app.add_typer(requests.app, name="requests")
app.add_typer(deposits.app, name="deposits")
app.add_typer(campaign.app, name="campaign")
app.add_typer(codes.app, name="codes")
app.add_typer(operate.inbox_app, name="inbox")
app.add_typer(operate.keys_app, name="keys")
app.add_typer(ledger.app, name="ledger")
app.add_typer(players.app, name="players")
