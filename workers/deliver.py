"""Deliveries from the queue: one actor per channel; a message carries ids only."""

from __future__ import annotations

from dramatiq import actor

from promocast.broker import WaitingBroker
from promocast.errors import LedgerUnavailable
from promocast.flows import deliver
from promocast.model import CHANNELS
from promocast.runtime import Runtime


def register(runtime: Runtime, broker: WaitingBroker) -> None:
    desk = runtime.desk()
    for channel in CHANNELS:

        def deliver_channel(ids: list[int], channel: str = channel) -> None:
            try:
                deliver.deliver(desk, channel, ids)
            except LedgerUnavailable:
                return  # the process stops while the ledger is away: leases end, and the sweeper goes on

        name = f"deliver_{channel}"
        actor(broker=broker, actor_name=name, queue_name=f"deliver.{channel}")(deliver_channel)
