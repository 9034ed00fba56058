"""Triggers: every event of a code sets off the rules that wait for it, once; nothing goes to a player in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, get_args

import orjson
import pytest

from promocast.campaign.rule import Unless
from promocast.flows import fallback
from promocast.ledger import events, words
from promocast.model import DAY, HOUR, MINUTE, Rejected, Sent
from tests.flows.conftest import Bench
from tests.flows.desk import delivery, planned, running_loop
from tests.flows.staging import Stage, history, source

# Each event, and the key by which a rule of its own picks it out.
EVENTS = {
    "code.issued": "",
    "code.shown": "",
    "client_action": 'action = "CODE_IS_SHOWN"',
    "code.redeemed": "",
    "code.rolled_back": "",
    "code.expired": "",
    "code.revoked": "",
    "delivery.sent": 'of = "popup"',
    "delivery.delivered": 'of = "popup"',
    "delivery.failed": 'of = "popup"',
    "deposit.refused": 'reason = "below_minimum"',
}
POPUP = 'on = "code.issued"\nsend = ["popup"]'


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def rule(event: str, does: str) -> str:
    return f'on = "{event}"\n{EVENTS[event]}\n{does}'


def staged(bench: Bench, loop: asyncio.AbstractEventLoop, *rules: str, **campaign: Any) -> Stage:
    bench.apply(source(POPUP, *rules, **campaign))
    return Stage(bench, loop)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_calls_the_system_that_waits_for_it_and_once(
    bench: Bench, loop: asyncio.AbstractEventLoop, event: str
) -> None:
    stage = staged(bench, loop, rule(event, 'call = "crm"'))
    ann, _ = stage.issue("ann", "bob")

    for _ in range(2):
        stage.happen(event, ann)
    stage.deliver("call")

    calls = [orjson.loads(message.content["body"]) for message in stage.sent("call")]
    to_ann = [body for body in calls if body["data"]["player_id"] == "ann"]
    assert [body["type"] for body in to_ann] == [event]
    assert to_ann[0]["data"]["code"] == ann.code
    of_all = {"code.issued", "code.expired", "delivery.sent", "delivery.failed"}
    assert len(calls) == (2 if event in of_all else 1)
    if event.startswith("delivery."):
        assert to_ann[0]["data"]["channel"] == "popup"


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_rings_for_what_is_due_at_once(bench: Bench, loop: asyncio.AbstractEventLoop, event: str) -> None:
    stage = staged(bench, loop, rule(event, 'call = "crm"'))
    [code] = stage.issue("ann")

    stage.happen(event, code)

    assert ("deliver.call", planned(bench, "call")) in bench.rung


ALIVE_AFTER = sorted(set(EVENTS) - {"code.redeemed", "code.expired", "code.revoked"})


@pytest.mark.parametrize("event", ALIVE_AFTER)
def test_an_event_sends_to_the_player_while_the_code_is_of_use(
    bench: Bench, loop: asyncio.AbstractEventLoop, event: str
) -> None:
    stage = staged(bench, loop, rule(event, 'send = ["sms"]'))
    [code] = stage.issue("ann")

    stage.happen(event, code)
    stage.deliver("sms")

    assert [message.content["text"] for message in stage.sent("sms")] == [f"Hi Ann\n{code.code} after {event}"]


@pytest.mark.parametrize(
    ("event", "why"), [("code.redeemed", "redeemed"), ("code.expired", "expired"), ("code.revoked", "revoked")]
)
def test_a_code_of_no_use_is_sent_on_no_event(
    bench: Bench, loop: asyncio.AbstractEventLoop, event: str, why: str
) -> None:
    stage = staged(bench, loop, rule(event, 'send = ["sms"]'))
    [code] = stage.issue("ann")

    stage.happen(event, code)
    stage.deliver("sms")

    assert stage.states("sms") == [("skipped", why)]


STOPS = {
    "redeemed": lambda stage, code: stage.happen("code.redeemed", code),
    "expired": lambda stage, code: stage.bench.clock.advance(7 * DAY),
    "revoked": lambda stage, code: stage.revoke(code),
    "player_excluded": lambda stage, code: stage.exclude(code.player_id),
}


@pytest.mark.parametrize("why", STOPS)
@pytest.mark.parametrize("event", ALIVE_AFTER)
def test_a_reminder_is_stopped_by_what_happens_meanwhile(
    bench: Bench, loop: asyncio.AbstractEventLoop, event: str, why: str
) -> None:
    stage = staged(bench, loop, rule(event, 'after = "1h"\nsend = ["sms"]'))
    [code] = stage.issue("ann")
    stage.happen(event, code)
    # A rolled-back deposit redeems no more: another does.
    if (event, why) == ("code.rolled_back", "redeemed"):
        bench.deposit("tx-2", player_id="ann", promo_code=code.code)
    else:
        STOPS[why](stage, code)

    bench.clock.advance(HOUR)
    stage.deliver("sms")

    assert stage.states("sms") == [("skipped", why)]
    assert stage.sent("sms") == []


@pytest.mark.parametrize("event", EVENTS)
def test_a_call_is_made_whatever_became_of_the_code(bench: Bench, loop: asyncio.AbstractEventLoop, event: str) -> None:
    stage = staged(bench, loop, rule(event, 'after = "1h"\ncall = "crm"'))
    [code] = stage.issue("ann")
    stage.happen(event, code)
    stage.exclude("ann")
    stage.revoke(code)

    bench.clock.advance(HOUR)
    stage.deliver("call")

    assert len(stage.sent("call")) == 1


@pytest.mark.parametrize(
    ("unless", "event"),
    [
        ("code.shown", "code.shown"),
        ("code.shown", "client_action"),
        ("code.redeemed", "code.redeemed"),
        ("code.expired", "code.expired"),
        ("code.revoked", "code.revoked"),
        ("delivery.sent", "delivery.sent"),
        ("delivery.sent", "delivery.delivered"),
        ("delivery.delivered", "delivery.delivered"),
    ],
)
def test_a_call_is_not_made_once_its_unless_is_true(
    bench: Bench, loop: asyncio.AbstractEventLoop, unless: str, event: str
) -> None:
    stage = staged(bench, loop, f'on = "code.issued"\nafter = "7d"\nunless = ["{unless}"]\ncall = "crm"')
    [first] = stage.issue("ann")
    stage.happen(event, first)

    bench.clock.advance(7 * DAY)
    stage.deliver("call")

    assert stage.states("call") == [("skipped", f"unless {unless}")]


@pytest.mark.parametrize("unless", ["delivery.sent", "delivery.delivered"])
def test_a_call_is_made_where_its_unless_is_true_of_another_code(
    bench: Bench, loop: asyncio.AbstractEventLoop, unless: str
) -> None:
    stage = staged(bench, loop, f'on = "code.issued"\nafter = "1h"\nunless = ["{unless}"]\ncall = "crm"')
    stage.answers["popup"] = lambda message: (
        Sent() if message.player_id == "ann" else Rejected("410", address_dead=False)
    )
    first, second = stage.issue("ann", "bob")
    stage.happen("delivery.delivered", first)

    bench.clock.advance(HOUR)
    stage.deliver("call")

    assert [message.player_id for message in stage.sent("call")] == [second.player_id]


def test_what_the_same_rule_sent_elsewhere_is_no_reason_not_to_send(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.apply(source('on = "code.issued"\nunless = ["delivery.sent"]\nsend = ["popup", "sms"]'))
    stage = Stage(bench, loop)
    stage.issue("ann")

    stage.deliver("popup", "sms")

    assert (len(stage.sent("popup")), len(stage.sent("sms"))) == (1, 1)


def test_each_redemption_and_each_refused_deposit_fires_by_itself(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = staged(
        bench,
        loop,
        'on = "code.redeemed"\ncall = "crm"',
        'on = "deposit.refused"\ncall = "crm"',
        code="max_redemptions = 2",
    )
    [code] = stage.issue("ann")

    for deposit_id, amount in (("a", "50.00"), ("b", "5.00"), ("c", "60.00"), ("d", "6.00"), ("b", "5.00")):
        bench.deposit(deposit_id, player_id="ann", promo_code=code.code, amount=amount)
    stage.deliver("call")

    told = [orjson.loads(message.content["body"]) for message in stage.sent("call")]
    assert [(body["type"], body["data"]["deposit_id"]) for body in told] == [
        ("code.redeemed", "a"),
        ("deposit.refused", "b"),
        ("code.redeemed", "c"),
        ("deposit.refused", "d"),
    ]


def test_a_deposit_refused_for_another_reason_fires_only_rules_without_a_reason(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = staged(
        bench,
        loop,
        'on = "deposit.refused"\nreason = "wrong_currency"\ncall = "crm"',
        'on = "deposit.refused"\ncall = "bonus-engine"',
    )
    [code] = stage.issue("ann")

    stage.happen("deposit.refused", code)
    stage.deliver("call")

    assert [message.address for message in stage.sent("call")] == ["bonus-engine"]


def test_a_deposit_that_quotes_anothers_code_tells_the_holder_nothing(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = staged(bench, loop, 'on = "deposit.refused"\nsend = ["sms"]')
    [code] = stage.issue("ann")

    assert bench.deposit(player_id="eve", promo_code=code.code)["reason"] == "other_player"

    assert planned(bench, "sms") == []


def test_a_rule_for_any_channel_hears_of_each_but_of_no_call(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.apply(source('on = "code.issued"\nsend = ["popup", "push"]', 'on = "delivery.sent"\ncall = "crm"'))
    stage = Stage(bench, loop)
    push = [{"kind": "fcm", "token": f"t{n}"} for n in range(3)]
    stage.issue("ann", addresses={"push": push})

    stage.deliver("popup", "push")
    stage.deliver("call")
    stage.deliver("call")

    assert len(stage.sent("push")) == 3
    bodies = [orjson.loads(message.content["body"])["data"] for message in stage.sent("call")]
    assert [body["channel"] for body in bodies] == ["popup", "push"]


def test_rules_that_set_each_other_off_come_to_an_end(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    """Such a journey is refused when it is applied; one that was applied all the same ends by its event keys."""
    bench.apply(
        source(
            'on = "code.issued"\nsend = ["email"]',
            'on = "delivery.sent"\nof = "email"\nsend = ["sms"]',
            'on = "delivery.sent"\nof = "sms"\nsend = ["email"]',
        )
    )
    stage = Stage(bench, loop)
    [code] = stage.issue("ann")

    for _ in range(10):
        stage.deliver("email", "sms")

    sent = len(history(bench, code, "email")), len(history(bench, code, "sms"))
    assert sent == (2, 2), "each rule once after each other rule"
    assert all(delivery(bench, i).state == "sent" for i in planned(bench, "email") + planned(bench, "sms"))


def test_a_message_to_a_second_redemption_fires_what_waits_for_it_again(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.apply(
        source(
            'on = "code.redeemed"\nsend = ["popup"]',
            'on = "delivery.sent"\nof = "popup"\ncall = "crm"',
            code="max_redemptions = 3",
        )
    )
    stage = Stage(bench, loop)
    [code] = stage.issue("ann")

    for deposit_id in ("a", "b"):
        bench.deposit(deposit_id, player_id="ann", promo_code=code.code)
        stage.deliver("popup")
        stage.deliver("popup")
    stage.deliver("call")

    assert len(stage.sent("call")) == 2


def test_what_waits_for_an_expiry_counts_from_the_end_not_from_when_it_was_seen(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = staged(bench, loop, 'on = "code.expired"\nafter = "1h"\ncall = "crm"')
    [code] = stage.issue("ann")

    bench.clock.advance(7 * DAY + 20 * MINUTE)
    stage.sweep()

    assert stage.due("call") == [(code.expires_at or 0) + HOUR]


def test_a_code_that_was_used_up_does_not_expire(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = staged(bench, loop, 'on = "code.expired"\ncall = "crm"')
    [code] = stage.issue("ann")
    stage.happen("code.redeemed", code)

    stage.happen("code.expired", code)

    assert planned(bench, "call") == []


def test_a_call_that_is_to_be_made_after_days_is_made(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    """A call is given up 72 hours after it was due, not after its event."""
    stage = staged(bench, loop, 'on = "code.issued"\nafter = "5d"\ncall = "crm"')
    stage.issue("ann")

    bench.clock.advance(5 * DAY)
    stage.deliver("call")

    assert stage.states("call") == [("sent", None)]


def test_the_feed_tells_of_each_message_sent_once(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = staged(bench, loop, rule("delivery.sent", 'call = "crm"'))
    stage.issue("ann")

    stage.deliver("popup")
    stage.deliver("call")

    with bench.ledger.read() as conn:
        found, _ = events.feed(conn, events.START, 100)
    assert [e["data"]["channel"] for e in found if e["type"] == "delivery.sent"] == ["popup", "call"]


@pytest.mark.parametrize(
    "reason", [*(f"unless {condition}" for condition in get_args(Unless)), fallback.QUIET, fallback.CAPPED]
)
def test_why_a_message_waits_or_was_not_sent_can_be_read_out(reason: str) -> None:
    assert words.of_reason(reason) != reason
