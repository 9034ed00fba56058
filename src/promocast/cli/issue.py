"""`promocast issue`: recipients from a file, into the ledger or over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from promocast import jobs
from promocast.cli import context, recipients
from promocast.errors import InputError, NotFound, PromocastError
from promocast.flows import control
from promocast.flows import issue as flow
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, orders, requests
from promocast.settings import Settings

LOOK_EVERY: Final = 0.3
SHOWN_FAULTS: Final = 20

Summary = Callable[[], dict[str, Any] | None]


def issue(
    campaign: Annotated[str, typer.Argument(help="The id of a campaign in force.")],
    file: Annotated[Path, typer.Argument(help="NDJSON, or CSV with a header, if it ends in .csv.")],
    request_id: Annotated[str | None, typer.Option(help="By default made from the file: repeating it resumes.")] = None,
    url: Annotated[
        str | None, typer.Option(help="Send over HTTP to this promocast, instead of into the ledger.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="An API key with scope issue.", envvar="PROMOCAST_KEY")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Also if it is far larger than usual; else it is held.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until everything that is due was sent or refused.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Issue a code to every recipient in a file. Interrupted, the same command goes on where it stopped."""
    ref = request_id or recipients.fingerprint(file, campaign)
    started = time.monotonic()
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=context.err, transient=json,
    ) as progress:  # fmt: skip
        if url:
            result = _over_http(progress, campaign, file, ref, url, key or "", wait=wait, yes=yes)
        else:
            result = _into_ledger(progress, campaign, file, ref, wait=wait, yes=yes)
    result["seconds"] = round(time.monotonic() - started, 2)
    if json:
        context.print_json(result)
    else:
        _print(result)
    if result["rejected"]:
        raise typer.Exit(1)


def _into_ledger(progress: Progress, campaign: str, file: Path, ref: str, *, wait: bool, yes: bool) -> dict[str, Any]:
    settings = context.settings()
    with context.open_ledger(settings) as ledger:
        tally = _accept_parts(progress, ledger, settings, campaign, file, ref)
        if yes:
            _confirm(ledger, ref)

        def summary() -> dict[str, Any] | None:
            with ledger.read() as conn:
                return requests.summary(conn, ref, context.clock())

        return _finish(progress, summary, tally, wait)


def _accept_parts(
    progress: Progress, ledger: Ledger, settings: Settings, campaign: str, file: Path, ref: str
) -> _Tally:
    ring, versions = context.bell_or_silence(settings), Versions()
    bar = progress.add_task("accepted", total=None)
    tally = _Tally()
    for part in recipients.parts(recipients.read(file), jobs.MOST_RECIPIENTS_PER_JOB):
        job = jobs.read_issue_job({"request_id": ref, "campaign": campaign, "recipients": [raw for _, raw in part]})
        answer = flow.accept(ledger, job, context.clock(), versions=versions, limits=settings.brake)
        if answer.part_id is not None:
            ring(jobs.ISSUE, [answer.part_id])
        tally.add(answer.answer, part)
        progress.update(bar, completed=tally.accepted)
    progress.update(bar, total=tally.accepted)
    return tally


def _confirm(ledger: Ledger, ref: str) -> None:
    with ledger.read() as conn:
        order = orders.get(conn, ref)
    if order is not None and order.held_at is not None:
        control.confirm(ledger, ref, context.clock(), by=context.who())


def _over_http(
    progress: Progress, campaign: str, file: Path, ref: str, url: str, key: str, *, wait: bool, yes: bool
) -> dict[str, Any]:
    lines = list(recipients.read(file))
    if len(lines) > jobs.MOST_RECIPIENTS_PER_REQUEST:
        most = jobs.MOST_RECIPIENTS_PER_REQUEST
        raise InputError(
            "too_many",
            f"{file} has {len(lines)} recipients, one HTTP request takes {most}. Split it, or issue without --url.",
        )
    bar = progress.add_task("accepted", total=len(lines))
    headers = {"authorization": f"Bearer {key}"}
    with _http_client(url, headers) as client:
        body = {"request_id": ref, "campaign": campaign, "recipients": [raw for _, raw in lines]}
        answer = _ask(client, "POST", "/v1/issue", body)
        progress.update(bar, completed=answer["accepted"])
        if yes and "held" in answer:
            _ask(client, "POST", f"/v1/requests/{ref}/confirm", None)
        tally = _Tally()
        tally.add(answer, lines)
        return _finish(progress, lambda: _ask(client, "GET", f"/v1/requests/{ref}", None), tally, wait)


