"""Events: client actions in, everything out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from promocast.api.access import CodesKey, Here, ReadKey
from promocast.errors import InputError
from promocast.flows import show
from promocast.jobs import ClientAction
from promocast.ledger import events

router = APIRouter(tags=["events"])


@router.post("/v1/events/client-action", status_code=202)
def client_action(runtime: Here, _: CodesKey, event: ClientAction) -> dict[str, Any]:
    """A client action, as CODE_IS_SHOWN. Once per eid. One for a code that is not recorded waits for it (`waiting`),
    and goes to the inbox after the grace time."""
    result = show.client_action(
        runtime.ledger,
        event,
        runtime.clock(),
        versions=runtime.versions,
        ring=runtime.bell.ring,
        grace=runtime.settings.verification.grace,
    )
    return {"eid": event.eid, "result": result}


@router.get("/v1/events")
def list_events(
    runtime: Here,
    _: ReadKey,
    after: str = events.START,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Every event in order. Keep `next` and give it as `after`: nothing is passed over, whoever is writing.

    Each event of a code has `data.sequence`: the number that the call for this event carries as well. For one code it
    grows from commit to commit, beginning with 0 for `code.issued`; only `delivery.sent`, which senders record for many
    codes at once, may be a moment late for its number. Put events and calls in its order, and take the same number of
    the same code twice for the same event."""
    try:
        with runtime.ledger.read() as conn:
            items, cursor = events.feed(conn, after or events.START, limit)
    except ValueError as exc:
        raise InputError("invalid_cursor", str(exc)) from None
    return {"items": items, "next": cursor}
