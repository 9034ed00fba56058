"""Dramatiq's Redis broker, with consumers that wait instead of polling, and nothing dropped that cannot be read.

The wire format is Dramatiq's own: any Dramatiq producer on the same Redis or Valkey can enqueue, any Dramatiq tool
can look.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import dq_name
from dramatiq.errors import ConnectionClosed, DecodeError, Retry
from dramatiq.message import Message
from dramatiq.middleware import Middleware, Retries

from promocast import metrics
from promocast.errors import ConfigError
from promocast.progress import JOB_WITHIN, Progress, beat

NAMESPACE: Final = "dramatiq"

# Of a million commands, how many look for messages that dead workers held. The default leaves them for many minutes
# on an idle system; a look costs microseconds.
MAINTENANCE_CHANCE: Final = 200_000
HEARTBEAT_TIMEOUT: Final = 15_000

# Unexpected exceptions only: business time lives in the ledger.
LEAST_BACKOFF: Final = 5_000
MOST_BACKOFF: Final = 60_000
MOST_RETRIES: Final = 5

# (queue, bytes): a message that is no Dramatiq message, or names an actor that does not exist.
Unreadable = Callable[[str, bytes], None]


def make_client(url: str) -> redis.Redis:
    """A client that notices a server that hangs. Blocking waits (below) stay under its socket timeout.

    Raises:
        ConfigError: `url` is no address of a Redis or Valkey.
    """
    try:
        return redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=5, health_check_interval=15)
    except ValueError as exc:
        raise ConfigError("queue.url is no address of a queue; write redis://:password@host:6379/0.") from exc


class WaitingBroker(RedisBroker):
    """A RedisBroker whose idle consumers wait for the next message. `unreadable` is given what no actor can take.
    Consumers, and actors at work, prove to `progress` that they are alive."""

    def __init__(self, url: str, unreadable: Unreadable | None = None, progress: Progress | None = None) -> None:
        self.progress = Progress() if progress is None else progress
        self.handed_out: dict[str, set[str]] = {}
        super().__init__(  # type: ignore[no-untyped-call]
            client=make_client(url),
            namespace=NAMESPACE,
            middleware=[
                Retries(max_retries=MOST_RETRIES, min_backoff=LEAST_BACKOFF, max_backoff=MOST_BACKOFF),
                _Attended(self.progress),
            ],
            maintenance_chance=MAINTENANCE_CHANCE,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
        )
        self.unreadable = unreadable

    def booked(self, queue: str) -> set[str]:
        """The messages of the queue that the server holds for this broker's worker: fetched, and not acknowledged."""
        found: Any = self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue}")
        return {os.fsdecode(message_id) for message_id in found}

    @property
    def consumer_class(self) -> type[Consumer]:
        return _WaitingConsumer

    def backlog(self, queue: str) -> int:
        """How many messages wait in the queue's list; those that workers hold are not among them.

        Raises:
            redis.RedisError: the queue does not answer.
        """
        return int(self.client.llen(f"{self.namespace}:{queue}"))


