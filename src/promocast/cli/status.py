"""What the operator on call sees first: `promocast status`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Final

import redis
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from promocast import jobs
from promocast.broker import NAMESPACE, make_client
from promocast.cli import context, watching
from promocast.errors import ConfigError
from promocast.ledger import Ledger, deposits, figures, migrate
from promocast.ledger.channels import EVERY
from promocast.ledger.figures import OPEN, Figures
from promocast.model import CHANNELS, SECOND, Instant, rfc3339
from promocast.runtime import configured_channels, policies
from promocast.settings import Settings
from promocast.valkey import queue_url

WATCH_EVERY: Final = 2.0
# Counting all that was ever sent costs half a second per million: while it is watched, a twentieth of the time at most.
SHARE: Final = 20


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[bool, typer.Option(help="Look again every two seconds.")] = False,
) -> None:
    """Queue, ledger, channels and processes at a glance."""
    settings = context.settings()
    with context.open_ledger(settings) as ledger:
        view = View(settings, ledger)
        if as_json:
            context.print_json(view.look())
        elif not watch:
            context.out.print(tables(view.look()))
        else:
            with Live(tables(view.look()), console=context.out, screen=True) as live:
                while True:
                    time.sleep(WATCH_EVERY)
                    live.update(tables(view.look()))


class View:
    """Looks as often as it is told to. What is open is counted anew each time, the totals no more often than their
    cost allows."""

    def __init__(self, settings: Settings, ledger: Ledger, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._ledger = ledger
        self._elapsed = elapsed
        self._totals: dict[str, Any] = {}
        self._totals_until = float("-inf")

    def look(self) -> dict[str, Any]:
        now = context.clock()
        with self._ledger.read() as conn:
            found = figures.figures(conn, now)
            unsent, size = figures.unsent(conn, now), figures.size(conn)
        standing = {name: state for name, state in found.standing.items() if name != EVERY}
        return {
            "api": f"http://{self._settings.api.host}:{self._settings.api.port}",
            "queue": _queue(self._settings),
            "ledger": self._ledger.dialect,
            "ledger_size": size,
            "ledger_revision": migrate.revision(self._ledger),
            **self._count_totals(),
            "unsent": unsent,
            "open": _open(self._settings, found, now),
            "parts_waiting": found.parts,
            "deposits_waiting": found.deposits,
            "inbox": dict(found.inbox),
            "paused": sorted(state.name for state in found.standing.values() if state.paused_at is not None),
            "halted": {name: state.reason for name, state in standing.items() if state.halted_at is not None},
            "disabled": {name: state.reason for name, state in standing.items() if state.disabled_at is not None},
            "processes": watching.seen(self._settings.metrics),
        }

    def _count_totals(self) -> dict[str, Any]:
        started = self._elapsed()
        if started >= self._totals_until:
            with self._ledger.read() as conn:
                self._totals = {"channels": figures.counts(conn), "deposits": deposits.results(conn)}
            ended = self._elapsed()
            self._totals_until = ended + SHARE * (ended - started)
        return self._totals


def _queue(settings: Settings) -> dict[str, Any]:
    """The address with its password: whoever may read the data folder may enqueue."""
    try:
        url = queue_url(settings)
        client = make_client(url)
        waiting = {name: int(client.llen(f"{NAMESPACE}:{name}")) for name in jobs.QUEUES}
    except ConfigError as exc:
        return {"url": None, "error": str(exc)}
    except redis.RedisError as exc:
        return {"url": url, "error": f"does not answer ({type(exc).__name__})"}
    return {"url": url, "waiting": waiting}


def _open(settings: Settings, found: Figures, now: Instant) -> dict[str, dict[str, Any]]:
    """{channel: what is still to come on it, and what holds it up}"""
    configured, pace = configured_channels(settings) | {"call"}, policies(settings)
    every = found.standing.get(EVERY)
    told = {}
    for channel in CHANNELS:
        of, own = found.channels[channel], found.standing.get(channel)
        halted = own is not None and own.halted_at is not None
        told[channel] = {
            **of.states,
            "due": of.due,
            "oldest_due_seconds": None if of.oldest_due is None else (now - of.oldest_due) // SECOND,
            "configured": channel in configured,
            "rate": pace[channel].rate,
            "paused": any(state is not None and state.paused_at is not None for state in (every, own)),
            "halted": own.reason if own and halted else None,
            "disabled": own.reason if own and own.disabled_at is not None else None,
            "next_probe": rfc3339(own.probe_at) if own and halted and own.probe_at is not None else None,
        }
    return told


def tables(found: dict[str, Any]) -> Group:
    channels = Table("channel", *OPEN, "due", "oldest due", "standing", "in all", box=None)
    for channel, of in found["open"].items():
        totals = found["channels"].get(channel, {})
        if not totals and not of["configured"]:
            continue
        numbers = [str(of[state] or "") for state in (*OPEN, "due")]
        ended = ", ".join(f"{count} {state}" for state, count in sorted(totals.items()))
        channels.add_row(channel, *numbers, _age(of["oldest_due_seconds"]), _standing(of), ended)
    grid = Table.grid(padding=(0, 3))
    queue = found["queue"]
    grid.add_row("queue", queue.get("error") or _counts({k: n for k, n in queue["waiting"].items() if n}, "nothing"))
    grid.add_row(
        "ledger",
        f"{found['ledger']} at {found['ledger_revision']}, {found['ledger_size'] / 1e6:.1f} MB; "
        f"{found['unsent']} due and not sent",
    )
    grid.add_row("waiting", f"{found['parts_waiting']} parts to issue, {found['deposits_waiting']} deposits to judge")
    if endpoints := _endpoints(found):
        grid.add_row("endpoints", endpoints)
    grid.add_row("deposits", _counts(found["deposits"], "none"))
    grid.add_row("inbox", _counts(found["inbox"], "empty"))
    grid.add_row("processes", _processes(found["processes"]))
    return Group(channels, "", grid)


def _counts(counts: dict[str, int], none: str) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or none


def _age(seconds: int | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _standing(of: dict[str, Any]) -> str:
    words = []
    if not of["configured"]:
        words.append("not configured")
    if of["paused"]:
        words.append("paused")
    if of["halted"] is not None:
        words.append(f"halted: {of['halted']}" + (f", next probe {of['next_probe']}" if of["next_probe"] else ""))
    if of["disabled"] is not None:
        words.append(f"disabled: {of['disabled']}")
    if of["rate"]:
        words.append(f"at most {of['rate']:g}/s")
    return "; ".join(words)


def _endpoints(found: dict[str, Any]) -> str:
    """The endpoints that something is to be said of; channels have rows of their own."""
    told = [f"{name} paused" for name in found["paused"] if name.startswith("endpoints.")]
    for word in ("halted", "disabled"):
        told += [f"{name} {word}: {why}" for name, why in found[word].items() if name.startswith("endpoints.")]
    return "; ".join(told)


def _processes(seen: dict[str, Any] | None) -> str:
    if seen is None:
        return "none seen: nobody answers where [metrics] says"
    each = seen.get("processes", {seen.get("process", "one"): seen})
    return ", ".join(f"{name} {_health(health)}" for name, health in sorted(each.items()))


def _health(health: dict[str, Any]) -> str:
    if health["alive"]:
        return "alive"
    return f"stuck ({', '.join(health['stuck'])})" if health["stuck"] else "does not answer"
