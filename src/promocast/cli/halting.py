"""Stopping what leaves: all of it, or one channel. Deliveries stay planned and go on when it is resumed."""

from __future__ import annotations

from typing import Annotated

import typer

from promocast.cli import context
from promocast.ledger import channels
from promocast.model import CHANNELS

app = typer.Typer(help="Pause a channel, and let it go on.", no_args_is_help=True)

Channel = Annotated[str, typer.Argument(help=f"One of {', '.join(CHANNELS)}.")]


def stop_all() -> None:
    """Nothing more leaves on any channel, calls included; deliveries stay planned."""
    _pause(channels.EVERY, "everything")


def resume_all() -> None:
    """Let everything go on that `stop-all` stopped; channels that were paused by name stay so."""
    _resume(channels.EVERY, "everything")


@app.command()
def pause(channel: Channel) -> None:
    """Nothing more leaves on this channel; its deliveries stay planned."""
    _pause(_known(channel), channel)


@app.command()
def resume(channel: Channel) -> None:
    """Let a paused channel go on."""
    _resume(_known(channel), channel)


def _known(channel: str) -> str:
    if channel not in CHANNELS:
        raise typer.BadParameter(f"channels are {', '.join(CHANNELS)}")
    return channel


def _pause(name: str, words: str) -> None:
    with context.open_ledger(context.settings()) as ledger, ledger.begin() as conn:
        done = channels.pause(conn, name, context.clock())
    context.out.print(f"{words} is paused" if done else f"{words} was paused already")


def _resume(name: str, words: str) -> None:
    with context.open_ledger(context.settings()) as ledger, ledger.begin() as conn:
        done = channels.resume(conn, name)
    context.out.print(f"{words} goes on" if done else f"{words} was not paused")