class _Attended(Middleware):
    """Whoever runs an actor has to come round; and one that raised what nobody foresaw is counted."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def before_process_message(self, _broker: Broker, message: MessageProxy) -> None:
        self._progress.begin(f"actor {message.actor_name}", JOB_WITHIN)

    def after_process_message(
        self,
        _broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,  # noqa: ARG002 - Dramatiq hands it over by name
        exception: BaseException | None = None,
    ) -> None:
        self._progress.end()
        if exception is not None and not isinstance(exception, Retry):
            metrics.ACTOR_FAILURES.labels(message.actor_name).inc()

    def after_skip_message(self, _broker: Broker, _message: MessageProxy) -> None:
        self._progress.end()


class _WaitingConsumer(_RedisConsumer):
    """Between messages it blocks in `BLMOVE queue queue LEFT LEFT`: moving the first element onto its own place wakes
    us and leaves the message for Dramatiq's own fetch, which books it to this worker. A POST to popup takes 7 ms at
    the median this way, 47 ms or more with polling."""

    # Seconds; bounds how long a stop waits, and is the rhythm of heartbeats on an idle queue.
    WAIT: Final = 1
    FULL: Final = 0.005

    def __init__(self, broker: WaitingBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        # In the consumer's own thread, and again whenever it comes back after the queue was away.
        broker.progress.begin(f"consumer of {queue_name}")
        self._handed_out = broker.handed_out.setdefault(queue_name, set())
        if queue_name == dq_name(queue_name):
            self._handed_out.clear()  # what it delays Dramatiq forgets when it loses the queue
        self._intact = True
        with self._losing_the_queue():
            self._give_back()

    def __next__(self) -> MessageProxy | None:
        beat()
        with self._losing_the_queue():
            if not self.message_cache:
                self._fetch()
            while self.message_cache:
                message = self._read(self.message_cache.pop(0))
                if message is not None:
                    self.queued_message_ids.add(message.message_id)
                    self._handed_out.add(message.options["redis_message_id"])
                    return MessageProxy(message)
        return None

    # Dramatiq tries again what ends in ConnectionClosed. What ends in anything else stays booked to a worker that lives
    # and will not look at it again; and a server that hangs is no ConnectionError to redis-py.

    def ack(self, message: MessageProxy) -> None:
        with self._losing_the_queue():
            super().ack(message)  # type: ignore[no-untyped-call]
        self._handed_out.discard(message.options["redis_message_id"])

    def nack(self, message: MessageProxy) -> None:
        with self._losing_the_queue():
            super().nack(message)  # type: ignore[no-untyped-call]
        self._handed_out.discard(message.options["redis_message_id"])

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        given_back = list(messages)
        with self._losing_the_queue():
            super().requeue(given_back)  # type: ignore[no-untyped-call]
        self._handed_out.difference_update(message.options["redis_message_id"] for message in given_back)

    def close(self) -> None:
        """What was fetched and not handed out would wait for this worker's heartbeat to time out."""
        self.message_cache.clear()
        if self._intact:
            with self._losing_the_queue():
                self._give_back()

    def _give_back(self) -> None:
        """Put back into its list what is booked to us and nobody here has: an answer to a fetch may have been lost."""
        if lost := self.broker.booked(self.queue_name) - self._handed_out:
            self.broker.do_requeue(self.queue_name, *lost)

    @contextmanager
    def _losing_the_queue(self) -> Iterator[None]:
        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as exc:
            self._intact = False
            raise ConnectionClosed(exc) from None  # type: ignore[no-untyped-call]

    def _fetch(self) -> None:
        room = self.prefetch - self.outstanding_message_count
        if room <= 0:
            time.sleep(self.FULL)
            return
        self.message_cache = self.broker.do_fetch(self.queue_name, room)
        if not self.message_cache:
            key = f"{self.broker.namespace}:{self.queue_name}"
            self.broker.client.blmove(key, key, self.WAIT, "LEFT", "LEFT")

    def _read(self, data: bytes | None) -> Message[Any] | None:
        if data is None:  # its id was in the list, its body is gone: purged, or flushed in between
            return None
        try:
            message: Message[Any] = Message.decode(data)
        except (DecodeError, TypeError, KeyError, ValueError):
            self._set_aside(data, self._ids_of(data))
            return None
        if message.actor_name in self.broker.actors:
            return message
        self._set_aside(data, [message.options["redis_message_id"]])
        return None

    def _set_aside(self, data: bytes, message_ids: list[Any]) -> None:
        if self.broker.unreadable is None:
            return  # stays booked to this worker, and with it in the queue
        self.broker.unreadable(self.queue_name, data)
        for message_id in message_ids:
            self.broker.do_ack(self.queue_name, message_id)

    def _ids_of(self, data: bytes) -> list[Any]:
        """The ids under which an unreadable body lies; it is too rare for anything but looking through."""
        bodies = self.broker.client.hscan_iter(f"{self.broker.namespace}:{self.queue_name}.msgs")
        return [key for key, body in bodies if body == data]
