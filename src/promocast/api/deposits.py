"""Deposits in, verdicts out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import WithJsonSchema

from promocast import jobs
from promocast.api.access import DepositsKey, DepositsOrReadKey, Here
from promocast.api.schemas import inlined
from promocast.errors import Fault, InputError, NotFound
from promocast.flows import tell
from promocast.jobs import Deposit
from promocast.ledger import deposits

router = APIRouter(tags=["deposits"])

_ONE = inlined(Deposit)
_LIST = {"type": "array", "minItems": 1, "maxItems": jobs.MOST_DEPOSITS_PER_REQUEST, "items": _ONE}
_SCHEMA = {"oneOf": [_ONE, _LIST]}


@router.post("/v1/deposits", status_code=202)
def tell_deposits(
    runtime: Here, _: DepositsKey, told: Annotated[Any, Body(), WithJsonSchema(_SCHEMA)]
) -> dict[str, Any]:
    """One deposit or a list. 202 once the ledger holds them; the verdict follows."""
    messages = told if isinstance(told, list) else [told]
    if not 1 <= len(messages) <= jobs.MOST_DEPOSITS_PER_REQUEST:
        fault = Fault("", f"1 to {jobs.MOST_DEPOSITS_PER_REQUEST} deposits in one call")
        raise InputError("invalid_request", "The request cannot be understood.", [fault])
    good: list[Deposit] = []
    rejected: list[dict[str, Any]] = []
    for index, raw in enumerate(messages):
        try:
            good.append(jobs.read_deposit(raw))
        except InputError as exc:
            if not isinstance(told, list):
                raise
            reasons = "; ".join(f"{fault.pointer or '/'}: {fault.reason}" for fault in exc.faults)
            rejected.append({"index": index, "reason": f"{exc.reason}: {reasons}"})
    changed = tell.record(runtime.ledger, good, runtime.clock()) if good else []
    if changed:
        runtime.bell.ring(jobs.VERIFY, changed)
    return {"accepted": len(good), "rejected": rejected}


@router.get("/v1/deposits/{deposit_id:path}")
def get_deposit(runtime: Here, _: DepositsOrReadKey, deposit_id: str) -> dict[str, Any]:
    """The deposit as it is believed, with its verdict (null until it was judged)."""
    with runtime.ledger.read() as conn:
        found = deposits.get(conn, deposit_id)
    if found is None:
        raise NotFound("unknown_deposit", f"No deposit {deposit_id!r} was told.")
    return tell.describe(found, runtime.settings.verification)


@router.get("/v1/deposits")
def list_deposits(
    runtime: Here,
    _: DepositsOrReadKey,
    player_id: str,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """A player's deposits, page by page."""
    with runtime.ledger.read() as conn:
        found = deposits.of_player(conn, player_id, after, limit + 1)
    more, found = len(found) > limit, found[:limit]
    return {
        "items": [tell.describe(deposit, runtime.settings.verification) for deposit in found],
        "next": found[-1].deposit_id if more else None,
    }
