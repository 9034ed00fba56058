"""The channel suite: what every adapter must do, over its real protocol, whatever the provider."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from promocast import gate
from promocast.errors import Withheld
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
    # Not ours: see tests/channels/thirdparty.
    "email, Exim": "tests.channels.thirdparty.rig_exim:EximRig",
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


@contextmanager
def asking(whom: gate.Gate) -> Iterator[None]:
    token = gate.GATE.set(whom)
    yield
    gate.GATE.reset(token)


class Closed:
    """A gate that lets nothing through."""

    async def begin(self) -> None:
        raise Withheld("player_excluded")

    def check(self) -> None:
        raise Withheld("player_excluded")


async def test_the_gate_is_asked_before_the_message_and_its_no_comes_through(rig: Rig) -> None:
    with asking(Closed()), pytest.raises(Withheld) as withheld:
        await rig.channel.send(rig.message())

    assert withheld.value.reason == "player_excluded"
    assert rig.received() == 0


async def test_a_connection_that_ends_while_a_message_waits_for_its_moment_surely_sent_nothing(rig: Rig) -> None:
    class Slow:
        async def begin(self) -> None:
            await rig.unreachable()
            for _ in range(50):  # turns of the event loop, in which it hears of it
                await asyncio.sleep(0)

        def check(self) -> None:
            return None

    await rig.channel.send(rig.message("d-test-1"))

    with asking(Slow()):
        outcome = await rig.channel.send(rig.message("d-test-2"))

    assert isinstance(outcome, Failed)
    assert not outcome.maybe_sent


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
