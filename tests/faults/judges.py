"""Processes that judge deposits at one moment: many threads of several processes, kept alive behind one barrier."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier

from sqlalchemy.exc import DBAPIError

from promocast.errors import PromocastError
from promocast.flows import verify
from promocast.flows.versions import Versions
from promocast.ledger import Ledger
from promocast.model import Instant
from promocast.settings import VerificationSettings

PROCESSES, THREADS = 8, 8

Lots = list[list[str]]


@dataclass(slots=True)
class Judged:
    """What became of deposits: how many of each result or reason, the errors by their names, and the time it took."""

    verdicts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: Judged) -> None:
        self.verdicts += other.verdicts
        self.failures += other.failures
        self.seconds = max(self.seconds, other.seconds)


class Judges:
    def __init__(self, pipes: Sequence[Pipe]) -> None:
        self._pipes = pipes

    def judge(self, ledger_url: str, lots: Lots, now: Instant) -> Judged:
        """Judge the lots, dealt out to all threads, which begin together; each thread takes its own one after another.

        Nothing is tried again: an error is one of the lot's.
        """
        hands = [lots[i :: PROCESSES * THREADS] for i in range(PROCESSES * THREADS)]
        for i, pipe in enumerate(self._pipes):
            pipe.send((ledger_url, hands[i::PROCESSES], now))
        all_of_them = Judged()
        for pipe in self._pipes:
            for judged in pipe.recv():
                all_of_them.add(judged)
        return all_of_them


@contextmanager
def judges() -> Iterator[Judges]:
    """The processes, started once."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(PROCESSES * THREADS)
    pipes, processes = [], []
    for _ in range(PROCESSES):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, gate), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        yield Judges(pipes)
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.close()  # which ends the process
            process.join(20)


def _serve(pipe: Pipe, gate: Barrier) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        while True:
            try:
                ledger_url, hands, now = pipe.recv()
            except EOFError:
                return
            ledger = Ledger(ledger_url)
            versions = Versions()
            judged = pool.map(lambda lots: _judge(ledger, versions, lots, now, gate), hands)  # noqa: B023
            pipe.send(list(judged))
            ledger.close()


def _judge(ledger: Ledger, versions: Versions, lots: Lots, now: Instant, gate: Barrier) -> Judged:
    done = Judged()
    terms = VerificationSettings()
    with ledger.read():  # connected before it begins
        gate.wait(60)
    started = time.monotonic()
    for ids in lots:
        try:
            verdicts = verify.judge(ledger, ids, versions=versions, terms=terms, clock=lambda: now, ring=_silence)
        except (PromocastError, DBAPIError) as exc:
            done.failures[_name(exc)] += 1
        else:
            done.verdicts.update(verdict["reason"] or verdict["result"] for verdict in verdicts.values())
    done.seconds = time.monotonic() - started
    return done


def _name(exc: BaseException) -> str:
    """The database's own name of what went wrong, as DeadlockDetected or SerializationFailure."""
    cause = exc.__cause__ if isinstance(exc.__cause__, DBAPIError) else exc
    return type(cause.orig if isinstance(cause, DBAPIError) else cause).__name__


def _silence(*_: object) -> None:
    return None
