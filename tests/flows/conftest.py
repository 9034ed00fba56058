"""A bench for flows: a ledger, a campaign in force, and a bell that writes down what it was rung for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import orjson
import pytest

from promocast import jobs
from promocast.campaign import document
from promocast.campaign.document import Campaign
from promocast.flows import issue, tell, verify
from promocast.flows.issue import Accepted
from promocast.flows.versions import Versions
from promocast.jobs import IssueJob
from promocast.ledger import Ledger, campaigns, codes
from promocast.ledger.codes import Code
from promocast.settings import VerificationSettings
from tests.conftest import StoppedClock

CAMPAIGN = """
id = "welcome"
name = "Welcome deposit"

[label_tags.promo_code]
type = "random"
length = 8

[code]
label_tag = "promo_code"
valid_for = "7d"

[redemption]
min_deposit = { EUR = "20.00", USD = "25.00" }
max_deposit = { EUR = "500.00" }

[templates.popup]
title = "Hi {{ player.first_name }}"
body = "Your code: {{ label.promo_code }}"

[[journey]]
on = "code.issued"
send = ["popup", "email"]
when_shown = "CODE_IS_SHOWN"

[[journey]]
on = "client_action"
action = "CODE_IS_SHOWN"
call = "crm"
body = '{ "code" : "{{event.code}}" }'

[[journey]]
on = "code.issued"
after = "1h"
unless = ["code.shown"]
send = ["sms"]

[[journey]]
on = "code.redeemed"
call = "bonus-engine"
"""


@dataclass
class Bench:
    ledger: Ledger
    clock: StoppedClock
    versions: Versions = field(default_factory=Versions)
    rung: list[tuple[str, list[Any]]] = field(default_factory=list)
    terms: VerificationSettings = field(default_factory=VerificationSettings)

    def ring(self, queue: str, ids: Sequence[int | str]) -> None:
        self.rung.append((queue, list(ids)))

    def apply(self, source: str) -> Campaign:
        return self.put_in_force(self.parse(source))

    def put_in_force(self, campaign: Campaign) -> Campaign:
        body = orjson.dumps(campaign.model_dump(mode="json")).decode()
        with self.ledger.begin() as conn:
            campaigns.apply(conn, campaign.id, body, jobs.digest_of(body), self.clock())
        return campaign

    def parse(self, source: str) -> Campaign:
        return document.from_toml(source, "test.toml", _no_files)

    def accept(self, job: IssueJob, *, whole: bool = False) -> Accepted:
        return issue.accept(self.ledger, job, self.clock(), versions=self.versions, whole=whole)

    def issue(self, *player_ids: str, request_id: str = "r-1", campaign: str = "welcome") -> list[Code]:
        """Issue a code to each player; all codes that the ledger has of the request."""
        return self.issue_job(job_for(*player_ids, request_id=request_id, campaign=campaign))

    def issue_job(self, values: dict[str, Any]) -> list[Code]:
        """Issue a job; all codes that the ledger has of its request."""
        accepted = self.accept(jobs.read_issue_job(values))
        if accepted.part_id is not None:
            self.issue_part(accepted.part_id)
        with self.ledger.read() as conn:
            return codes.page(conn, request_ref=values["request_id"], limit=1_000)

    def issue_part(self, part_id: int) -> int:
        return issue.issue_part(
            self.ledger,
            part_id,
            versions=self.versions,
            clock=self.clock,
            random=os.urandom,
            ring=self.ring,
        )

    def deposit(self, deposit_id: str = "tx-1", **facts: Any) -> dict[str, Any]:
        """Tell a deposit and judge it; the verdict."""
        told = {"deposit_id": deposit_id, "player_id": "p1", "amount": "50.00", "currency": "EUR", "status": "approved"}
        ids = tell.record(self.ledger, [jobs.read_deposit(told | facts)], self.clock())
        return self.judge(*ids).get(deposit_id, {})

    def judge(self, *ids: str) -> dict[str, dict[str, Any]]:
        return verify.judge(
            self.ledger, ids, versions=self.versions, terms=self.terms, clock=self.clock, ring=self.ring
        )


def job_for(*player_ids: str, request_id: str = "r-1", campaign: str = "welcome") -> dict[str, Any]:
    return {
        "version": 1,
        "request_id": request_id,
        "campaign": campaign,
        "recipients": [
            {
                "player_id": player_id,
                "addresses": {"email": f"{player_id}@example.com", "sms": "+35699123456"},
                "attributes": {"first_name": "Ann"},
            }
            for player_id in player_ids
        ],
    }


def _no_files(path: PurePosixPath) -> str:
    raise FileNotFoundError(path)


@pytest.fixture
def bench(ledger: Ledger, clock: StoppedClock) -> Bench:
    made = Bench(ledger, clock)
    made.apply(CAMPAIGN)
    return made
