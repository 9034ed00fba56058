"""Deposits from the queue: `verify_deposits` takes them in, `judge_deposits` judges what the ledger holds."""

from __future__ import annotations

from typing import Any

from dramatiq import Retry, actor

from promocast import jobs
from promocast.broker import WaitingBroker
from promocast.errors import LedgerUnavailable
from promocast.flows import tell, verify
from promocast.runtime import Runtime


def register(runtime: Runtime, broker: WaitingBroker) -> None:
    def verify_deposits(*args: Any, **kwargs: Any) -> None:
        # As issue_codes: whatever came is recorded, or kept in the inbox, before anything can fail.
        told = args[0] if len(args) == 1 and not kwargs else {"args": list(args), "kwargs": kwargs}
        try:
            ids = runtime.once_ledger_answers(lambda: tell.record_message(runtime.ledger, told, runtime.clock()))
        except LedgerUnavailable:
            raise Retry(delay=0) from None
        if ids:
            judge_deposits(ids)

    def judge_deposits(ids: list[str]) -> None:
        def judge() -> None:
            verify.judge(
                runtime.ledger,
                ids,
                versions=runtime.versions,
                terms=runtime.settings.verification,
                clock=runtime.clock,
                ring=runtime.bell.ring,
            )

        try:
            runtime.once_ledger_answers(judge)
        except LedgerUnavailable:
            return  # the process stops; the sweeper rings for them again

    actor(broker=broker, queue_name=jobs.VERIFY, max_retries=None)(verify_deposits)
    actor(broker=broker, queue_name=jobs.VERIFY)(judge_deposits)
