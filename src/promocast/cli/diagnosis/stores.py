"""The ledger and the queue: do they answer, keep what they are given, and tell the same time?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis
from redis.exceptions import NoPermissionError

from promocast.broker import make_client
from promocast.cli.diagnosis.finding import Diagnosis
from promocast.errors import ConfigError, LedgerError
from promocast.ledger import Ledger, channels, inbox, migrate, server
from promocast.ledger.server import Server
from promocast.model import SECOND, Instant, rfc3339, system_clock
from promocast.settings import Settings
from promocast.valkey import queue_url

# pg_current_xact_id and its kin, by which the event feed goes, came with 13.
OLDEST_POSTGRESQL: Final = 13
# BLMOVE, in which consumers wait, came with 6.2.
OLDEST_QUEUE: Final = (6, 2)
# Milliseconds. Deliveries become due by our clocks, paces and holds run by the queue's.
SKEW_NOTICED: Final = 2 * SECOND
SKEW_HARMFUL: Final = 30 * SECOND


def ledger(settings: Settings) -> Iterator[Diagnosis]:
    try:
        opened = Ledger(settings.ledger_url)
    except LedgerError as exc:
        yield Diagnosis("error", str(exc))
        return
    try:
        migrate.check(opened)
        yield Diagnosis("ok", f"the ledger answers ({opened.dialect})")
        with opened.read() as conn:
            waiting = sum(inbox.counts(conn).values())
            found, now = server.facts(conn), system_clock()
            standing = channels.states(conn)
        if waiting:
            yield Diagnosis("warning", f"{waiting} entries wait in the inbox", "`promocast inbox list` shows them")
        for state in standing.values():
            if state.disabled_at is not None:
                what = (
                    f"{state.name} is disabled since {rfc3339(state.disabled_at)} ({state.reason}): its deliveries wait"
                )
                yield Diagnosis("warning", what, f"once it is mended: `promocast channel resume {state.name}`")
        if found is not None:
            yield from of_postgresql(found, now)
    except LedgerError as exc:
        yield Diagnosis("error", str(exc))
    finally:
        opened.close()


def of_postgresql(found: Server, now: Instant) -> Iterator[Diagnosis]:
    if found.version < OLDEST_POSTGRESQL:
        yield Diagnosis(
            "error", f"PostgreSQL {found.version} is too old", f"promocast needs {OLDEST_POSTGRESQL} or newer"
        )
    if found.isolation != "read committed":
        what = f"transactions of the ledger's database are {found.isolation!r} by default"
        yield Diagnosis("error", what, "set default_transaction_isolation to 'read committed' for its role or database")
    if found.standby:
        yield Diagnosis(
            "error", "the ledger's database is a standby: nothing can be written", "set ledger.url to the primary"
        )
    for setting, value in (("fsync", found.fsync), ("synchronous_commit", found.synchronous_commit)):
        if value == "off":
            what = f"{setting} is off: what was accepted may be lost when the database's machine fails"
            yield Diagnosis("error" if setting == "fsync" else "warning", what, f"set {setting} to on")
    yield from skew("the ledger's database", found.now, now)


def skew(whose: str, theirs: Instant, ours: Instant) -> Iterator[Diagnosis]:
    apart = abs(theirs - ours)
    if apart > SKEW_NOTICED:
        what = f"the clock of {whose} and this machine's are {apart / SECOND:.0f} s apart"
        yield Diagnosis("error" if apart > SKEW_HARMFUL else "warning", what, "let NTP set both")


def queue(settings: Settings) -> Iterator[Diagnosis]:
    try:
        client = make_client(queue_url(settings))
        seconds, microseconds = client.time()
        now = system_clock()
        yield Diagnosis("ok", "the queue answers")
        yield from of_queue(client.info())
        yield from skew("the queue", seconds * SECOND + microseconds // 1000, now)
    except ConfigError as exc:
        yield Diagnosis("warning", str(exc))
    except NoPermissionError:
        yield Diagnosis("warning", "the queue does not tell how it is set up", "grant its user INFO and TIME")
    except redis.AuthenticationError:
        yield Diagnosis("error", "the queue refuses the password", "look at queue.url")
    except redis.RedisError as exc:
        advice = "start `promocast up`, or look at queue.url"
        yield Diagnosis("error", f"the queue does not answer ({type(exc).__name__})", advice)


def of_queue(info: Mapping[str, Any]) -> Iterator[Diagnosis]:
    """What Redis' and Valkey's INFO says; CONFIG is often forbidden, as it is in the embedded one."""
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_QUEUE:
        yield Diagnosis("error", f"the queue's server {version} is too old", "promocast needs Redis 6.2 or any Valkey")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        what = f"the queue throws keys away when its memory is full (maxmemory-policy {policy})"
        yield Diagnosis("error", what, "set maxmemory-policy to noeviction: keys are jobs that nobody has accepted yet")
    if info.get("role") == "slave":
        yield Diagnosis("error", "the queue is a replica: nothing can be written", "set queue.url to the primary")
    if not int(info.get("aof_enabled", 1)):
        what = "the queue does not keep what it is given (appendonly no)"
        yield Diagnosis(
            "warning", what, "set appendonly to yes: jobs enqueued and not accepted would be lost in a restart"
        )
    if int(info.get("aof_enabled", 0)) and info.get("aof_last_write_status", "ok") != "ok":
        yield Diagnosis("error", "the queue cannot write its append-only file", "look at its disk")
