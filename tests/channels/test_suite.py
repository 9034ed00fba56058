"""The channel suite: what every adapter must do, over its real protocol, whatever the provider."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator

import pytest

from promocast.model import HOUR, Deferred, Failed, Halted, Outcome, Rejected, Sent
from tests.channels.rig import Rig
from tests.conftest import StoppedClock

pytestmark = pytest.mark.anyio

RIGS = {
    "email": "tests.channels.rig_email:EmailRig",
    "popup": "tests.channels.rig_popup:PopupRig",
    "push.fcm": "tests.channels.rig_fcm:FcmRig",
    "push.webpush": "tests.channels.rig_webpush:WebPushRig",
    "sms": "tests.channels.rig_sms:SmsRig",
    "telegram": "tests.channels.rig_telegram:TelegramRig",
}


@pytest.fixture(params=sorted(RIGS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    module, _, name = RIGS[request.param].partition(":")
    # A real clock's time, standing still: providers verify that signatures and tokens are of today.
    async with getattr(importlib.import_module(module), name)(StoppedClock(_today())) as made:
        yield made


def _today() -> int:
    from promocast.model import system_clock

    return system_clock()


def assert_quiet(outcome: Outcome, rig: Rig) -> None:
    """Whatever an outcome says is logged and stored for long: no address, no code."""
    message = rig.message()
    shown = repr(outcome)
    for private in (str(message.address), message.code):
        if private:
            assert private not in shown


async def test_an_accepted_message_is_sent_once(rig: Rig) -> None:
    outcome = await rig.channel.send(rig.message())

    assert isinstance(outcome, Sent)
    assert rig.received() == 1
    assert_quiet(outcome, rig)


async def test_a_repetition_carries_the_same_key_and_another_delivery_another(rig: Rig) -> None:
    for key in ("d-test-1", "d-test-1", "d-test-2"):
        await rig.channel.send(rig.message(key))

    keys = rig.keys()
    if rig.can_tell_repetitions():
        assert keys[0] == keys[1]
        assert keys[1] != keys[2]
    assert len(keys) == 3


async def test_being_throttled_costs_no_attempt(rig: Rig) -> None:
    rig.throttle()

    outcome = await rig.channel.send(rig.message())

    assert isinstance(outcome, Deferred)
    assert rig.clock() < outcome.until <= rig.clock() + HOUR
    assert_quiet(outcome, rig)


async def test_a_provider_that_never_answers_may_have_taken_it(rig: Rig) -> None:
    rig.hang()

    outcome = await rig.channel.send(rig.message())

    assert isinstance(outcome, Failed)
    assert outcome.maybe_sent
    assert rig.received() == 1
    assert_quiet(outcome, rig)


async def test_a_connection_dropped_after_the_message_may_have_taken_it(rig: Rig) -> None:
    rig.drop()

    outcome = await rig.channel.send(rig.message())

    assert isinstance(outcome, Failed)
    assert outcome.maybe_sent
    assert rig.received() == 1, "an adapter never retries by itself"
    assert_quiet(outcome, rig)


async def test_a_refused_connection_surely_sent_nothing(rig: Rig) -> None:
    await rig.unreachable()

    outcome = await rig.channel.send(rig.message())

    assert isinstance(outcome, Failed)
    assert not outcome.maybe_sent
    assert_quiet(outcome, rig)


async def test_a_fault_of_our_configuration_halts(rig: Rig) -> None:
    rig.misconfigure()

    outcome = await rig.channel.send(rig.message())

    assert isinstance(outcome, Halted)
    assert_quiet(outcome, rig)


async def test_a_dead_address_is_rejected_as_dead(rig: Rig) -> None:
    if not rig.dead_address():
        assert type(rig).__name__ in {"PopupRig", "CallRig"}, "only a signed POST knows no dead address"
        return

    outcome = await rig.channel.send(rig.message())

    assert isinstance(outcome, Rejected)
    assert outcome.address_dead
    assert_quiet(outcome, rig)


async def test_the_channel_goes_on_after_a_fault(rig: Rig) -> None:
    rig.drop()
    await rig.channel.send(rig.message("d-test-1"))
    before = rig.received()
    await rig.stop()
    await rig.start()

    outcome = await rig.channel.send(rig.message("d-test-2"))

    assert isinstance(outcome, Sent)
    assert before == 1
