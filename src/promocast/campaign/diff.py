"""What an edited campaign changes, place by place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from promocast.reading import pointer_of

ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Change:
    """A value that differs. `before` or `after` is `ABSENT` where there is none on that side."""

    pointer: str
    before: Any
    after: Any

    def as_json(self) -> dict[str, Any]:
        told = {"pointer": self.pointer, "before": self.before, "after": self.after}
        return {key: value for key, value in told.items() if value is not ABSENT}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The differences between two documents as JSON, in the order of the newer one; removed ones come last."""
    return list(_changes(before, after, []))


def _changes(before: Any, after: Any, path: list[str | int]) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*after, *(key for key in before if key not in after)]:
            yield from _changes(before.get(key, ABSENT), after.get(key, ABSENT), [*path, key])
    elif isinstance(before, list) and isinstance(after, list) and _of_objects(before, after):
        for i in range(max(len(before), len(after))):
            yield from _changes(_at(before, i), _at(after, i), [*path, i])
    elif before != after:
        yield Change(pointer_of(path), before, after)


def _of_objects(*lists: list[Any]) -> bool:
    """Lists of values are compared whole: that one was added says more than that all of them moved."""
    return all(isinstance(each, Mapping) for values in lists for each in values)


def _at(values: list[Any], i: int) -> Any:
    return values[i] if i < len(values) else ABSENT
