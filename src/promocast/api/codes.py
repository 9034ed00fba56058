"""Codes: saved by a CRM, looked up by support."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from promocast.api.access import AdminKey, CodesKey, DepositsKey, Here, ReadKey
from promocast.campaign.label_tags import fold
from promocast.errors import NotFound
from promocast.flows import revoke, show, validate
from promocast.flows.validate import Asked
from promocast.jobs import Payment
from promocast.ledger import codes, story
from promocast.reading import Text
from promocast.runtime import Runtime

router = APIRouter(tags=["codes"])

Spelling = Text


class SavedCode(BaseModel):
    """The CRM's "save the code". Further keys are let pass: CRMs add their own."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)
    code: Spelling
    user_ext_id: Text | None = None
    campaign: Text | None = None


class Lookup(BaseModel):
    model_config = ConfigDict(extra="forbid")
    code: Spelling


class Revocation(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(max_length=500)] | None = None


NO_REASON: Final = Revocation()


@router.post("/v1/codes")
def save_code(runtime: Here, key: CodesKey, saved: SavedCode) -> dict[str, Any]:
    """Save a code. Ours is marked shown; another's is recorded for the campaign that allows external codes."""
    now = runtime.clock()
    code = show.saved(
        runtime.ledger,
        saved.code,
        now,
        versions=runtime.versions,
        ring=runtime.bell.ring,
        player_id=saved.user_ext_id,
        campaign_id=saved.campaign,
        key_campaign_id=key.campaign_id,
    )
    return {
        "code": code.code,
        "campaign": code.campaign_id,
        "player_id": code.player_id,
        "status": story.status(code, now),
    }


@router.post("/v1/codes/lookup")
def look_up(runtime: Here, _: ReadKey, lookup: Lookup) -> dict[str, Any]:
    """A code with its timeline, by a spelling that stays out of URLs and so out of access logs."""
    return _find(runtime, lookup.code)


@router.post("/v1/codes/{code:path}/validate")
def validate_code(runtime: Here, _: DepositsKey, code: str, asked: Payment) -> dict[str, Any]:
    """What a deposit with this code would come to now. It changes nothing; codes that are not the player's count as
    guesses."""
    amount = None if asked.amount is None else Decimal(asked.amount)
    would_be = Asked(asked.player_id, amount, asked.currency, asked.payment_method, asked.deposit_index)
    terms = runtime.settings.verification
    return validate.validate(runtime.ledger, code, would_be, runtime.clock(), versions=runtime.versions, terms=terms)


@router.post("/v1/codes/{code:path}/revoke")
def revoke_code(runtime: Here, key: AdminKey, code: str, why: Revocation = NO_REASON) -> dict[str, Any]:
    """Out of use now; what was not sent stays unsent. Repeating it changes nothing."""
    now = runtime.clock()
    revoked = revoke.revoke(
        runtime.ledger,
        code,
        now,
        versions=runtime.versions,
        ring=runtime.bell.ring,
        by=f"key {key.id}",
        reason=why.reason,
    )
    with runtime.ledger.read() as conn:
        return story.whole(conn, revoked, now)


@router.get("/v1/codes/{code:path}")
def get_code(runtime: Here, _: ReadKey, code: str) -> dict[str, Any]:
    """A code with its timeline."""
    return _find(runtime, code)


@router.get("/v1/codes")
def list_codes(
    runtime: Here,
    _: ReadKey,
    player_id: str | None = None,
    campaign: str | None = None,
    request_id: str | None = None,
    after: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Codes that fit every filter, page by page: go on with `after` = `next` until it is null."""
    with runtime.ledger.read() as conn:
        found = codes.page(
            conn, player_id=player_id, campaign_id=campaign, request_ref=request_id, after=after, limit=limit + 1
        )
        more, found = len(found) > limit, found[:limit]
        items = story.summaries(conn, found, runtime.clock())
    return {"items": items, "next": found[-1].id if more else None}


def _find(runtime: Runtime, spelling: str) -> dict[str, Any]:
    folded = fold(spelling)
    with runtime.ledger.read() as conn:
        code = codes.by_folded(conn, [folded]).get(folded)
        if code is None:
            raise NotFound("unknown_code", "No such code is recorded.")
        return story.whole(conn, code, runtime.clock())
