"""`promocast issue`: recipients from a file, into the ledger or over HTTP."""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from promocast import jobs
from promocast.cli import context, recipients
from promocast.errors import NotFound, PromocastError
from promocast.flows import control
from promocast.flows import issue as flow
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, orders, requests
from promocast.settings import Settings

LOOK_EVERY: Final = 0.3
SHOWN_FAULTS: Final = 20
# Beyond these, faults are counted and no longer listed: a file of a million lines may be wrong in each.
MOST_TOLD: Final = 1_000

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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Issue a code to every recipient in a file. Interrupted, the same command goes on where it stopped."""
    ref = request_id or recipients.fingerprint(file, campaign)
    started = time.monotonic()
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=context.err, transient=as_json,
    ) as progress:  # fmt: skip
        if url:
            result = _over_http(progress, campaign, file, ref, url, key or "", wait=wait, yes=yes)
        else:
            result = _into_ledger(progress, campaign, file, ref, wait=wait, yes=yes)
    result["seconds"] = round(time.monotonic() - started, 2)
    if as_json:
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
        tally.add(answer.answer, [number for number, _ in part])
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
    bar = progress.add_task("sent", total=None)
    numbers = array("Q")

    def body() -> Iterator[bytes]:
        for number, raw in recipients.read(file):
            numbers.append(number)
            progress.update(bar, completed=len(numbers))
            yield json.dumps(raw, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"

    headers = {"authorization": f"Bearer {key}"}
    with _http_client(url, headers) as client:
        path = f"/v1/requests/{quote(ref)}"
        answer = _ask(client, "POST", f"{path}/recipients", content=body(), params={"campaign": campaign})
        progress.update(bar, completed=answer["accepted"], total=answer["accepted"])
        if yes and "held" in answer:
            _ask(client, "POST", f"{path}/confirm")
        tally = _Tally()
        tally.add(answer, numbers)
        return _finish(progress, lambda: _ask(client, "GET", path), tally, wait)


def _http_client(url: str, headers: dict[str, str]) -> httpx.Client:
    try:
        return httpx.Client(base_url=url, headers=headers, timeout=60)
    except httpx.InvalidURL as exc:
        raise PromocastError(f"--url {url!r} is no address: {exc}") from exc


def _ask(client: httpx.Client, method: str, path: str, **sent: Any) -> dict[str, Any]:
    try:
        response = client.request(method, path, **sent)
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
    rejected: int = 0
    rejections: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)

    def add(self, answer: Mapping[str, Any], lines: Sequence[int]) -> None:
        """
        Args:
            lines: the line of the file that stands at each place of what was sent.
        """
        self.accepted += answer["accepted"]
        self.rejected += answer.get("rejected_count", len(answer["rejected"]))
        for kept, found in ((self.rejections, answer["rejected"]), (self.warnings, answer.get("warnings", ()))):
            kept += [told | {"line": lines[told["index"]]} for told in found[: MOST_TOLD - len(kept)]]


def _finish(progress: Progress, summary: Summary, tally: _Tally, wait: bool) -> dict[str, Any]:
    if wait:
        _follow(progress, summary)
    found = summary()
    if found is None:
        raise NotFound("empty_file", "The file has no recipient that could be accepted.")
    return {
        **found,
        "accepted": tally.accepted,
        "rejected": tally.rejected,
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
    if (more := result["rejected"] + len(result["warnings"]) - SHOWN_FAULTS) > 0:
        context.err.print(f"and {more} more (--json lists up to {MOST_TOLD} of each kind)")
