"""Show: a code was seen. The player's browser says so by a client action, a CRM by "save the code".

Only a client action moves journeys on; what a CRM reports never does, or the two would call each other in a circle.
"""

from __future__ import annotations

from typing import Literal

from promocast.campaign import journey
from promocast.campaign.journey import Cause
from promocast.campaign.label_tags import fold
from promocast.errors import Conflict, InputError, NotFound, UnknownCampaign
from promocast.flows import Ring, rules, waiting
from promocast.flows.rules import Fired
from promocast.flows.versions import Version, Versions
from promocast.jobs import ClientAction
from promocast.ledger import Connection, Ledger, campaigns, codes, events, inbox
from promocast.ledger.codes import Code
from promocast.ledger.events import Event
from promocast.model import Instant


def client_action(
    ledger: Ledger, action: ClientAction, now: Instant, *, versions: Versions, ring: Ring, keep: bool = True
) -> Literal["recorded", "repeated", "unknown_code"]:
    """Record a client action: the code is shown, and the journey's rules for the action are planned.

    `repeated`: the same `eid` came before. `unknown_code`: no such code is recorded; the action is kept in the inbox,
    unless it comes from there (`keep` is false).

    Raises:
        Conflict: the code is another player's. That is recorded, and starts no clock.
    """
    planned: list[tuple[str, int, Instant]] = []
    conflict: Conflict | None = None
    with ledger.begin() as conn:
        name, folded = action.payload.client_action, fold(action.payload.code)
        code = codes.by_folded(conn, [folded], lock=True).get(folded)
        if code is None:
            if keep:
                _keep(conn, action, now)
            return "unknown_code"
        anothers = _is_anothers(code, action.user_ext_id)
        data = {"action": name, "player_id": action.user_ext_id, "refused": "other_player" if anothers else None}
        event = Event("client_action", now, code.campaign_id, code.id, {k: v for k, v in data.items() if v})
        event_id = events.append_once(conn, event, f"client_action:{action.eid}")
        if event_id is None:
            return "repeated"
        if anothers:
            conflict = _another_players()
        else:
            version = versions.get(conn, code.campaign_id, code.campaign_version)
            if code.player_id is None and action.user_ext_id is not None:
                codes.bind(conn, code.id, action.user_ext_id)
            mark_shown(conn, code, version, now)
            cause = Cause("client_action", action=name)
            fired = Fired(version.campaign, code.id, code.recipient, cause, event_id, event_key=name)
            planned = rules.fire(conn, [fired], now)
    if conflict is not None:
        raise conflict
    rules.ring_due(ring, planned, now)
    return "recorded"


def _keep(conn: Connection, action: ClientAction, now: Instant) -> None:
    detail = f"client action {action.payload.client_action} for a code that is not recorded"
    body = action.model_dump_json(exclude_none=True).encode()
    inbox.put(conn, "client_action", "unknown_code", detail, body, now, action.user_ext_id)


def saved(
    ledger: Ledger,
    text: str,
    now: Instant,
    *,
    versions: Versions,
    ring: Ring,
    player_id: str | None = None,
    campaign_id: str | None = None,
    key_campaign_id: str | None = None,
) -> Code:
    """What a CRM saves: one of our codes, which is then shown, or one of its own, where a campaign takes those.

    Args:
        campaign_id, key_campaign_id: the campaign that the body names, and that the API key is bound to.

    Raises:
        Conflict: the code is another player's.
        UnknownCampaign, NotFound, InputError: it is not ours, and no campaign, or more than one, could take it.
    """
    folded = fold(text)
    if not folded:
        raise InputError("invalid_code", "A code has at least one letter or digit.")
    with ledger.begin() as conn:
        code = codes.by_folded(conn, [folded], lock=True).get(folded)
        if code is None:
            wanted = campaign_id or key_campaign_id
            code = _record_external(conn, text.strip(), folded, wanted, player_id, versions, now)
        anothers = _is_anothers(code, player_id)
        if anothers:
            data = {"refused": "other_player", "player_id": player_id}
            events.append(conn, Event("code.report_refused", now, code.campaign_id, code.id, data))
        else:
            if code.player_id is None and player_id is not None and codes.bind(conn, code.id, player_id):
                bound = Event("code.bound", now, code.campaign_id, code.id, {"player_id": player_id})
                events.append(conn, bound)
            mark_shown(conn, code, versions.get(conn, code.campaign_id, code.campaign_version), now)
            code = codes.by_ids(conn, [code.id])[code.id]
    waiting.wake_for(ledger, [folded], now, ring)
    if anothers:
        raise _another_players()
    return code


def mark_shown(conn: Connection, code: Code, version: Version, now: Instant) -> None:
    """Set the anchor, once; where it starts the code's life, set its end."""
    if not codes.mark_shown(conn, code.id, now):
        return
    if version.campaign.code.valid_from == "shown":
        codes.set_expiry(conn, [code.id], journey.expiry(version.campaign, now))
    events.append(conn, Event("code.shown", now, code.campaign_id, code.id))


def _record_external(
    conn: Connection,
    text: str,
    folded: str,
    campaign_id: str | None,
    player_id: str | None,
    versions: Versions,
    now: Instant,
) -> Code:
    version = _external_campaign(conn, campaign_id, versions)
    campaign = version.campaign
    anchor = now if campaign.code.valid_from == "issued" else None
    code_id = codes.record_external(
        conn,
        text,
        folded,
        campaign_id=campaign.id,
        campaign_version=version.number,
        player_id=player_id,
        expires_at=journey.expiry(campaign, anchor),
        max_redemptions=campaign.code.max_redemptions,
        now=now,
    )
    if code_id is None:  # recorded by another request in this very moment
        return codes.by_folded(conn, [folded], lock=True)[folded]
    holder = {} if player_id is None else {"player_id": player_id}
    events.append(conn, Event("code.issued", now, campaign.id, code_id, {"external": True, **holder}))
    return codes.by_ids(conn, [code_id])[code_id]


def _external_campaign(conn: Connection, campaign_id: str | None, versions: Versions) -> Version:
    """The campaign that an unknown code is recorded for."""
    if campaign_id is not None:
        current = campaigns.in_force(conn, campaign_id)
        if current is None:
            raise UnknownCampaign(campaign_id)
        version = versions.get(conn, campaign_id, current.version)
        if not version.campaign.allow_external_codes:
            raise NotFound("unknown_code", f"Campaign {campaign_id!r} takes no codes but its own.")
        return version
    found = [versions.get(conn, current.id, current.version) for current in campaigns.all_in_force(conn)]
    takers = [version for version in found if version.campaign.allow_external_codes]
    if not takers:
        raise NotFound("unknown_code", "No such code is recorded, and no campaign allows external codes.")
    if len(takers) > 1:
        names = ", ".join(sorted(version.campaign.id for version in takers))
        raise InputError(
            "ambiguous_campaign", f"Several campaigns allow external codes ({names}): name one in `campaign`."
        )
    return takers[0]


def _is_anothers(code: Code, player_id: str | None) -> bool:
    return player_id is not None and code.player_id is not None and code.player_id != player_id


def _another_players() -> Conflict:
    return Conflict("other_player", "The code is another player's.")
