"""What a log line may hold, decided by type: nothing that identifies a player or spends money gets through, whoever
logs it and at whatever level.

- A text passes if it stands as it is in the source of the module that logs it: that is code, not data. Templates keep
  their placeholders and lose their arguments, in which libraries put jobs, URLs with tokens, and addresses.
- A value passes under a key that is known here, if it looks as that key's values do. Of anything else, a SecretStr, a
  Message, an unknown text, only the type is told.
- Of an exception the type and the frames are told, and the words of those that are our own and say so (`for_log`):
  psycopg quotes the values of keys, pydantic its input, httpx URLs.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, Final

from promocast.errors import PromocastError
from promocast.jobs import QUEUES
from promocast.model import CHANNELS

WITHHELD: Final = "text_withheld"

Check = Callable[[str], bool]

_CAMPAIGN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}( \d{1,9})?")
_CIRCUIT: Final = re.compile(r"popup|endpoints\.[\w-]{1,64}")
_SOURCE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_PROCESS: Final = re.compile(r"api|cli|demo|queue|sweeper|up|worker-(all|deliver|issue|verify)")
_TIME: Final = re.compile(r"[\d:.TZ-]{20,32}")
_LOOP: Final = re.compile(r"(actor [a-z_]+|consumer of [a-z.]+(\.[DX]Q)?|[a-z' ]+)")
# Words of ours, statuses, enhanced statuses, names of exceptions and of providers' constants.
_TOKEN: Final = re.compile(r"[a-z][a-z_]{0,39}:?|\d{1,5}|\d(\.\d{1,3}){1,2}|([A-Z][a-z]+){2,6}|[A-Z]{2,}(_[A-Z]{2,})+")


def _reason(text: str) -> bool:
    return len(text) < 120 and all(_TOKEN.fullmatch(token) for token in text.split())


def _matching(pattern: re.Pattern[str]) -> Check:
    return lambda text: pattern.fullmatch(text) is not None


_WORDS: Final[Mapping[str, Check]] = {
    "account": frozenset(CHANNELS).__contains__,
    "campaign": _matching(_CAMPAIGN),
    "channel": frozenset(CHANNELS).__contains__,
    "endpoint": _matching(_CIRCUIT),
    "level": frozenset({"debug", "info", "warning", "error", "critical"}).__contains__,
    "name": _matching(_PROCESS),
    "process": _matching(_PROCESS),
    "queue": frozenset(QUEUES).__contains__,
    "queues": frozenset(QUEUES).__contains__,
    "reason": _reason,
    "source": _matching(_SOURCE),
    "stuck": _matching(_LOOP),
    "timestamp": _matching(_TIME),
}
NUMBERS: Final = frozenset({
    "away_ms", "count", "given_up", "leases_ended", "line", "milliseconds", "port", "restart_in", "rows", "status",
    "unrecorded",
})  # fmt: skip
# Under which an exception, a class or a path of ours may be told.
THINGS: Final = frozenset({"category", "error", "where"})
# Texts that are told if they are code.
TEXTS: Final = frozenset({"advice", "event"})
KEYS: Final = frozenset(_WORDS) | NUMBERS | THINGS | TEXTS


def mask(_logger: Any, _method: str, line: Mapping[str, Any]) -> dict[str, Any]:
    """A structlog processor: the line with what may be told, in place of whatever is in it."""
    record: logging.LogRecord = line["_record"]
    ours = bool(line["_from_structlog"])
    told = {key: _value(key, value, record) for key, value in line.items() if key not in _MECHANICS}
    if not ours:
        told["event"] = _value("event", record.msg, record)
        told["logger"] = record.name if re.fullmatch(r"[\w.()]{1,80}", record.name) else WITHHELD
        told["at"] = f"{record.module}:{record.lineno}"
    if (error := _error_of(line.get("exc_info"))) is not None:
        told["exception"] = "\n".join(told_exception(error))
    return told


_MECHANICS: Final = frozenset({"_record", "_from_structlog", "exc_info", "stack_info"})


def _value(key: str, value: Any, record: logging.LogRecord) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(key, each, record) for each in value]
    if value is None or (key in NUMBERS and isinstance(value, int | float)):
        return value
    if key in THINGS and isinstance(value, BaseException | type | Path):
        return named(value) if isinstance(value, BaseException) else getattr(value, "__name__", str(value))
    if isinstance(value, str):
        check = _literals(record.pathname).__contains__ if key in TEXTS else _WORDS.get(key)
        if check is not None and check(value):
            return value
    return WITHHELD if key == "event" else f"<{type(value).__name__}>"


@lru_cache
def _literals(path: str) -> frozenset[str]:
    """The strings that stand in a module's source; none where there is no source to read."""
    try:
        return frozenset(_strings(compile(Path(path).read_bytes(), path, "exec")))
    except (OSError, SyntaxError, ValueError):
        return frozenset()


def _strings(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _strings(constant)


def named(error: BaseException) -> str:
    """An exception's type, with its words where they are ours."""
    words = error.for_log() if isinstance(error, PromocastError) else ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def told_exception(error: BaseException, seen: frozenset[int] = frozenset()) -> Iterator[str]:
    """Lines: what was raised, where, and because of what. No words of others, no values, no lines of source."""
    yield named(error)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    seen |= {id(error)}
    grouped = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for word, other in (("within: ", each) for each in grouped):
        yield from _told_other(word, other, seen)
    if cause is not None:
        yield from _told_other("because of: ", cause, seen)


def _told_other(word: str, error: BaseException, seen: frozenset[int]) -> Iterator[str]:
    if id(error) not in seen:
        first, *rest = told_exception(error, seen)
        yield word + first
        yield from rest


def _error_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        _, error, _ = exc_info
        return error if isinstance(error, BaseException) else None
    return sys.exception() if exc_info else None
