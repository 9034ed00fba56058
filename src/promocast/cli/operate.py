"""What the operator asks and does: the doctor, the inbox, and the keys."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.table import Table

from promocast.cli import context
from promocast.cli.diagnosis import diagnose
from promocast.errors import InputError, NotFound, PromocastError
from promocast.flows.replay import replay as replay_entry
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, events, inbox, keys
from promocast.ledger.events import Event
from promocast.loading import source
from promocast.model import DAY, parse_duration, rfc3339

inbox_app = typer.Typer(help="Work that was refused or could not be read.", no_args_is_help=True)
keys_app = typer.Typer(help="Keys for the HTTP API.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
LONGEST_LIFE: Final = 3_653 * DAY


def doctor(as_json: Json = False) -> None:
    """What is wrong with this setup, and what to do about it. Exit status 1 if something keeps it from working."""
    found = diagnose(context.settings(), source(context.config_path))
    if as_json:
        context.print_json([{"level": d.level, "what": d.what, "advice": d.advice} for d in found])
    else:
        marks = {"ok": "✓", "warning": "!", "error": "✗"}
        for diagnosis in found:
            context.out.print(f"{marks[diagnosis.level]} {diagnosis.what}")
            if diagnosis.advice:
                context.out.print(f"    {diagnosis.advice}")
    if any(diagnosis.level == "error" for diagnosis in found):
        raise typer.Exit(1)


@inbox_app.command("list")
def inbox_list(as_json: Json = False) -> None:
    """Entries that wait for somebody to look, oldest first."""
    with context.open_ledger(context.settings()) as ledger, ledger.read() as conn:
        waiting = inbox.waiting(conn, limit=1_000)
    if as_json:
        context.print_json([_shown(entry) for entry in waiting])
        return
    table = Table("id", "kind", "received", "reason", "detail", box=None)
    for entry in waiting:
        table.add_row(str(entry.id), entry.kind, rfc3339(entry.received_at), entry.reason, entry.detail)
    context.out.print(table if waiting else "the inbox is empty")


@inbox_app.command("show")
def inbox_show(entry_id: int) -> None:
    """An entry with its bytes as they came."""
    with context.open_ledger(context.settings()) as ledger:
        entry = _entry(ledger, entry_id)
    context.print_json(_shown(entry) | {"body": entry.body.decode(errors="backslashreplace")})


@inbox_app.command("replay")
def inbox_replay(entry_ids: list[int]) -> None:
    """Take entries in again, now that what was wrong with them is mended."""
    settings = context.settings()
    ring, versions, failed = context.bell_or_silence(settings), Versions(), 0
    with context.open_ledger(settings) as ledger:
        for entry_id in entry_ids:
            try:
                replay_entry(
                    ledger,
                    _entry(ledger, entry_id),
                    context.clock(),
                    versions=versions,
                    ring=ring,
                    grace=settings.verification.grace,
                    sources=settings.hooks,
                    by=context.who(),
                )
                context.out.print(f"{entry_id}: taken in")
            except InputError as exc:
                failed += 1
                context.err.print(f"{entry_id}: {exc}")
    if failed:
        raise typer.Exit(1)


def _entry(ledger: Ledger, entry_id: int) -> inbox.Entry:
    with ledger.read() as conn:
        entry = inbox.get(conn, entry_id)
    if entry is None:
        raise NotFound("unknown_entry", f"The inbox has no entry {entry_id}.")
    return entry


def _shown(entry: inbox.Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "reason": entry.reason,
        "detail": entry.detail,
        "received_at": rfc3339(entry.received_at),
    }


@keys_app.command("create")
def keys_create(
    scopes: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(keys.SCOPES)}.")],
    campaign: Annotated[str | None, typer.Option(help="Bind what the key reports to this campaign.")] = None,
    expires_in: Annotated[str | None, typer.Option(help='As in "90d".')] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once; the ledger keeps only its hash."""
    wanted = {scope.strip() for scope in scopes.split(",") if scope.strip()}
    if not wanted or wanted - set(keys.SCOPES):
        raise typer.BadParameter(f"scopes are {', '.join(keys.SCOPES)}", param_hint="--scopes")
    now = context.clock()
    try:
        life = None if expires_in is None else parse_duration(expires_in)
    except ValueError as exc:
        raise typer.BadParameter(str(exc), param_hint="--expires-in") from None
    if life is not None and life > LONGEST_LIFE:
        raise typer.BadParameter("a key lives for ten years at most, or without an end", param_hint="--expires-in")
    expires_at = None if life is None else now + life
    with context.open_ledger(context.settings()) as ledger, ledger.begin() as conn:
        if campaign is not None and not _is_campaign(ledger, campaign):
            raise PromocastError(f"No campaign {campaign!r} is in force.")
        key_id, key = keys.create(conn, wanted, context.random_bytes, now, campaign_id=campaign, expires_at=expires_at)
        data = {"key": key_id, "scopes": sorted(wanted), "by": context.who()}
        events.append(conn, Event("key.created", now, campaign, data=data, by=context.who()))
    if as_json:
        context.print_json({"id": key_id, "key": key})
    else:
        context.out.print(key)


def _is_campaign(ledger: Ledger, campaign_id: str) -> bool:
    from promocast.ledger import campaigns

    with ledger.read() as conn:
        return campaigns.in_force(conn, campaign_id) is not None


@keys_app.command("list")
def keys_list(as_json: Json = False) -> None:
    """Every key that was ever made, without its secret."""
    now = context.clock()
    with context.open_ledger(context.settings()) as ledger, ledger.read() as conn:
        found = [
            {
                "id": key.id,
                "scopes": sorted(key.scopes),
                "campaign": key.campaign_id,
                "created_at": rfc3339(key.created_at),
                "expires_at": None if key.expires_at is None else rfc3339(key.expires_at),
                "usable": key.usable(now),
            }
            for key in keys.everyone(conn)
        ]
    if as_json:
        context.print_json(found)
        return
    table = Table("id", "scopes", "campaign", "created", "expires", "usable", box=None)
    for row in found:
        scopes = ", ".join(row["scopes"])  # type: ignore[arg-type]
        table.add_row(
            str(row["id"]),
            scopes,
            *(str(row[n] or "-") for n in ("campaign", "created_at", "expires_at")),
            str(row["usable"]),
        )
    context.out.print(table)


@keys_app.command("revoke")
def keys_revoke(key_id: str) -> None:
    """Put a key out of use, now."""
    with context.open_ledger(context.settings()) as ledger, ledger.begin() as conn:
        if not keys.revoke(conn, key_id, context.clock()):
            raise NotFound("unknown_key", f"There is no key {key_id} in use.")
        data = {"key": key_id, "by": context.who()}
        events.append(conn, Event("key.revoked", context.clock(), data=data, by=context.who()))
    context.out.print(f"{key_id} is out of use")
