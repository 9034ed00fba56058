"""Issue jobs over HTTP, and what became of a request."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import WithJsonSchema

from promocast import jobs
from promocast.api.access import Here, IssueKey, IssueOrReadKey
from promocast.api.schemas import inlined
from promocast.errors import NotFound
from promocast.flows import control, issue
from promocast.ledger import requests
from promocast.recipients import Recipient
from promocast.runtime import Runtime

router = APIRouter(tags=["issue"])

_JOB_SCHEMA = {
    "type": "object",
    "required": ["request_id", "campaign", "recipients"],
    "properties": {
        "request_id": {"type": "string", "description": "Yours; issues once per player, for ever."},
        "campaign": {"type": "string"},
        "requested_at": {"type": "string", "format": "date-time"},
        "recipients": {
            "type": "array",
            "minItems": 1,
            "maxItems": jobs.MOST_RECIPIENTS_PER_REQUEST,
            "items": inlined(Recipient),
        },
    },
}


@router.post("/v1/issue", status_code=202)
def issue_codes(runtime: Here, _: IssueKey, job: Annotated[Any, Body(), WithJsonSchema(_JOB_SCHEMA)]) -> dict[str, Any]:
    """Issue a code to each recipient. 202 once the ledger holds it; the same request again gets the same answer."""
    read = jobs.read_issue_job(job, jobs.MOST_RECIPIENTS_PER_REQUEST)
    accepted = issue.accept(
        runtime.ledger,
        read,
        runtime.clock(),
        versions=runtime.versions,
        whole=True,
        limits=runtime.settings.brake,
    )
    if accepted.part_id is not None:
        runtime.bell.ring(jobs.ISSUE, [accepted.part_id])
    return accepted.as_json()


@router.post("/v1/requests/{request_id:path}/cancel")
def cancel_request(runtime: Here, key: IssueKey, request_id: str) -> dict[str, Any]:
    """What was not sent stays unsent, what was not issued unissued. Repeating it changes nothing."""
    control.cancel(runtime.ledger, request_id, runtime.clock(), by=f"key {key.id}")
    return _summary(runtime, request_id)


@router.post("/v1/requests/{request_id:path}/confirm")
def confirm_request(runtime: Here, key: IssueKey, request_id: str) -> dict[str, Any]:
    """Issue a request that was held because it is far larger than is usual for its campaign."""
    control.confirm(runtime.ledger, request_id, runtime.clock(), by=f"key {key.id}")
    return _summary(runtime, request_id)


@router.get("/v1/requests/{request_id:path}")
def get_request(runtime: Here, _: IssueOrReadKey, request_id: str) -> dict[str, Any]:
    """Counts of a request. 404 means that no part of it has been accepted: send it again."""
    return _summary(runtime, request_id)


def _summary(runtime: Runtime, request_id: str) -> dict[str, Any]:
    with runtime.ledger.read() as conn:
        summary = requests.summary(conn, request_id, runtime.clock())
    if summary is None:
        raise NotFound("unknown_request", f"No part of request {request_id!r} was accepted.")
    return summary
