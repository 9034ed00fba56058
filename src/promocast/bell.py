"""The bell: the only producer of queue messages inside. A ring that is lost costs time, never work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import dramatiq
import redis

from promocast import metrics, progress
from promocast.broker import WaitingBroker
from promocast.jobs import IDS_PER_RING, RINGS
from promocast.observe import log

# A list this short cannot pile up, however often the sweeper rings.
SHORT: Final = 4


class Bell:
    def __init__(self, broker: WaitingBroker) -> None:
        self._broker = broker

    def ring(self, queue: str, ids: Sequence[int | str]) -> None:
        """Tell the queue's workers that there is work for these rows. Never raises: the sweeper rings again."""
        try:
            for i in range(0, len(ids), IDS_PER_RING):
                chunk = list(ids[i : i + IDS_PER_RING])
                message: dramatiq.Message[None] = dramatiq.Message(
                    queue_name=queue, actor_name=RINGS[queue], args=(chunk,), kwargs={}, options={}
                )
                self._broker.enqueue(message)
        except redis.RedisError as exc:
            progress.beat()
            metrics.RINGS_LOST.labels(queue).inc()
            log.warning("ring_lost", queue=queue, rows=len(ids), error=exc)

    def short(self, queue: str) -> bool:
        """Whether the queue has so little waiting that ringing again does no harm; no queue, no ringing."""
        try:
            return self._broker.backlog(queue) < SHORT
        except redis.RedisError as exc:
            progress.beat()
            log.warning("queue_unavailable", queue=queue, error=exc)
            return False
