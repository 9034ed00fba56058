"""A stage on which every event of a code can be made to happen, and what a journey sends can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from promocast.campaign.caps import Cap
from promocast.channels.outbox import Outbox
from promocast.flows import deliver, revoke, settle, show, sweep
from promocast.flows.settle import Settling
from promocast.ledger import deliveries, players
from promocast.ledger.codes import Code
from promocast.ledger.players import Player
from promocast.model import CHANNELS, Instant, Message, Outcome, Rejected, Report, Sent
from promocast.settings import SweepSettings
from tests.flows.conftest import Bench, job_for
from tests.flows.desk import POLICIES, delivery, desk_of, no_jitter, planned, returns_of
from tests.flows.test_deliver import shown_by

HEAD = """
id = "{id}"
timezone = "Europe/Malta"
{more}
[label_tags.promo_code]
type = "random"

[code]
label_tag = "promo_code"
{code}

[redemption]
min_deposit = {{ EUR = "20.00" }}

[templates.popup]
title = "Hi {{{{ player.first_name }}}}"
body = "{{{{ label.promo_code }}}} after {{{{ event.type }}}}"
"""


def source(*rules: str, id_: str = "welcome", more: str = "", code: str = 'valid_for = "7d"') -> str:
    return HEAD.format(id=id_, more=more, code=code) + "".join(f"\n[[journey]]\n{rule}\n" for rule in rules)


@dataclass
class Stage:
    bench: Bench
    loop: asyncio.AbstractEventLoop
    answers: dict[str, Callable[[Message], Outcome]] = field(default_factory=dict)
    outboxes: dict[str, Outbox] = field(default_factory=dict)
    caps: Sequence[Cap] = ()

    def __post_init__(self) -> None:
        self.outboxes = {channel: Outbox(self._answer) for channel in CHANNELS}

    def _answer(self, message: Message) -> Outcome:
        answer = self.answers.get(message.channel)
        return Sent() if answer is None else answer(message)

    def deliver(self, *channels: str, **changes: Any) -> None:
        """Send what is due on the channels; on all of them where none is named."""
        adapters = {**self.outboxes, "push.fcm": self.outboxes["push"], "push.webpush": self.outboxes["push"]}
        desk = desk_of(self.bench, self.loop, adapters, caps=self.caps, **changes)
        for channel in channels or CHANNELS:
            deliver.deliver(desk, channel, planned(self.bench, channel))

    def sent(self, channel: str) -> list[Message]:
        return self.outboxes[channel].sent

    def states(self, channel: str) -> list[tuple[str, str | None]]:
        """[(state, reason)] of all deliveries on a channel, as they were planned."""
        rows = [delivery(self.bench, i) for i in planned(self.bench, channel)]
        return [(row.state, row.reason) for row in rows]

    def due(self, channel: str) -> list[Instant | None]:
        return [delivery(self.bench, i).due_at for i in planned(self.bench, channel)]

    def issue(self, *player_ids: str, campaign: str = "welcome", request_id: str = "r-1", **facts: Any) -> list[Code]:
        """Issue to recipients with an address on every channel, and the given facts put over each."""
        job = job_for(*player_ids, campaign=campaign, request_id=request_id)
        for recipient in job["recipients"]:
            recipient["addresses"] |= {"telegram": "1001", "push": [{"kind": "fcm", "token": "t"}]}
            recipient.update(facts)
        return self.bench.issue_job(job)

    def sweep(self) -> None:
        sweep.sweep(
            self.bench.ledger,
            settings=SweepSettings(ring_after=0),
            versions=self.bench.versions,
            policies=POLICIES,
            clock=self.bench.clock,
            jitter=no_jitter,
            ring=self.bench.ring,
            short=lambda _: True,
        )

    def hear(self, says: Any, channel: str, delivery_id: int) -> None:
        bench, returns = self.bench, returns_of(self.bench)
        settling = Settling(bench.ledger, returns, POLICIES, bench.versions, no_jitter, bench.ring)
        settle.settle(settling, channel, [Report(returns.key_of(delivery_id), says)], bench.clock())

    def save(self, code: Code) -> None:
        """The CRM saves the code."""
        show.saved(self.bench.ledger, code.code, self.bench.clock(), versions=self.bench.versions, ring=self.bench.ring)

    def revoke(self, code: Code) -> None:
        bench = self.bench
        revoke.revoke(bench.ledger, code.code, bench.clock(), versions=bench.versions, ring=bench.ring, by="ann")

    def exclude(self, player_id: str) -> None:
        blocks = [{"type": "Excluded", "active": True}]
        with self.bench.ledger.begin() as conn:
            players.put(conn, Player(player_id, None, None, {}, blocks), self.bench.clock())

    def happen(self, event: str, code: Code) -> None:
        """Make it happen to an issued code; of a delivery on the popup channel. Once more changes nothing."""
        match event:
            case "code.issued":
                pass
            case "code.shown":
                self.save(code)
            case "client_action":
                shown_by(self.bench, code)
            case "code.redeemed":
                self.bench.deposit(player_id=code.player_id, promo_code=code.code)
            case "code.rolled_back":
                self.happen("code.redeemed", code)
                self.bench.deposit(player_id=code.player_id, promo_code=code.code, status="rolled_back")
            case "code.expired":
                self.bench.clock.now = code.expires_at or self.bench.clock()
                self.sweep()
            case "code.revoked":
                self.revoke(code)
            case "delivery.failed":
                self.answers["popup"] = lambda _: Rejected("410", address_dead=False)
                self.deliver("popup")
            case "delivery.sent":
                self.deliver("popup")
            case "delivery.delivered":
                self.deliver("popup")
                self.hear("delivered", "popup", planned(self.bench, "popup")[0])
            case "deposit.refused":
                self.bench.deposit("tx-low", player_id=code.player_id, promo_code=code.code, amount="5.00")
            case _:
                raise AssertionError(event)


def history(bench: Bench, code: Code, channel: str) -> list[dict[str, Any]]:
    with bench.ledger.read() as conn:
        return [dict(told) for told in deliveries.history(conn, code.id) if told["channel"] == channel]
