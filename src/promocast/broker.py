"""Dramatiq's Redis broker, with consumers that wait instead of polling, and nothing dropped that cannot be read.

The wire format is Dramatiq's own: any Dramatiq producer on the same Redis or Valkey can enqueue, any Dramatiq tool
can look.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import redis
from dramatiq.broker import Broker, Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
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

    def __next__(self) -> MessageProxy | None:
        beat()
        try:
            if not self.message_cache:
                self._fetch()
            while self.message_cache:
                message = self._read(self.message_cache.pop(0))
                if message is not None:
                    self.queued_message_ids.add(message.message_id)
                    return MessageProxy(message)
        except (redis.ConnectionError, redis.TimeoutError) as exc:
            raise ConnectionClosed(exc) from None  # type: ignore[no-untyped-call]
        return None

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
