"""What a hook's body holds, read exactly or not at all: a fact that is damaged is a fault, never a guess.

Numbers are kept as the text that stands in the JSON, so no amount passes through binary floats. A key that occurs twice
is a fault, for the sender's idea of which one counts is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from promocast.errors import Fault
from promocast.model import SECOND, Instant, parse_rfc3339
from promocast.money import digits, parse_currency
from promocast.reading import pointer_of

Path = Sequence[str]
Event = Mapping[str, Any]


class Number(str):
    """A JSON number, as it was written."""

    __slots__ = ()


class Unreadable(Exception):
    """A body, or an event in it, is not what its source promises. No fault holds a code."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.reason}" for fault in faults))
        self.faults = faults


def parsed(body: bytes) -> Any:
    """The JSON value of a body, its numbers as `Number`.

    Raises:
        Unreadable: no UTF-8 (RFC 8259 8.1; a byte order mark is let pass), no JSON, or a key that occurs twice.
    """
    try:
        return json.loads(
            body.decode("utf-8-sig"),
            parse_int=Number,
            parse_float=Number,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise Unreadable(Fault("", "is no UTF-8")) from None
    except RecursionError:
        raise Unreadable(Fault("", "is nested too deeply")) from None
    except ValueError:
        raise Unreadable(Fault("", "is no JSON")) from None


def _constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity, which Python takes and RFC 8259 does not


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable(Fault("", "has a key twice in one object"))
    return found


def at(event: Any, path: Path) -> Any:
    """What stands at `path`; None where nothing does. A part of digits is a place in a list.

    Raises:
        Unreadable: a part is not there, and a key that is one slip away from it is. The key itself is not told: what
            a stranger's key says is unknown.
    """
    found = event
    for depth, part in enumerate(path):
        if isinstance(found, Mapping):
            if part not in found and nearly(part, found):
                raise _fault(path[: depth + 1], "is missing, and a key is there that is one slip away from it")
            found = found.get(part)
        elif isinstance(found, list) and part.isascii() and part.isdigit():
            found = found[int(part)] if len(part) < 6 and int(part) < len(found) else None
        elif found is None:
            return None
        else:
            raise _fault(path[:depth], "should be an object")
    return found


def nearly(word: str, others: Iterable[str]) -> bool:
    """Whether one of `others` is `word` with one slip: a letter changed, missing or too many, or in another case.

    A slip is a misspelt integration or damage, and what it hides may be the code. Short words are too easily another's.
    """
    return len(word) > 3 and any(other != word and _one_slip(word, other) for other in others)


def _one_slip(a: str, b: str) -> bool:
    if abs(len(a) - len(b)) > 1:
        return False
    if a.casefold() == b.casefold():
        return True
    same = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if len(a) == len(b):
        return a[same + 1 :] == b[same + 1 :]
    longer, shorter = (a, b) if len(a) > len(b) else (b, a)
    return longer[same + 1 :] == shorter[same:]


_WHOLE: Final = re.compile(r"-?\d{1,40}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def text(event: Event, path: Path) -> str | None:
    """A name, an id or a code, which may come as a whole number; None where it is absent, null or empty.

    Raises:
        Unreadable: it is something else, or holds control characters.
    """
    value = at(event, path)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or (isinstance(value, Number) and not _WHOLE.fullmatch(value)):
        raise _fault(path, "should be text or a whole number")
    if _CONTROL.search(value):
        raise _fault(path, "holds control characters")
    return str(value)


def amount(event: Event, path: Path, *, minor_of: str | None = None) -> str | None:
    """An amount as a decimal, exactly as it was written; None where it is absent, null or empty.

    Args:
        minor_of: the currency in whose smallest units the amount is given; None: in units of the currency.
    """
    value = at(event, path)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _fault(path, "should be a number, or one as text")
    if minor_of is None:
        return str(value)
    if not _WHOLE.fullmatch(value):
        raise _fault(path, "should be a whole number of the currency's smallest unit")
    try:
        return str(Decimal(f"{value}E-{digits(parse_currency(minor_of))}"))
    except ValueError as exc:
        raise _fault(path, str(exc)) from None


# A time before this, in milliseconds, lies in the first days of 1973: it is in seconds.
_FIRST_MILLISECONDS: Final = 100_000_000_000
_SHORT_HOUR: Final = re.compile(r"([T ])(\d:)")


def moment(event: Event, path: Path) -> Instant | None:
    """A time: RFC 3339, with or without the hour's leading zero, or seconds or milliseconds since the epoch.

    Raises:
        Unreadable: it is none of these.
    """
    value = text(event, path)
    if value is None:
        return None
    if re.fullmatch(r"\d{1,14}", value, re.ASCII):
        number = int(value)
        return number if number >= _FIRST_MILLISECONDS else number * SECOND
    try:
        return parse_rfc3339(_SHORT_HOUR.sub(r"\g<1>0\2", value, count=1))
    except (ValueError, OverflowError):
        raise _fault(path, "should be RFC 3339 with its zone, or seconds or milliseconds since the epoch") from None


def flag(event: Event, path: Path) -> bool:
    """True or false, as such, as text or as 1 or 0; false where it is absent, null or empty."""
    value = at(event, path)
    word = str(value).strip().lower() if isinstance(value, str | bool) else ""
    if value is None or word in ("false", "0") or value == "":
        return False
    if word in ("true", "1"):
        return True
    raise _fault(path, "should be true or false")


def word(event: Event, path: Path, known: Collection[str], ignored: Collection[str] | None = ()) -> str | None:
    """One of the `known` words, in its own spelling whatever its case was; None for an ignored one.

    Args:
        ignored: words that are of no interest; None: all others, but for those that are one slip away.

    Raises:
        Unreadable: it is none of both, or absent.
    """
    value = at(event, path)
    value = str(value).lower() if isinstance(value, bool) else text(event, path)
    if value is not None:
        folded = value.strip().casefold()
        for each in known:
            if each.casefold() == folded:
                return each
        if ignored is None and not any(nearly(each, [value]) for each in known):
            return None
        if ignored is not None and folded in {each.casefold() for each in ignored}:
            return None
    raise _fault(path, f"should be one of {', '.join(sorted(known))}")


def _fault(path: Path, reason: str) -> Unreadable:
    return Unreadable(Fault(pointer_of(path), reason))
