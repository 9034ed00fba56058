"""What all input from outside has in common: identities, moments, and faults told as JSON pointers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from promocast.errors import Fault
from promocast.model import Instant, parse_rfc3339


def _instant(value: Any) -> Any:
    return parse_rfc3339(value) if isinstance(value, str) else value


# What RFC 3339 can write: the years 1 to 9999, and of those what lies after the epoch.
LATEST: Final = parse_rfc3339("9999-12-31T23:59:59Z")
Moment = Annotated[Instant, BeforeValidator(_instant, json_schema_input_type=int | str), Field(ge=0, le=LATEST)]
# An identity: no control characters, which no database and no log takes kindly to.
Text = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]

_TEXT: Final = TypeAdapter(Text, config=ConfigDict(coerce_numbers_to_str=True))


class Read(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


def identity(raw: Any) -> str | None:
    """`raw` where it is an identity that can be kept and told."""
    try:
        return str(_TEXT.validate_python(raw))
    except ValidationError:
        return None


def pointers(exc: ValidationError) -> list[Fault]:
    """What pydantic found, as JSON pointers (RFC 6901). The input itself is not repeated: it may be personal."""
    faults = []
    for error in exc.errors(include_url=False, include_input=False, include_context=False):
        reason = "unknown key" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
        faults.append(Fault(pointer_of(_keys(error["loc"])), reason))
    return faults


def _keys(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """pydantic's path without what is no key: the kind of a push address, which follows the address's place."""
    return (*loc[:3], *loc[4:]) if loc[:2] == ("addresses", "push") else loc


def pointer_of(path: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
