"""Campaigns: what is in force, putting another version in force, holding one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from promocast.api.access import AdminKey, Here, ReadKey
from promocast.campaign import check, document
from promocast.errors import CampaignError, Fault, InputError, NotFound
from promocast.flows import apply, control
from promocast.ledger import Connection, budgets, campaigns
from promocast.ledger.campaigns import InForce
from promocast.model import rfc3339
from promocast.money import from_units
from promocast.runtime import Runtime, configured_channels

router = APIRouter(tags=["campaigns"])


class Posted(BaseModel):
    """A campaign as JSON, and the template files that it names, by their path under the templates folder."""

    model_config = ConfigDict(extra="forbid")
    document: dict[str, Any]
    files: dict[str, str] = Field(default_factory=dict)


@router.get("/v1/campaigns")
def list_campaigns(runtime: Here, _: ReadKey) -> dict[str, Any]:
    """Every campaign in force, without its document."""
    with runtime.ledger.read() as conn:
        return {"items": [_summary(conn, current) for current in campaigns.all_in_force(conn)]}


@router.get("/v1/campaigns/{campaign_id}")
def get_campaign(runtime: Here, _: ReadKey, campaign_id: str) -> dict[str, Any]:
    """The version in force, its template files inline, and what of its budget is used."""
    with runtime.ledger.read() as conn:
        return _shown(conn, campaign_id)


@router.put("/v1/campaigns/{campaign_id}")
def put_campaign(runtime: Here, key: AdminKey, campaign_id: str, posted: Posted) -> dict[str, Any]:
    """Put a version in force, without a restart. Codes that were issued keep theirs; the same document again changes
    nothing. 422 with a pointer for each fault, and the version in force stays."""
    if posted.document.get("id") != campaign_id:
        fault = Fault("/document/id", f"is not {campaign_id!r}, the id in the address")
        raise InputError("invalid_campaign", "The document is another campaign's.", [fault])

    def template(name: PurePosixPath) -> str:
        try:
            return posted.files[str(name)]
        except KeyError:
            raise FileNotFoundError(2, "not among `files`", str(name)) from None

    try:
        campaign = document.from_json(posted.document, campaign_id, template)
        findings = check.check(campaign, configured_channels(runtime.settings), runtime.settings.endpoints.keys())
        applied = apply.apply(runtime.ledger, campaign, findings, runtime.clock(), by=f"key {key.id}")
    except CampaignError as exc:
        faults = [Fault(f"/document{fault.pointer}", fault.reason) for fault in exc.faults]
        raise InputError("invalid_campaign", "The campaign cannot be put in force.", faults) from exc
    with runtime.ledger.read() as conn:
        return {
            **_shown(conn, campaign_id),
            "changed": [change.as_json() for change in applied.changed],
            "warnings": [{"pointer": f"/document{f.pointer}", "detail": f.reason} for f in findings],
        }


@router.post("/v1/campaigns/{campaign_id}/pause")
def pause_campaign(runtime: Here, key: AdminKey, campaign_id: str) -> dict[str, Any]:
    """Issue nothing more, and send players nothing more. Deposits are judged, and systems called, all the same."""
    control.pause(runtime.ledger, campaign_id, runtime.clock(), by=f"key {key.id}")
    return _standing(runtime, campaign_id)


@router.post("/v1/campaigns/{campaign_id}/resume")
def resume_campaign(runtime: Here, key: AdminKey, campaign_id: str) -> dict[str, Any]:
    """Let it go on."""
    control.resume(runtime.ledger, campaign_id, runtime.clock(), by=f"key {key.id}")
    return _standing(runtime, campaign_id)


def _standing(runtime: Runtime, campaign_id: str) -> dict[str, Any]:
    with runtime.ledger.read() as conn:
        return _summary(conn, _known(conn, campaign_id))


def _known(conn: Connection, campaign_id: str) -> InForce:
    current = campaigns.in_force(conn, campaign_id)
    if current is None:
        raise NotFound("unknown_campaign", f"No campaign {campaign_id!r} is in force.")
    return current


def _shown(conn: Connection, campaign_id: str) -> dict[str, Any]:
    current = _known(conn, campaign_id)
    shown = orjson.loads(campaigns.document(conn, campaign_id, current.version))
    shown |= {name: rfc3339(shown[name]) for name in ("starts_at", "ends_at") if shown.get(name) is not None}
    return {**_summary(conn, current), "document": shown, "files": {}}


def _summary(conn: Connection, current: InForce) -> dict[str, Any]:
    spent = budgets.of_campaign(conn, current.id)
    return {
        "id": current.id,
        "version": current.version,
        "paused": current.paused_at is not None,
        "paused_at": None if current.paused_at is None else rfc3339(current.paused_at),
        "applied_at": rfc3339(current.applied_at),
        "budget_used": {
            "redemptions": spent.get(budgets.COUNT),
            "amount": {c: from_units(units, c) for c, units in spent.items() if c != budgets.COUNT},
        },
    }
