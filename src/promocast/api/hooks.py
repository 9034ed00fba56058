"""Inbound hooks: other systems tell in their own words. Who posts is proven as its source is configured."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request

from promocast import hooks, metrics
from promocast.api.access import Here
from promocast.flows import hear
from promocast.hooks.proof import proven
from promocast.observe import log

router = APIRouter(tags=["hooks"])

# What a 401 asks for (RFC 9110 11.6.1).
_CHALLENGES: Final = {"bearer": "Bearer", "basic": 'Basic realm="promocast"', "webhook": "Standard-Webhooks"}
_MOST_TOLD: Final = 100


async def _whole(request: Request) -> bytes:
    """The body as it came: a signature covers its bytes, and what cannot be read is kept with them."""
    return await request.body()


_EVENT = {"type": "object", "description": "An event, as the source's system sends it (docs/hooks.md)"}
_BODY = {"application/json": {"schema": {"oneOf": [_EVENT, {"type": "array", "minItems": 1, "items": _EVENT}]}}}


@router.post("/v1/hooks/{source}", status_code=202, openapi_extra={"requestBody": {"content": _BODY}})
def hear_hook(runtime: Here, source: str, request: Request, body: Annotated[bytes, Depends(_whole)]) -> dict[str, Any]:
    """Deposits and client actions as Smartico, Fast Track or another system posts them, one or a list, to the source of
    `[hooks.<source>]`. 404 where there is none, 401 without its proof. 202 once the ledger holds all of it: `accepted`
    and `ignored` (of no interest) count events; `kept` those that could not be read: `errors` says why, and the body
    waits in the inbox. It need not be sent again."""
    settings = runtime.settings.hooks.get(source)
    if settings is None:
        raise HTTPException(404, "No such hook is configured.")
    now = runtime.clock()
    if not proven(settings, request.headers, body, now):
        metrics.HOOKS.labels(source, "unproven").inc()
        log.warning("hook_unproven", source=source)
        challenge = {"WWW-Authenticate": _CHALLENGES[settings.auth]}
        raise HTTPException(401, "Nothing proves that this comes from the source.", challenge)
    heard = hooks.read(body, settings)
    grace = runtime.settings.verification.grace
    ring = runtime.bell.ring
    hear.hear(runtime.ledger, source, body, heard, now, versions=runtime.versions, ring=ring, grace=grace)
    counts = {"accepted": heard.accepted, "ignored": heard.ignored, "unreadable": heard.unreadable}
    for result, count in counts.items():
        metrics.HOOKS.labels(source, result).inc(count)
    if heard.unreadable:
        log.warning("hook_unreadable", source=source, count=heard.unreadable)
    errors = [{"pointer": fault.pointer, "detail": fault.reason} for fault in heard.faults[:_MOST_TOLD]]
    return {"accepted": heard.accepted, "ignored": heard.ignored, "kept": heard.unreadable, "errors": errors}
