"""Stopping what leaves: all of it, one channel, or the calls to one endpoint. Deliveries stay planned and go on when it
is resumed."""

from __future__ import annotations

from typing import Annotated

import typer

from promocast.cli import context
from promocast.flows import circuits
from promocast.ledger import channels, events
from promocast.ledger.events import Event
from promocast.model import CHANNELS

app = typer.Typer(help="Pause a channel or an endpoint, and let it go on.", no_args_is_help=True)

Channel = Annotated[str, typer.Argument(help=f"One of {', '.join(CHANNELS)}, or endpoints.NAME.")]


def stop_all() -> None:
    """Nothing more leaves on any channel, calls included; deliveries stay planned."""
    _pause(channels.EVERY, "everything")


def resume_all() -> None:
    """Let everything go on that `stop-all` stopped; channels that were paused by name stay so."""
    _resume(channels.EVERY, "everything")


@app.command()
def pause(channel: Channel) -> None:
    """Nothing more leaves on this channel, or for this endpoint; its deliveries stay planned."""
    _pause(_known(channel), channel)


@app.command()
def resume(channel: Channel) -> None:
    """Let a channel or an endpoint go on that was paused, or disabled: its system wants no more, or failed for days."""
    _resume(_known(channel), channel)


def _known(channel: str) -> str:
    known = [*CHANNELS, *(f"endpoints.{name}" for name in sorted(context.settings().endpoints))]
    if channel not in known:
        raise typer.BadParameter(f"there are {', '.join(known)}")
    return channel


def _pause(name: str, words: str) -> None:
    with context.open_ledger(context.settings()) as ledger, ledger.begin() as conn:
        done = channels.pause(conn, name, context.clock())
        if done:
            events.append(conn, Event("channel.paused", context.clock(), data=_told(name), by=context.who()))
    context.out.print(f"{words} is paused" if done else f"{words} was paused already")


def _told(name: str) -> dict[str, str]:
    return {"channel": "all" if name == channels.EVERY else name, "by": context.who()}


def _resume(name: str, words: str) -> None:
    with context.open_ledger(context.settings()) as ledger, ledger.begin() as conn:
        done = circuits.resume(conn, name, context.clock())
        if done:
            events.append(conn, Event("channel.resumed", context.clock(), data=_told(name), by=context.who()))
    context.out.print(f"{words} goes on" if done else f"{words} was neither paused nor disabled")
