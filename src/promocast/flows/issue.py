"""Issue: accept a job into the ledger, then give each of its recipients a code and plan what its journey sends.

Two transactions, so that a job is recorded whole before anything else is done with it: what is accepted is issued even
if this process dies in between, and issued once however often it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from promocast import jobs, metrics
from promocast.campaign import journey, label_tags
from promocast.campaign.journey import Cause
from promocast.errors import Conflict, InputError, UnknownCampaign
from promocast.flows import Ring, rules, waiting
from promocast.flows.brake import brake
from promocast.flows.rules import Fired
from promocast.flows.versions import Version, Versions
from promocast.jobs import IssueJob
from promocast.ledger import (
    Connection,
    Ledger,
    campaigns,
    codes,
    events,
    inbox,
    orders,
    players,
    requests,
)
from promocast.ledger.codes import NewCode
from promocast.ledger.events import Event
from promocast.ledger.requests import Part
from promocast.model import Clock, Instant, RandomBytes, rfc3339
from promocast.settings import BrakeSettings

# An alphabet in which most draws are taken needs many; one in which all are taken never ends.
MOST_DRAWS: Final = 64
# Why a recipient has no code whom the campaign holds out, to measure what it does to the others.
CONTROL_GROUP: Final = "control_group"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the producer is told: {accepted, rejected, and where there are any, warnings}.

    `part_id` is None where this part was accepted before; `held` says why the request waits to be confirmed.
    """

    request_id: str
    answer: dict[str, Any]
    part_id: int | None
    held: str | None = None

    @property
    def accepted(self) -> int:
        return int(self.answer["accepted"])

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return list(self.answer["rejected"])

    def as_json(self) -> dict[str, Any]:
        told = {"request_id": self.request_id, **self.answer}
        return told if self.held is None else told | {"held": self.held}


def accept(
    ledger: Ledger,
    job: IssueJob,
    now: Instant,
    *,
    versions: Versions,
    whole: bool = False,
    limits: BrakeSettings | None = None,
) -> Accepted:
    """Record a part of a request. The same part again is answered as the first time.

    Args:
        limits: how large a request may be before somebody has to confirm it; None lets all pass.
        whole: the part is all of its request: the same request_id with another body is refused.

    Raises:
        UnknownCampaign: no such campaign is in force.
        Conflict: the request_id belongs to another campaign, or (`whole`) to another body.
        InputError: `campaign_ended`.
    """
    answer: dict[str, Any] = {
        "accepted": len(job.recipients),
        "rejected": [rejection.as_json() for rejection in job.rejected],
    }
    if job.warned:
        answer["warnings"] = [warned.as_json() for warned in job.warned]
    recipients = [(recipient.player_id, recipient.stored()) for recipient in job.recipients]
    with ledger.begin() as conn:
        current = campaigns.in_force(conn, job.campaign)
        if current is None:
            raise UnknownCampaign(job.campaign)
        request_id, campaign_id, is_new = requests.open_request(conn, job.request_id, job.campaign, now)
        if not is_new:
            told = requests.answer(conn, request_id, job.digest)
            if told is not None:
                return Accepted(job.request_id, told, None)
            if whole:
                raise Conflict("request_id_reused", f"Request {job.request_id!r} was made before, with another body.")
            if campaign_id != job.campaign:
                detail = f"Request {job.request_id!r} belongs to campaign {campaign_id!r}."
                raise Conflict("other_campaign", detail)
        ends_at = versions.get(conn, current.id, current.version).campaign.ends_at
        if ends_at is not None and now >= ends_at:
            raise InputError("campaign_ended", f"Campaign {job.campaign!r} ended {rfc3339(ends_at)}.")
        part_id = requests.add_part(conn, request_id, current.version, job.digest, recipients, answer, now)
        if part_id is None:  # the same part, at the same time
            told = requests.answer(conn, request_id, job.digest) or answer
            return Accepted(job.request_id, told, None)
        held = brake(conn, request_id, job.request_id, current.id, len(recipients), settings=limits, now=now)
    return Accepted(job.request_id, answer, part_id, held)


def accept_message(
    ledger: Ledger, values: Any, now: Instant, *, versions: Versions, limits: BrakeSettings | None = None
) -> int | None:
    """A job from the queue: the row id of its part, or None where there is nothing new to issue.

    A job that cannot be understood goes to the inbox, whole. Raises only where the ledger does not answer.
    """
    try:
        return accept(ledger, jobs.read_issue_job(values), now, versions=versions, limits=limits).part_id
    except InputError as exc:
        detail = "; ".join([exc.detail, *(f"{fault.pointer}: {fault.reason}" for fault in exc.faults)])
        with ledger.begin() as conn:
            inbox.put(conn, "job", exc.reason, detail, jobs.as_bytes(values), now)
        return None


