"""A story in which everything happens that can happen to a code, and a look at what the source can record."""

from __future__ import annotations

import ast
import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from promocast.channels.outbox import Outbox
from promocast.errors import Conflict
from promocast.flows import revoke, settle, verify
from promocast.flows.deliver import deliver
from promocast.flows.settle import Settling
from promocast.flows.sweep import sweep
from promocast.ledger.codes import Code
from promocast.model import DAY, HOUR, Message, Report
from promocast.settings import SweepSettings
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.desk import POLICIES, delivery, desk_of, no_jitter, planned, returns_of
from tests.flows.test_show import act, save

SOURCE = Path(__file__).parents[2] / "src" / "promocast"

# A few rules that call, without a body of their own; and a fallback.
STORY = CAMPAIGN.replace("name =", "allow_external_codes = true\nname =") + "".join(
    f"\n[[journey]]\n{rule}\n"
    for rule in (
        'on = "code.issued"\ncall = "crm"',
        'on = "client_action"\naction = "CODE_IS_SHOWN"\ncall = "crm"',
        'on = "delivery.failed"\nof = "sms"\ncall = "crm"',
        'on = "delivery.failed"\nof = "sms"\nsend = ["email"]',
    )
)
# And the other events that can be called for.
CALLED_FOR: Final = STORY + "".join(
    f'\n[[journey]]\non = "{event}"\ncall = "crm"\n'
    for event in (
        "code.shown",
        "code.rolled_back",
        "code.expired",
        "code.revoked",
        "delivery.sent",
        "delivery.delivered",
        "deposit.refused",
    )
)


@dataclass
class Told:
    """The codes of the story by their players, and the calls that were made."""

    codes: dict[str, Code] = field(default_factory=dict)
    calls: list[Message] = field(default_factory=list)


def everything_happens(bench: Bench, loop: asyncio.AbstractEventLoop, story: str = STORY) -> Told:
    """ann is shown her code, another reports it, she deposits too little, then enough, which is undone; bob's SMS
    arrives; carl's never does; dora's code is revoked; a CRM brings a code of its own, and says later whose it is; a
    week passes."""
    bench.apply(story)
    told = Told({code.player_id or "": code for code in bench.issue("ann", "bob", "carl", "dora")})
    outboxes = {channel: Outbox() for channel in ("popup", "email", "sms", "call")}
    desk = desk_of(bench, loop, outboxes)
    for channel in ("popup", "email"):
        deliver(desk, channel, planned(bench, channel))
    _ann(bench, told.codes["ann"])
    save(bench, "CRM-77")
    told.codes["of the CRM"] = save(bench, "CRM-77", player_id="ann")
    revoke.revoke(
        bench.ledger,
        told.codes["dora"].code,
        bench.clock(),
        versions=bench.versions,
        ring=bench.ring,
        by="support",
        reason="leaked",
    )

    bench.clock.advance(HOUR)
    deliver(desk, "sms", planned(bench, "sms"))
    settling = Settling(bench.ledger, returns_of(bench), POLICIES, bench.versions, no_jitter, bench.ring)
    of = {delivery(bench, row).code_id: returns_of(bench).key_of(row) for row in planned(bench, "sms")}
    reports = Report(of[told.codes["bob"].id], "delivered"), Report(of[told.codes["carl"].id], "rejected", why="30003")
    settle.settle(settling, "sms", reports, bench.clock())
    deliver(desk, "call", planned(bench, "call"))
    told.calls = outboxes["call"].sent

    bench.clock.advance(8 * DAY)
    sweep(
        bench.ledger,
        settings=SweepSettings(ring_after=0),
        versions=bench.versions,
        policies=POLICIES,
        clock=bench.clock,
        jitter=no_jitter,
        ring=bench.ring,
        short=lambda _: True,
    )
    deliver(desk, "call", planned(bench, "call"))
    return told


def _ann(bench: Bench, code: Code) -> None:
    act(bench, code.code, player_id="ann")
    with pytest.raises(Conflict):
        act(bench, code.code, eid="e-2", player_id="bob")
    with pytest.raises(Conflict):
        save(bench, code.code, player_id="bob")
    bench.deposit("tx-1", player_id="ann", promo_code=code.code, amount="15.00")
    verify.judge(
        bench.ledger,
        ["tx-1"],
        versions=bench.versions,
        terms=bench.terms,
        clock=bench.clock,
        ring=bench.ring,
        anew=verify.Anew("support", "she asked"),
    )
    for status in ("approved", "rolled_back"):
        bench.deposit("tx-2", player_id="ann", promo_code=code.code, status=status)


def recorded_types() -> dict[str, bool]:
    """{type: whether it is a code's} of every event that the source appends."""
    found: dict[str, bool] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Event" and node.args:
                kind = node.args[0]
                assert isinstance(kind, ast.Constant), f"{path.name}:{node.lineno}: an event's type is written out"
                named = {keyword.arg for keyword in node.keywords}
                found[str(kind.value)] = len(node.args) > 3 or bool(named & {"code_id", "subjects"})
    return found
