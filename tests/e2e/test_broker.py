"""Dramatiq on a real Valkey: what a worker has fetched, it gives back or acknowledges, whatever the queue does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import dramatiq
import pytest
import redis
from dramatiq import Worker
from dramatiq.errors import ConnectionClosed

from promocast.broker import NAMESPACE, WaitingBroker

QUEUE = "stops"


@pytest.fixture
def broker(queue_url: str) -> Iterator[WaitingBroker]:
    made = WaitingBroker(queue_url)
    yield made
    made.client.delete(*made.client.keys(f"{NAMESPACE}:*"))
    made.close()


def enqueue(broker: WaitingBroker, count: int) -> None:
    for i in range(count):
        broker.enqueue(dramatiq.Message(queue_name=QUEUE, actor_name="work", args=(i,), kwargs={}, options={}))


def nothing(_: int) -> None:
    return None


def booked(broker: WaitingBroker) -> int:
    keys = broker.client.keys(f"{NAMESPACE}:__acks__.*")
    assert isinstance(keys, list)
    return sum(broker.client.scard(key) for key in keys)


def test_a_consumer_that_is_closed_gives_back_what_nobody_has_seen_of_it(broker: WaitingBroker) -> None:
    """Else it waits for its worker's heartbeat to time out."""
    dramatiq.actor(broker=broker, actor_name="work", queue_name=QUEUE)(nothing)
    enqueue(broker, 4)
    consumer = broker.consume(QUEUE, prefetch=4)
    first = next(consumer)
    assert first is not None

    consumer.close()

    assert booked(broker) == 1, "the one that was handed out"
    assert broker.backlog(QUEUE) == 3


def test_an_acknowledgement_that_the_queue_does_not_answer_is_tried_again(
    broker: WaitingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    dramatiq.actor(broker=broker, actor_name="work", queue_name=QUEUE)(nothing)
    enqueue(broker, 1)
    consumer = broker.consume(QUEUE)
    message = next(consumer)
    assert message is not None

    def hangs(*_: object) -> None:
        raise redis.TimeoutError

    for verb in ("ack", "nack"):
        with monkeypatch.context() as patch:
            patch.setattr(broker, f"do_{verb}", hangs, raising=False)
            with pytest.raises(ConnectionClosed):
                getattr(consumer, verb)(message)
    consumer.ack(message)

    assert booked(broker) == 0


def test_a_worker_that_stops_leaves_nothing_booked(broker: WaitingBroker) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def work(_: int) -> None:
        busy.set()
        go_on.wait(30)

    dramatiq.actor(broker=broker, actor_name="work", queue_name=QUEUE)(work)
    enqueue(broker, 20)
    worker = Worker(broker, queues={QUEUE}, worker_threads=2, worker_timeout=50)
    worker.start()
    assert busy.wait(10)
    go_on.set()

    worker.stop()

    assert booked(broker) == 0
    assert broker.backlog(QUEUE) == broker.client.hlen(f"{NAMESPACE}:{QUEUE}.msgs")


def test_what_was_fetched_in_an_answer_that_was_lost_comes_again(broker: WaitingBroker) -> None:
    """A server that hangs does what it was asked when it goes on, though who asked has given up."""
    dramatiq.actor(broker=broker, actor_name="work", queue_name=QUEUE)(nothing)
    enqueue(broker, 3)
    consumer = broker.consume(QUEUE, prefetch=1)
    held = next(consumer)
    broker.do_fetch(QUEUE, 1)
    assert booked(broker) == 2

    again = broker.consume(QUEUE, prefetch=3)
    found = [message.args for message in (next(again), next(again)) if message is not None]

    assert held is not None
    assert held.args == (0,)
    assert sorted(found) == [(1,), (2,)], "and what this worker still has at hand does not"
