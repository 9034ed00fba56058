"""Issue jobs from the queue: `issue_codes` takes them in, `issue_parts` issues what the ledger holds."""

from __future__ import annotations

from typing import Any

from dramatiq import Retry, actor

from promocast import jobs
from promocast.broker import WaitingBroker
from promocast.errors import LedgerUnavailable
from promocast.flows import issue
from promocast.runtime import Runtime


def register(runtime: Runtime, broker: WaitingBroker) -> None:
    def issue_codes(*args: Any, **kwargs: Any) -> None:
        # Any shape of arguments is taken: what is no job goes to the inbox, and nothing here may raise with a job's
        # content in hand, for Dramatiq logs the arguments of a message that fails.
        job = args[0] if len(args) == 1 and not kwargs else {"args": list(args), "kwargs": kwargs}

        def accept() -> int | None:
            return issue.accept_message(
                runtime.ledger, job, runtime.clock(), versions=runtime.versions, limits=runtime.settings.brake
            )

        try:
            part_id = runtime.once_ledger_answers(accept)
        except LedgerUnavailable:
            raise Retry(delay=0) from None
        if part_id is not None:
            issue_parts([part_id])

    def issue_parts(ids: list[int]) -> None:
        for part_id in ids:
            try:
                runtime.once_ledger_answers(lambda part_id=part_id: issue_part(part_id))  # type: ignore[misc]
            except LedgerUnavailable:
                return  # the process stops; the sweeper rings for the part again

    def issue_part(part_id: int) -> None:
        issue.issue_part(
            runtime.ledger,
            part_id,
            versions=runtime.versions,
            clock=runtime.clock,
            random=runtime.random,
            ring=runtime.bell.ring,
        )

    # Without end: a job that is not yet in the ledger lives in the queue only.
    actor(broker=broker, queue_name=jobs.ISSUE, max_retries=None)(issue_codes)
    actor(broker=broker, queue_name=jobs.ISSUE)(issue_parts)
