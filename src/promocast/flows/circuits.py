"""Circuits: what is stopped as one when it refuses us. A channel is one, and so is each endpoint that is called.

A provider that refuses us for a fault of ours halts the circuit: one delivery at a time is tried until one succeeds. A
system of the operator's that wants no more (410), or at which nothing has succeeded for days, is disabled: nothing is
tried until the operator says so, or gives it another URL. Deliveries wait either way, and none is lost before its end.

A channel that is stopped is seen before anything is claimed. Which endpoint a call goes to is known only afterwards, so
calls to one that is stopped are given back for a while, and released when it goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from promocast import retry
from promocast.flows import outcomes
from promocast.flows.compose import Dossier
from promocast.flows.desk import Desk
from promocast.ledger import Connection, Ledger, channels, deliveries, events
from promocast.ledger.channels import State
from promocast.ledger.deliveries import Closing
from promocast.ledger.events import Event
from promocast.model import DAY, HOUR, MINUTE, Instant, rfc3339
from promocast.observe import log

# How soon a call is looked at again that nobody has released: who probed for it may have come to its end.
HELD_FOR: Final = 10 * MINUTE
# Failures further apart than this are no streak: what happened between them nobody knows, for nothing was sent. Retries
# are an hour apart at most.
QUIET: Final = DAY
# How exactly the last failure of a streak is known; it is not written more often.
NOTED_EVERY: Final = HOUR
ENDPOINT: Final = "endpoints."


def tend(desk: Desk, conn: Connection, closings: Sequence[Closing], now: Instant) -> None:
    """Do what follows for their circuits from how attempts ended."""
    tried = [closing for closing in closings if closing.circuit]
    if not tried:
        return
    standing = channels.states(conn)
    well = {closing.circuit for closing in tried if closing.state == "sent"}
    for circuit in sorted(well & standing.keys()):
        _has_succeeded(conn, standing[circuit], now)
    for circuit, why in {c.circuit: c.reason or "" for c in tried if c.disables}.items():
        _disable(desk, conn, circuit, why, _since(desk, standing.get(circuit), circuit, now) or now, now)
    for circuit, why in {c.circuit: c.reason or "" for c in tried if c.halted}.items():
        halt(conn, circuit, why, now)
    failed = {c.circuit: c.reason or "" for c in tried if c.state not in ("sent", "rejected", "skipped")}
    for circuit in sorted(failed.keys() - well):
        _has_failed(desk, conn, standing.get(circuit), circuit, failed[circuit], now)


def _has_succeeded(conn: Connection, state: State, now: Instant) -> None:
    if state.halted_at is not None and channels.recover(conn, state.name):
        release(conn, state.name, now)
        log.warning("channel_recovered", channel=state.name)
    if state.failing_since is not None:
        channels.succeeded(conn, state.name)


def halt(conn: Connection, circuit: str, why: str, now: Instant) -> None:
    """The provider refuses us for a fault of ours: the circuit opens."""
    if channels.halt(conn, circuit, why, now, now + retry.PROBE_AFTER_HALT):
        events.append(conn, Event("channel.halted", now, data={**_named(circuit), "reason": why}))
        log.error("channel_halted", channel=circuit, reason=why)


def _has_failed(desk: Desk, conn: Connection, state: State | None, circuit: str, why: str, now: Instant) -> None:
    """Note that a system of the operator's fails; disable it where it has done nothing else for too long."""
    if circuit not in desk.targets or (state is not None and state.disabled_at is not None):
        return
    since = _since(desk, state, circuit, now)
    if since is None or state is None or now - (state.failed_at or 0) >= NOTED_EVERY:
        channels.failing(conn, circuit, desk.targets[circuit], since or now, now)
    limit = desk.policies[_channel(circuit)].disable_after
    if limit and since is not None and now - since >= limit:
        _disable(desk, conn, circuit, f"failing: {why}", since, now)


def _since(desk: Desk, state: State | None, circuit: str, now: Instant) -> Instant | None:
    """Since when the system has failed without a break; None where this is the first failure."""
    if state is None or state.failed_at is None or now - state.failed_at > QUIET:
        return None
    return state.failing_since if state.target == desk.targets.get(circuit) else None


def _disable(desk: Desk, conn: Connection, circuit: str, why: str, since: Instant, now: Instant) -> None:
    if channels.disable(conn, circuit, desk.targets.get(circuit), why, now):
        told = {"endpoint": circuit, **_named(circuit), "reason": why, "since": rfc3339(since)}
        events.append(conn, Event("endpoint.disabled", now, data=told))
        log.error("endpoint_disabled", endpoint=circuit, reason=why)


def held(conn: Connection, dossiers: Sequence[Dossier], now: Instant) -> list[Closing]:
    """The calls that have to wait for their endpoint, given back; one may go as the probe of a halted one."""
    endpoints = {d.circuit for d in dossiers if d.delivery.channel == "call"}
    shut = channels.shut_among(conn, endpoints) if endpoints else {}
    probed = {
        name
        for name, state in shut.items()
        if not state.stopped and channels.take_probe(conn, name, now, now + retry.PROBE_AFTER_HALT)
    }
    back = []
    for dossier in dossiers:
        if dossier.circuit in probed:
            probed.remove(dossier.circuit)
        elif dossier.circuit in shut:
            why = _waits_for(dossier.circuit)
            back.append(outcomes.given_back(dossier.delivery, why, now + HELD_FOR, dossier.ends_at))
    return back


def resume(conn: Connection, circuit: str, now: Instant) -> bool:
    """The operator lets it go on; False where it was neither paused nor disabled."""
    done = channels.resume(conn, circuit)
    release(conn, circuit, now)
    return done


def release(conn: Connection, circuit: str, now: Instant) -> None:
    """What waits for an endpoint is due now."""
    if circuit.startswith(ENDPOINT):
        deliveries.release(conn, "call", _waits_for(circuit), now)


def renew(ledger: Ledger, targets: Mapping[str, str], now: Instant) -> None:
    """A system with another URL is another: that the old one was disabled says nothing of it."""
    with ledger.read() as conn:
        disabled = [state for state in channels.states(conn).values() if state.disabled_at is not None]
    for state in disabled:
        if state.name in targets and targets[state.name] != state.target:
            with ledger.begin() as conn:
                channels.enable(conn, state.name)
                release(conn, state.name, now)
            log.warning("endpoint_enabled", endpoint=state.name, reason="another url")


def _waits_for(circuit: str) -> str:
    """The reason by which a delivery that waits is found again."""
    return f"{circuit} is stopped"


def _channel(circuit: str) -> str:
    return "call" if circuit.startswith(ENDPOINT) else circuit


def _named(circuit: str) -> dict[str, str]:
    """The circuit as events name it."""
    endpoint = circuit.removeprefix(ENDPOINT)
    return {"channel": circuit} if endpoint == circuit else {"channel": "call", "endpoint": endpoint}