def _http_client(url: str, headers: dict[str, str]) -> httpx.Client:
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=60)
    except httpx.InvalidURL as exc:
        raise PromocastError(f"--url {url!r} is no address: {exc}") from exc


def _ask(client: httpx.Client, method: str, path: str, body: Any) -> dict[str, Any]:
    try:
        response = client.request(method, path, json=body)
    except httpx.HTTPError as exc:
        raise PromocastError(f"{client.base_url} does not answer: {exc}") from exc
    if response.status_code >= 300:
        told = response.json() if "json" in response.headers.get("content-type", "") else {}
        raise PromocastError(told.get("detail") or f"{client.base_url} answered {response.status_code}.")
    return dict(response.json())


@dataclass(slots=True)
class _Tally:
    """What was answered of a file's parts, with lines of the file in place of places in a part."""

    accepted: int = 0
    rejections: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)

    def add(self, answer: Mapping[str, Any], part: Sequence[recipients.Line]) -> None:
        self.accepted += answer["accepted"]
        self.rejections += [told | {"line": part[told["index"]][0]} for told in answer["rejected"]]
        self.warnings += [told | {"line": part[told["index"]][0]} for told in answer.get("warnings", ())]


def _finish(progress: Progress, summary: Summary, tally: _Tally, wait: bool) -> dict[str, Any]:
    if wait:
        _follow(progress, summary)
    found = summary()
    if found is None:
        raise NotFound("empty_file", "The file has no recipient that could be accepted.")
    return {
        **found,
        "accepted": tally.accepted,
        "rejected": len(tally.rejections),
        "rejections": tally.rejections,
        "warnings": tally.warnings,
    }


def _follow(progress: Progress, summary: Summary) -> None:
    """Show codes being issued and messages being sent, until nothing that is due is left."""
    issued = progress.add_task("issued", total=None)
    sent = progress.add_task("sent", total=None)
    while True:
        found = summary()
        if found is None:
            return
        done = found["sent"] + found["failed"] + found["skipped"] + found["unknown"]
        progress.update(issued, completed=found["issued"], total=found["accepted"])
        progress.update(sent, completed=done, total=done + found["due"])
        if found["held"] or (found["issued"] + found["refused"] >= found["accepted"] and found["due"] == 0):
            return
        time.sleep(LOOK_EVERY)


def _print(result: dict[str, Any]) -> None:
    counts = ("accepted", "rejected", "issued", "refused", "sent", "failed", "unknown", "skipped", "planned")
    told = ", ".join(f"{result[name]} {name}" for name in counts if result.get(name) or name in ("accepted", "issued"))
    context.out.print(f"request {result['request_id']}: {told}; {result['seconds']} s")
    if result["held"]:
        context.err.print(
            f"It is held: far more recipients than is usual for {result['campaign']}. Confirm it by "
            f"`promocast requests confirm {result['request_id']}`, or leave it by `promocast requests cancel`."
        )
    for channel, states in sorted(result["channels"].items()):
        context.out.print(f"  {channel}: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    faults = [f"line {told['line']}: {told['reason']}" for told in result["rejections"]]
    faults += [f"line {told['line']}: {told['channel']}: {told['reason']}" for told in result["warnings"]]
    for fault in faults[:SHOWN_FAULTS]:
        context.err.print(fault)
    if len(faults) > SHOWN_FAULTS:
        context.err.print(f"and {len(faults) - SHOWN_FAULTS} more (--json lists all)")
