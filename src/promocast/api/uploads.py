"""Recipients as a stream: a request of any length in constant memory, which can be repeated after a break."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from promocast import jobs
from promocast.api.access import Here, IssueKey
from promocast.api.schemas import inlined
from promocast.errors import Fault, InputError
from promocast.flows import issue
from promocast.ledger import orders
from promocast.recipients import Recipient
from promocast.runtime import Runtime

router = APIRouter(tags=["issue"])

# No recipient is longer than its attributes and addresses may be.
LONGEST_LINE: Final = 256 * 1024
# Beyond these, rejections are counted and no longer listed.
MOST_TOLD: Final = 1_000
_ANY_LENGTH: Final = 1 << 62

_LINES: Final = {
    "application/x-ndjson": {
        "schema": {"type": "string", "format": "binary", "description": "A recipient a line, as JSON"},
    },
    "application/json": {"schema": inlined(Recipient)},
}


@router.post(
    "/v1/requests/{request_id:path}/recipients",
    status_code=202,
    max_body_size=_ANY_LENGTH,
    openapi_extra={"requestBody": {"required": True, "content": _LINES}},
)
async def upload_recipients(
    runtime: Here,
    _: IssueKey,
    request_id: str,
    request: Request,
    campaign: Annotated[
        str | None, Query(description="Needed for a request of which no part was accepted yet.")
    ] = None,
) -> dict[str, Any]:
    """Add recipients to a request: NDJSON, any number. 202 once the ledger holds all of them. After a break, send the
    whole again: nobody is issued a second code."""
    named = campaign or str(await run_in_threadpool(_campaign_of, runtime, request_id))
    told = _Told(request_id, named)
    async for part in _parts(request.stream()):
        await run_in_threadpool(_accept, runtime, told, part)
    if not told.lines:
        raise InputError("invalid_request", "There is no recipient in the body.", [Fault("", "is empty")])
    return told.as_json()


def _campaign_of(runtime: Runtime, request_id: str) -> str:
    with runtime.ledger.read() as conn:
        order = orders.get(conn, request_id)
    if order is None:
        fault = Fault("/query/campaign", "is needed: no part of the request was accepted yet")
        raise InputError("invalid_request", "Say of which campaign the request is.", [fault])
    return order.campaign_id


@dataclass(slots=True)
class _Told:
    """What is answered. `index` of a rejection counts the lines that are not empty, from 0."""

    request_id: str
    campaign: str
    lines: int = 0
    accepted: int = 0
    rejected_count: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    held: str | None = None

    def add(self, accepted: issue.Accepted, lines: int) -> None:
        self.accepted += accepted.accepted
        self.rejected_count += len(accepted.rejected)
        for kept, found in (
            (self.rejected, accepted.rejected),
            (self.warnings, accepted.answer.get("warnings", ())),
        ):
            kept += [each | {"index": self.lines + each["index"]} for each in found[: MOST_TOLD - len(kept)]]
        self.lines += lines
        self.held = accepted.held or self.held

    def as_json(self) -> dict[str, Any]:
        told = {
            "request_id": self.request_id,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "rejected_count": self.rejected_count,
        }
        told |= {"warnings": self.warnings} if self.warnings else {}
        return told if self.held is None else told | {"held": self.held}


def _accept(runtime: Runtime, told: _Told, part: list[Any]) -> None:
    job = jobs.read_issue_job({"request_id": told.request_id, "campaign": told.campaign, "recipients": part})
    accepted = issue.accept(
        runtime.ledger, job, runtime.clock(), versions=runtime.versions, limits=runtime.settings.brake
    )
    if accepted.part_id is not None:
        runtime.bell.ring(jobs.ISSUE, [accepted.part_id])
    told.add(accepted, len(part))


async def _parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Any]]:
    """Lots of lines as they come. The same body makes the same lots however it is cut on its way: a part that was
    accepted before is known again."""
    part: list[Any] = []
    async for line in _lines(chunks):
        part.append(_parsed(line))
        if len(part) == jobs.MOST_RECIPIENTS_PER_JOB:
            yield part
            part = []
    if part:
        yield part


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """
    Raises:
        InputError: a line is longer than any recipient can be.
    """
    number, rest = 1, b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in [*whole, rest] if len(rest) > LONGEST_LINE else whole:
            if len(line) > LONGEST_LINE:
                fault = Fault("", f"line {number} has more than {LONGEST_LINE} bytes")
                raise InputError("invalid_request", "The body is no NDJSON of recipients.", [fault])
            number += 1
            if line.strip():
                yield line
    if rest.strip():
        yield rest


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line.decode(errors="replace")  # no recipient; the job's reader says so, with its place
