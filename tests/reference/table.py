"""A table at which the product and the reference are told the same story, step by step, and then compared.

The product's side is its own flows on a real ledger; the reference's side is a log. A step that the product refuses
must be one that the reference refuses, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from promocast import jobs
from promocast.campaign import document
from promocast.campaign.document import LIKELY_ALPHABET
from promocast.errors import Conflict, InputError, NotFound
from promocast.flows import aftermath, issue, revoke, show, tell, validate, verify
from promocast.flows.validate import Asked
from promocast.flows.verify import Anew
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, campaigns, codes, deposits, players
from promocast.ledger.players import Player
from promocast.model import Instant, rfc3339
from promocast.settings import VerificationSettings
from tests.conftest import StoppedClock
from tests.reference import history
from tests.reference.history import Entry
from tests.reference.model import replay

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(instant: Instant) -> datetime:
    return _EPOCH + timedelta(milliseconds=instant)


def instant_of(moment: datetime) -> Instant:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def nth_code(number: int) -> str:
    """What the table's dice make of the n-th code that is issued."""
    return LIKELY_ALPHABET[number] * 8


class Sent:
    """A popup that was sent; of its delivery the flow needs no more."""

    id, channel, slot = 1, "popup", 0

    def __init__(self, code_id: int) -> None:
        self.code_id = code_id


class Table:
    def __init__(self, ledger: Ledger, clock: StoppedClock) -> None:
        self.ledger, self.clock = ledger, clock
        self.versions, self.terms = Versions(), VerificationSettings()
        self.rung: set[int | str] = set()
        self.log: list[Entry] = []
        self.parts: list[tuple[int, str, str, str]] = []
        self.issued = 0
        self.requests = 0
        self.seen: list[dict[str, Any]] = []
        self.validated: list[dict[str, Any]] = []
        self._documents: dict[str, Entry] = {}

    def note(self, what: str, **facts: Any) -> None:
        self.log.append({"what": what, "at": moment_of(self.clock()), **facts})

    def ring(self, queue: str, ids: Sequence[int | str]) -> None:
        if queue == jobs.VERIFY:
            self.rung.update(ids)

    # Steps

    def apply(self, campaign: str, terms: Entry) -> None:
        if self._documents.get(campaign) == terms:
            return  # the same document is no new version
        self._documents[campaign] = terms
        made = document.from_json(as_document(campaign, terms), "test")
        body = orjson.dumps(made.model_dump(mode="json")).decode()
        with self.ledger.begin() as conn:
            campaigns.apply(conn, campaign, body, jobs.digest_of(body), self.clock())
        self.note("apply", campaign=campaign, terms=terms)

    def accept(self, player: str, campaign: str) -> None:
        self.requests += 1
        request = f"r{self.requests}"
        recipients = [{"player_id": player, "addresses": {}}]
        job = {"request_id": request, "campaign": campaign, "recipients": recipients}
        allowed = history.may_be_accepted(self.log, campaign, moment_of(self.clock()))
        try:
            part_id = issue.accept(self.ledger, jobs.read_issue_job(job), self.clock(), versions=self.versions).part_id
        except InputError:
            assert not allowed
            return
        assert allowed
        assert part_id is not None
        self.note("accepted", request=request, campaign=campaign)
        self.parts.append((part_id, request, campaign, player))

    def issue(self) -> None:
        """Issue the part that was accepted first, if one is left."""
        if not self.parts:
            return
        part_id, request, campaign, player = self.parts.pop(0)
        allowed = history.may_be_issued(self.log, request, player, moment_of(self.clock()))
        number = self.issued
        while history.find(self.log, nth_code(number)) is not None:
            number += 1  # a CRM has reported that one as its own
        count = self._issue_part(part_id, number)
        assert count == allowed
        if count:
            self.issued = number + 1
            self.note("issued", code=nth_code(number), player=player, campaign=campaign, request=request)

    def issue_again(self, part_id: int) -> None:
        assert self._issue_part(part_id, self.issued) == 0

    def sent(self, code: str) -> None:
        found = self._code(code)
        if found is None:
            return
        with self.ledger.begin() as conn:
            aftermath.sent(conn, self.versions, [Sent(found.id)], self.clock())
        self.note("sent", code=code, player=None)

    def report(self, code: str, player: str | None, campaign: str) -> None:
        """What a CRM saves: a code of ours is shown, any other is recorded where its campaign takes it."""
        holding = history.find(self.log, code)
        if holding is None:
            allowed = history.current_terms(self.log, campaign)["external"]
        else:
            allowed = not self._anothers(holding, player)
        try:
            show.saved(
                self.ledger,
                code,
                self.clock(),
                versions=self.versions,
                ring=self.ring,
                player_id=player,
                campaign_id=campaign,
            )
        except (Conflict, NotFound):
            assert not allowed
            return
        assert allowed
        if holding is None:
            self.note("external", code=code, player=player, campaign=campaign)
        self.note("shown", code=code, player=player)

    def action(self, code: str, player: str | None) -> None:
        """What the player's browser tells."""
        holding = history.find(self.log, code)
        action = {
            "eid": f"e{len(self.log):06}",
            "event_type": "client_action",
            "user_ext_id": player,
            "payload": {"client_action": "CODE_IS_SHOWN", "code": code},
        }
        try:
            told = show.client_action(
                self.ledger,
                jobs.ClientAction.model_validate(action),
                self.clock(),
                versions=self.versions,
                ring=self.ring,
                grace=self.terms.grace,
            )
        except Conflict:
            assert holding is not None
            assert self._anothers(holding, player)
            return
        assert (told == "waiting") == (holding is None)
        assert holding is None or not self._anothers(holding, player)
        self.note("early" if holding is None else "shown", code=code, player=player)

    def revoke(self, code: str) -> None:
        holding = history.find(self.log, code)
        try:
            revoke.revoke(self.ledger, code, self.clock(), versions=self.versions, ring=self.ring, by="test")
        except NotFound:
            assert holding is None
            return
        assert holding is not None
        self.note("revoked", holding=holding)

    def blocks(self, player: str, blocks: list[dict[str, Any]]) -> None:
        stored = [block | {"until": block["until"] and instant_of(block["until"])} for block in blocks]
        with self.ledger.begin() as conn:
            players.put(conn, Player(player, None, None, {}, stored), self.clock())
        self.note("blocks", player=player, blocks=blocks)

    def tell(self, messages: Sequence[Entry]) -> None:
        """Messages about deposits, recorded together."""
        tell.record(self.ledger, [jobs.read_deposit(as_message(message)) for message in messages], self.clock())
        for message in messages:
            self.note("deposit", **message)

    def validate(self, claim: Entry) -> None:
        asked = Asked(claim["player"], claim["amount"], claim["currency"], claim["method"], claim["index"])
        self.validated.append(
            validate.validate(
                self.ledger, claim["quote"], asked, self.clock(), versions=self.versions, terms=self.terms
            )
        )
        self.note("validate", **claim)

    def reverify(self, deposit: str) -> None:
        self._judge([deposit], Anew("test", "asked for"))
        self.note("reverify", deposit=deposit)

    def settle(self) -> None:
        """Have judged all that is due, as workers and the sweeper would; look at what came of it."""
        show.settle_early(self.ledger, self.clock(), 1_000, versions=self.versions, ring=self.ring)
        judged = 0
        while due := self._due():
            self._judge(due)
            judged += 1
            assert judged < 10, "judging never ends"
        self.note("settle")
        told = list(dict.fromkeys(entry["id"] for entry in self.log if entry["what"] == "deposit"))
        if judged:
            self.seen.append(self.verdicts(told))
            self.note("looked")

    def verdicts(self, ids: Sequence[str]) -> dict[str, Any]:
        with self.ledger.read() as conn:
            known = {deposit: deposits.get(conn, deposit) for deposit in ids}
        return {deposit: one.verdict for deposit, one in known.items() if one is not None}

    def judge_again(self, ids: Sequence[str]) -> None:
        """As a worker that is rung for what may be judged already; the log says nothing of it."""
        self._judge(ids)

    # What steps need

    def _due(self) -> list[str]:
        with self.ledger.read() as conn:
            due = deposits.due(conn, self.clock(), 1_000)
        assert self.rung <= set(due), "what is rung for is due"
        self.rung.clear()
        return due

    def _issue_part(self, part_id: int, number: int) -> int:
        return issue.issue_part(
            self.ledger,
            part_id,
            versions=self.versions,
            clock=self.clock,
            random=lambda count: bytes([number]) * count,
            ring=self.ring,
        )

    def _judge(self, ids: Sequence[str], anew: Anew | None = None) -> None:
        verify.judge(
            self.ledger, ids, versions=self.versions, terms=self.terms, clock=self.clock, ring=self.ring, anew=anew
        )

    def _code(self, text: str) -> codes.Code | None:
        folded = history.fold(text)
        with self.ledger.read() as conn:
            return codes.by_folded(conn, [folded]).get(folded)

    def _anothers(self, holding: Entry, player: str | None) -> bool:
        return player is not None and history.holder(self._past(), holding) not in (None, player)

    def _past(self) -> list[Entry]:
        return replay(self.log)


