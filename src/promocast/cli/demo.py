"""`promocast demo`: the whole flow, for real, on this machine, with no accounts."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.live import Live
from rich.table import Table

from promocast.cli import context
from promocast.model import PLAYER_CHANNELS


def demo(
    once: Annotated[bool, typer.Option(help="End when the flow has ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end; nothing else.")] = False,
) -> None:
    """Issue codes to sample players, deliver them on five channels, and let deposits redeem them."""
    try:
        ok = asyncio.run(_demo(once=once, as_json=as_json))
    except KeyboardInterrupt:
        ok = True
    if not ok:
        context.err.print("That is not what the demo sets out to do.")
        raise typer.Exit(1)


async def _demo(*, once: bool, as_json: bool) -> bool:
    from promocast.demo.play import Play, as_expected
    from promocast.demo.world import World, free_port

    with tempfile.TemporaryDirectory(prefix="promocast-demo-") as name:
        async with World() as world:
            config = world.write_config(Path(name), free_port(8080))
            async with _running(config) as (url, key), _client(url, key) as client:
                shown = Live(_table({}), console=context.out, refresh_per_second=10)
                play = Play(client, world, lambda found: shown.update(_table(found)))
                world.site.on_popup = play.show
                if as_json:
                    summary = await play.run()
                    context.print_json(summary)
                else:
                    context.out.print(f"promocast is up at {url}; issuing a code to everybody on every channel")
                    with shown:
                        summary = await play.run()
                    await _tell(client, play.codes["Ann"], summary)
                if not once:
                    _invite(url, key, config)
                    await asyncio.Event().wait()
    return as_expected(summary)


def _client(url: str, key: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False)


@asynccontextmanager
async def _running(config: Path) -> AsyncIterator[tuple[str, str]]:
    """promocast as it runs in production, under its supervisor; (API address, an API key)."""
    from promocast import observe
    from promocast.cli.supervisor import Supervisor
    from promocast.ledger import Ledger, keys
    from promocast.loading import load

    settings = load(config, {})
    observe.configure(settings.log, "demo")
    supervisor = Supervisor(settings, config)
    await asyncio.to_thread(supervisor.start)
    watching = asyncio.create_task(asyncio.to_thread(supervisor.watch))
    try:
        ledger = Ledger(settings.ledger_url)
        with ledger.begin() as conn:
            _, key = keys.create(conn, {"admin"}, os.urandom, context.clock())
        ledger.close()
        yield supervisor.api_url, key
    finally:
        supervisor.stopping.set()
        await watching


def _table(found: dict[str, Any]) -> Table:
    table = Table("", *PLAYER_CHANNELS, box=None)
    channels = found.get("channels", {})
    for state in ("sent", "planned", "failed", "unknown", "skipped"):
        counts = [channels.get(channel, {}).get(state, 0) for channel in PLAYER_CHANNELS]
        if any(counts) or state == "sent":
            table.add_row(state, *map(str, counts))
    issued, shown, redeemed = (found.get(name, 0) for name in ("issued", "shown", "redeemed"))
    table.caption = f"{issued} issued, {shown} shown, {redeemed} redeemed"
    return table


async def _tell(client: httpx.AsyncClient, code: str, summary: dict[str, Any]) -> None:
    story = (await client.get(f"/v1/codes/{code}")).json()
    context.out.print(f"\nOne code's story, {story['code']}:")
    for line in story["timeline"]:
        context.out.print(f"  {line['at']:24}  {line['what']}")
    refused = ", ".join(f"{count} {reason}" for reason, count in summary["refused"].items())
    context.out.print(
        f"\n{summary['issued']} issued, {sum(summary['sent'].values())} sent, {summary['shown']} shown, "
        f"{summary['redeemed']} redeemed; refused: {refused}; {summary['unsent']} unsent; {summary['seconds']} s"
    )


def _invite(url: str, key: str, config: Path) -> None:
    program = Path(sys.argv[0]).name
    context.out.print(
        f"\nIt stays up at {url} until you press Ctrl-C. Look around:\n"
        f"  curl -H 'Authorization: Bearer {key}' {url}/v1/events\n"
        f"  {program} --config {config} status\n"
        f"  {program} --config {config} deposits show tx-elena\n"
        f"  {url}/openapi.json"
    )