def issue_part(
    ledger: Ledger, part_id: int, *, versions: Versions, clock: Clock, random: RandomBytes, ring: Ring
) -> int:
    """Issue the codes of an accepted part, plan their deliveries, and ring for those that are due; how many codes.

    Repeating it issues nothing further: (request, player) is unique in the ledger.
    """
    with ledger.begin() as conn:
        part = requests.part(conn, part_id)
        order = orders.of_part(conn, part_id)
        if part is None or order is None or part.issued_at is not None or order.held_back:
            return 0
        now = clock()
        if order.cancelled_at is not None:
            refused = [{"player_id": player_id, "reason": "cancelled"} for player_id, _ in part.recipients]
            requests.mark_issued(conn, part.id, refused, now)
            return 0
        version = versions.get(conn, part.campaign_id, part.campaign_version)
        open_to, refused = _admissible(conn, part, version, now)
        earlier = codes.issued_to(conn, part.request_id, [player_id for player_id, _ in open_to])
        refused += [{"player_id": player_id, "reason": "duplicate_recipient"} for player_id in sorted(earlier)]
        open_to = [(player_id, stored) for player_id, stored in open_to if player_id not in earlier]
        issued, without = _record_codes(conn, part, version, open_to, random, now)
        refused += [{"player_id": player_id, "reason": "no_code_left"} for player_id in without]
        fired = [
            Fired(version.campaign, i, orjson.loads(new.recipient), Cause("code.issued")) for i, new in issued.items()
        ]
        planned = rules.fire(conn, fired, now)
        if issued:
            events.append(conn, Event("code.issued", now, part.campaign_id, subjects=sorted(issued)))
        requests.mark_issued(conn, part.id, refused, now)
    metrics.CODES_ISSUED.labels(part.campaign_id).inc(len(issued))
    rules.ring_due(ring, planned, now)
    waiting.wake_for(ledger, [new.folded for new in issued.values()], now, ring)
    return len(issued)


def _admissible(
    conn: Connection, part: Part, version: Version, now: Instant
) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """The recipients who may be given a code, and those who may not, with the reason."""
    if version.campaign.ends_at is not None and now >= version.campaign.ends_at:
        return [], [{"player_id": player_id, "reason": "campaign_ended"} for player_id, _ in part.recipients]
    known = players.by_ids(conn, [player_id for player_id, _ in part.recipients])
    excluded = {player_id for player_id, player in known.items() if player.excluded(now)}
    refused = dict.fromkeys(excluded, "player_excluded")
    for player_id, _ in part.recipients:
        if journey.held_out(version.campaign, player_id):
            refused.setdefault(player_id, CONTROL_GROUP)
    return (
        [(player_id, stored) for player_id, stored in part.recipients if player_id not in refused],
        [{"player_id": player_id, "reason": refused[player_id]} for player_id in sorted(refused)],
    )


def _record_codes(
    conn: Connection,
    part: Part,
    version: Version,
    recipients: Sequence[tuple[str, str]],
    random: RandomBytes,
    now: Instant,
) -> tuple[dict[int, NewCode], list[str]]:
    """Draw and record a code for each recipient, drawing again for those whose code somebody else has.

    ({row id: code}, the players for whom no free code was found).
    """
    terms = version.campaign.code
    anchor = now if terms.valid_from == "issued" else None
    issued: dict[int, NewCode] = {}
    missing = dict(recipients)
    for _ in range(MOST_DRAWS):
        if not missing:
            break
        drawn = _drawn(version, list(missing.items()), random)
        recorded = codes.record(
            conn,
            list(drawn.values()),
            campaign_id=part.campaign_id,
            campaign_version=part.campaign_version,
            request_id=part.request_id,
            expires_at=journey.expiry(version.campaign, anchor),
            max_redemptions=terms.max_redemptions,
            now=now,
        )
        for player_id, code_id in recorded.items():
            issued[code_id] = drawn[player_id]
            del missing[player_id]
    return issued, list(missing)


def _drawn(version: Version, recipients: Sequence[tuple[str, str]], random: RandomBytes) -> dict[str, NewCode]:
    """{player: a freshly drawn code}"""
    tags = version.campaign.label_tags
    own = version.campaign.code.label_tag
    drawn = label_tags.draw(tags[own], len(recipients), random)
    others = {name: label_tags.draw(tag, len(recipients), random) for name, tag in tags.items() if name != own}
    new = {}
    for i, (code, (player_id, stored)) in enumerate(zip(drawn, recipients, strict=True)):
        labels = orjson.dumps({name: values[i] for name, values in others.items()}).decode() if others else None
        new[player_id] = NewCode(code, label_tags.fold(code), player_id, stored, labels)
    return new
