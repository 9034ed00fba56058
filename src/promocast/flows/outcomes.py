"""What an outcome makes of a delivery: pure, and the only place that decides it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from promocast import retry
from promocast.ledger.deliveries import Claimed, Closing
from promocast.model import Deferred, DeliveryState, Failed, Halted, Instant, Outcome, Rejected, Sent
from promocast.settings import UnknownPolicy

_RESENDS: Final[dict[UnknownPolicy, int]] = {"resend": 1_000_000, "once": 1, "wait": 0}


@dataclass(frozen=True, slots=True)
class Policy:
    """How a channel sends: `slots` at a time in each thread, under a lease of `lease` ms, and what follows a fault."""

    slots: int
    lease: int
    max_attempts: int
    unknown: UnknownPolicy
    unknown_after: int
    rate: float = 0
    per_address: int = 0  # ms between two messages to one address
    disable_after: int = 0  # ms for which nothing may succeed at a system of the operator's; 0: for ever

    @property
    def resends(self) -> int:
        """How often a delivery may be repeated although the provider may have it."""
        return _RESENDS[self.unknown]

    def may_resend(self, attempts: int, unknowns: int) -> bool:
        return unknowns <= self.resends and attempts < self.max_attempts


def closing(
    delivery: Claimed, outcome: Outcome, policy: Policy, *, ends_at: Instant | None, now: Instant, jitter: retry.Jitter
) -> Closing:
    """The delivery's next state.

    Args:
        ends_at: when the delivery comes to its end; a later time to try again would come to nothing.
    """
    match outcome:
        case Sent(ref, moved_to):
            return Closing(delivery, "sent", ref=ref, moved_to=moved_to)
        case Rejected(why, address_dead, opted_out):
            return _final(delivery, "rejected", why, address_dead=address_dead, opted_out=opted_out)
        case Deferred(until, why):
            return _again(delivery, why, until, ends_at, counts=False)
        case Halted(why, gone):
            # What was disabled is kept from being sent by its circuit, and is to go on as soon as that does.
            waits = _again(delivery, why, now if gone else now + retry.PROBE_AFTER_HALT, ends_at, counts=False)
            return replace(waits, halted=not gone, disables=gone)
        case Failed(why, maybe_sent=True):
            return unknown(delivery, why, policy, now=now, jitter=jitter)
        case Failed(why):
            if delivery.attempts >= policy.max_attempts:
                return _final(delivery, "exhausted", why, history="failed")
            return _again(delivery, why, retry.next_due(now, delivery.attempts, jitter), ends_at, counts=True)


def given_back(delivery: Claimed, why: str, until: Instant, ends_at: Instant | None) -> Closing:
    """A delivery whose time has not come; it costs no attempt, and is looked at again no later than at its end."""
    return _again(delivery, why, until, ends_at, counts=False)


def closed_unsent(delivery: Claimed, state: DeliveryState, why: str) -> Closing:
    """A delivery that must not be sent (again); unknown, where an earlier attempt may have arrived all the same."""
    return Closing(delivery, "unknown" if delivery.unknowns else state, why, counts=False)


def _final(delivery: Claimed, state: DeliveryState, why: str, **more: Any) -> Closing:
    """The end of a delivery that failed; unknown, where an earlier attempt may have arrived all the same."""
    return Closing(delivery, "unknown" if delivery.unknowns else state, why, **more)


def unknown(delivery: Claimed, why: str, policy: Policy, *, now: Instant, jitter: retry.Jitter) -> Closing:
    """The provider may or may not have it: repeat it if the policy allows, else wait for evidence."""
    if policy.may_resend(delivery.attempts, delivery.unknowns + 1):
        due_at = retry.next_due(now, delivery.attempts, jitter)
    else:
        due_at = now + policy.unknown_after
    return Closing(delivery, "unknown", why, due_at=due_at, unknown=True, history="unknown")


def _again(delivery: Claimed, why: str, until: Instant, ends_at: Instant | None, *, counts: bool) -> Closing:
    due_at = until if ends_at is None else min(until, ends_at)
    return Closing(delivery, "planned", why, due_at=due_at, counts=counts, history="failed" if counts else None)
