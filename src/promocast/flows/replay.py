"""Replay: take an inbox entry in again, now that what was wrong with it has been mended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from promocast import hooks, jobs, reading
from promocast.errors import InputError
from promocast.flows import Ring, hear, issue, show, tell
from promocast.flows.versions import Versions
from promocast.jobs import ClientAction
from promocast.ledger import Ledger, events, inbox
from promocast.ledger.events import Event
from promocast.ledger.inbox import Entry
from promocast.model import Instant
from promocast.settings import HookSettings


def replay(
    ledger: Ledger,
    entry: Entry,
    now: Instant,
    *,
    versions: Versions,
    ring: Ring,
    grace: int,
    sources: Mapping[str, HookSettings] = MappingProxyType({}),
    by: str,
) -> None:
    """Take the entry in as if it had just come. It leaves the inbox only if that succeeds.

    Args:
        grace: how long a client action waits that comes before its code, in milliseconds.
        sources: the hooks as they are configured now.

    Raises:
        InputError: it is still not acceptable; the entry stays.
    """
    if entry.kind == "hook":
        _replay_hook(ledger, entry, now, sources, versions=versions, ring=ring, grace=grace)
    else:
        _replay_json(ledger, entry, now, versions=versions, ring=ring)
    with ledger.begin() as conn:
        inbox.mark_replayed(conn, entry.id, now)
        data = {"entry": entry.id, "kind": entry.kind, "by": by}
        events.append(conn, Event("inbox.replayed", now, data=data, by=by))


def _replay_json(ledger: Ledger, entry: Entry, now: Instant, *, versions: Versions, ring: Ring) -> None:
    try:
        values: Any = json.loads(entry.body)
    except ValueError:
        raise InputError("unreadable", f"Inbox entry {entry.id} is no JSON; it can be looked at only.") from None
    match entry.kind:
        case "job":
            accepted = issue.accept(ledger, jobs.read_issue_job(values), now, versions=versions)
            if accepted.part_id is not None:
                ring(jobs.ISSUE, [accepted.part_id])
        case "deposit":
            if entry.reason == "conflict":
                raise InputError("conflict", "A deposit's contradiction cannot be replayed: its verdict stands.")
            if changed := tell.record(ledger, [jobs.read_deposit(values)], now):
                ring(jobs.VERIFY, changed)
        case "client_action":
            _replay_action(ledger, values, now, versions=versions, ring=ring)
        case kind:
            raise InputError("unknown_kind", f"Entries of kind {kind!r} cannot be replayed.")


def _replay_hook(
    ledger: Ledger,
    entry: Entry,
    now: Instant,
    sources: Mapping[str, HookSettings],
    *,
    versions: Versions,
    ring: Ring,
    grace: int,
) -> None:
    """The bytes, read as their source is configured now. What was taken from them before is the same again."""
    source = hear.source_of(entry)
    if source not in sources:
        raise InputError("unknown_source", f"There is no [hooks.{source}] in promocast.toml any more.")
    heard = hooks.read(entry.body, sources[source])
    hear.record(ledger, heard, now, versions=versions, ring=ring, grace=grace)
    if heard.faults:
        raise InputError(hear.UNREADABLE, f"It still cannot be read: {heard.what_was_wrong}", list(heard.faults))


def _replay_action(ledger: Ledger, values: Any, now: Instant, *, versions: Versions, ring: Ring) -> None:
    try:
        action = ClientAction.model_validate(values)
    except ValidationError as exc:
        raise InputError("invalid_client_action", "No client action.", reading.pointers(exc)) from None
    if show.client_action(ledger, action, now, versions=versions, ring=ring, grace=0) == "unknown_code":
        raise InputError("unknown_code", "The code is still not recorded.")