def as_document(campaign: str, terms: Entry) -> dict[str, Any]:
    """A campaign in the words of contract section 6."""
    window = {name: rfc3339(instant_of(terms[name])) for name in ("starts_at", "ends_at") if terms[name] is not None}
    code = {"label_tag": "promo", "valid_from": terms["valid_from"], "holder_only": terms["holder_only"]}
    code["max_redemptions"] = terms["max_redemptions"]
    if terms["valid_for"] is not None:
        code["valid_for"] = terms["valid_for"] // timedelta(milliseconds=1)
    redemption = {name: terms[name] for name in ("match", "payment_methods", "deposit_index")}
    redemption |= {name: as_texts(terms[name]) for name in ("min_deposit", "max_deposit")}
    if terms["per_player"] is not None:
        redemption["per_player"] = terms["per_player"]
    budget = {"redemptions": terms["budget_redemptions"], "amount": as_texts(terms["budget_amount"])}
    limits = {name: value for name, value in budget.items() if value}
    made = {
        "id": campaign,
        "allow_external_codes": terms["external"],
        "label_tags": {"promo": {"type": "random"}},
        "code": code,
        "redemption": redemption | ({"budget": limits} if limits else {}),
        **window,
    }
    if terms["reward"] is not None:
        reward = {n: as_texts(v) if n == "fixed" else v for n, v in terms["reward"].items()}
        reward = {n: str(v) if n == "percent" else v for n, v in reward.items()}
        made["reward"] = reward | ({"max": as_texts(terms["reward_max"])} if terms["reward_max"] else {})
    return made


def as_texts(amounts: dict[str, Decimal]) -> dict[str, str]:
    return {currency: str(amount) for currency, amount in amounts.items()}


def as_message(message: Entry) -> dict[str, Any]:
    """A deposit message in the words of contract section 4."""
    said = {
        "deposit_id": message["id"],
        "player_id": message["player"],
        "status": message["status"],
        "amount": None if message["amount"] is None else str(message["amount"]),
        "currency": message["currency"],
        "payment_method": message["method"],
        "deposit_index": message["index"],
        "promo_code": message["quote"],
        "occurred_at": message["occurred_at"] and rfc3339(instant_of(message["occurred_at"])),
    }
    return {name: value for name, value in said.items() if value is not None}
