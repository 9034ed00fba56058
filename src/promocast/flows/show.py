"""Show: a code was seen. The player's browser says so by a client action, a CRM by "save the code".

Both move journeys on by `code.shown`, once in a code's life. Only the player's browser moves them on by the client
action itself: what a CRM reports never does, or the two would call each other in a circle.
"""

from __future__ import annotations

from typing import Literal

from promocast.campaign import journey
from promocast.campaign.journey import Cause
from promocast.campaign.label_tags import fold
from promocast.errors import Conflict, InputError, NotFound, UnknownCampaign
from promocast.flows import Ring, rules, waiting
from promocast.flows.rules import Fired, Planned
from promocast.flows.versions import Version, Versions
from promocast.jobs import ClientAction
from promocast.ledger import Connection, Ledger, campaigns, codes, early, events, inbox
from promocast.ledger.codes import Code
from promocast.ledger.early import Early
from promocast.ledger.events import Event
from promocast.model import Instant


def client_action(
    ledger: Ledger, action: ClientAction, now: Instant, *, versions: Versions, ring: Ring, grace: int
) -> Literal["recorded", "repeated", "waiting", "unknown_code"]:
    """Record a client action: the code is shown, and the journey's rules for the action are planned.

    `repeated`: the same `eid` came before. `waiting`: no such code is recorded; the action is kept in case it will be.

    Args:
        grace: for how many milliseconds; with 0 it is not kept, and the answer is `unknown_code`.

    Raises:
        Conflict: the code is another player's. That is recorded, and starts no clock.
    """
    planned: list[tuple[str, int, Instant]] = []
    conflict: Conflict | None = None
    with ledger.begin() as conn:
        name, folded = action.payload.client_action, fold(action.payload.code)
        code = codes.by_folded(conn, [folded], lock=True).get(folded)
        if code is None:
            if not grace:
                return "unknown_code"
            body = action.model_dump_json(exclude_none=True)
            early.keep(conn, Early(action.eid, folded, action.user_ext_id, body, now + grace), now)
        else:
            anothers = _is_anothers(code, action.user_ext_id)
            data = {"action": name, "player_id": action.user_ext_id, "refused": "other_player" if anothers else None}
            event = Event("client_action", now, code.campaign_id, code.id, {k: v for k, v in data.items() if v})
            event_id = events.append_once(conn, event, f"client_action:{action.eid}")
            if event_id is None:
                return "repeated"
            if anothers:
                conflict = _another_players()
            else:
                planned = _act(conn, code, action, event_id, versions, now)
    if code is None:
        waiting.look_for(ledger, [folded], now, ring)
        return "waiting"
    if conflict is not None:
        raise conflict
    rules.ring_due(ring, planned, now)
    return "recorded"


def _act(
    conn: Connection, code: Code, action: ClientAction, event_id: int, versions: Versions, now: Instant
) -> Planned:
    """The code is shown, and the journey's rules for the action are planned."""
    version = versions.get(conn, code.campaign_id, code.campaign_version)
    if code.player_id is None and action.user_ext_id is not None:
        codes.bind(conn, {code.id: action.user_ext_id})
    planned = mark_shown(conn, code, version, now)
    name = action.payload.client_action
    cause = Cause("client_action", action=name)
    fired = Fired(version.campaign, code.id, code.recipient, cause, event_id, event_key=name)
    return planned + rules.fire(conn, [fired], now)


def settle_early(ledger: Ledger, now: Instant, limit: int, *, versions: Versions, ring: Ring) -> int:
    """Client actions that came before their code: apply those whose code is recorded by now, and move to the inbox
    those that have waited for the grace time; how many were looked at."""
    with ledger.read() as conn:
        found = early.due(conn, now, limit)
    for one in found:
        action = ClientAction.model_validate_json(one.body)
        try:
            result = client_action(ledger, action, now, versions=versions, ring=ring, grace=0)
        except Conflict:
            result = "recorded"  # as another player's; nobody is there to be told
        with ledger.begin() as conn:
            if result != "unknown_code":
                early.take(conn, one.eid)
            elif now < one.until:
                early.wait_on(conn, one.eid)
            elif early.take(conn, one.eid):
                name = action.payload.client_action
                detail = f"client action {name} for a code that was not recorded within the grace time"
                inbox.put(conn, "client_action", "unknown_code", detail, one.body.encode(), now, one.player_id)
    return len(found)


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
    planned: Planned = []
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
            if code.player_id is None and player_id is not None and codes.bind(conn, {code.id: player_id}):
                bound = Event("code.bound", now, code.campaign_id, code.id, {"player_id": player_id})
                events.append(conn, bound)
            planned = mark_shown(conn, code, versions.get(conn, code.campaign_id, code.campaign_version), now)
            code = codes.by_ids(conn, [code.id])[code.id]
    rules.ring_due(ring, planned, now)
    waiting.wake_for(ledger, [folded], now, ring)
    if anothers:
        raise _another_players()
    return code


def mark_shown(conn: Connection, code: Code, version: Version, now: Instant) -> Planned:
    """Set the anchor, once; where it starts the code's life, set its end. Plan the rules that wait for it."""
    if not codes.mark_shown(conn, code.id, now):
        return []
    if version.campaign.code.valid_from == "shown":
        codes.set_expiry(conn, [code.id], journey.expiry(version.campaign, now))
    event_id = events.append(conn, Event("code.shown", now, code.campaign_id, code.id))
    return rules.fire(conn, [Fired(version.campaign, code.id, code.recipient, Cause("code.shown"), event_id)], now)


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
