"""The campaign document: its shape, and reading it from TOML or JSON with every fault named.

A document in force carries its template files inline, so a version is whole in itself and never changes.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from promocast.campaign.lines import Path, line_for, lines_of
from promocast.campaign.rule import PlayerChannel, QuietHours, Rule
from promocast.campaign.terms import CodeTerms, Duration, Part, RedemptionTerms, Reward
from promocast.errors import CampaignError, Fault
from promocast.model import MINUTE, PLAYER_CHANNELS, Instant, parse_rfc3339
from promocast.reading import pointer_of

TEMPLATE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "popup": ("title", "body", "cta_text", "cta_link", "image_url"),
    "email": ("subject", "text", "html"),
    "push": ("title", "body", "link"),
    "telegram": ("text",),
    "sms": ("text",),
}
# A value of one line that ends like a file names one, under the templates folder.
TEMPLATE_FILE: Final = re.compile(r"[\w./-]+\.(txt|html|liquid)")

LIKELY_ALPHABET: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # no I, L, O, 0, 1: read aloud, they are mistaken


def _moment(value: Any) -> Any:
    if isinstance(value, datetime):  # a TOML date-time
        if value.tzinfo is None:
            raise ValueError("has no time zone; add Z or an offset")
        return round(value.timestamp() * 1000)
    return parse_rfc3339(value) if isinstance(value, str) else value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone of the IANA database, as Europe/Malta is one") from None
    return value


Moment = Annotated[Instant, BeforeValidator(_moment)]
Zone = Annotated[str, AfterValidator(_zone)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class RandomTag(Part):
    """Codes drawn from an alphabet, every one equally likely."""

    type: Literal["random"]
    alphabet: str = LIKELY_ALPHABET
    length: int = Field(8, ge=1, le=64)
    expected_codes: int | None = Field(None, ge=1)


class PatternTag(Part):
    """Codes of a fixed shape: each `#` is drawn from the alphabet, everything else stands as written."""

    type: Literal["pattern"]
    pattern: str = Field(min_length=1, max_length=64)
    alphabet: str = LIKELY_ALPHABET
    expected_codes: int | None = Field(None, ge=1)


LabelTag = Annotated[RandomTag | PatternTag, Field(discriminator="type")]


class Campaign(Part):
    id: Identifier
    name: str = ""
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    timezone: Zone = "UTC"
    allow_external_codes: bool = False
    min_ttl: Duration = 10 * MINUTE
    quiet_hours: QuietHours | None = None
    control_group: int = Field(0, ge=0, le=100)  # percent of the players who are given no code
    label_tags: dict[Identifier, LabelTag]
    code: CodeTerms
    redemption: RedemptionTerms = RedemptionTerms()
    reward: Reward | None = None
    templates: dict[PlayerChannel, dict[str, str]] = Field(default_factory=dict)
    journey: tuple[Rule, ...] = ()

    @field_validator("ends_at")
    @classmethod
    def _ends_after_it_starts(cls, ends_at: Instant | None, info: ValidationInfo) -> Instant | None:
        starts_at = info.data.get("starts_at")
        if starts_at is not None and ends_at is not None and starts_at >= ends_at:
            raise ValueError("ends_at is not after starts_at")
        return ends_at

    @field_validator("code")
    @classmethod
    def _draws_from_a_label_tag(cls, code: CodeTerms, info: ValidationInfo) -> CodeTerms:
        # Where the label tags themselves are wrong, that is said already.
        if code.label_tag not in info.data.get("label_tags", {code.label_tag: None}):
            raise ValueError(f"label_tag = {code.label_tag!r}, but there is no [label_tags.{code.label_tag}]")
        return code

    @model_validator(mode="after")
    def _spends_what_it_gives(self) -> Campaign:
        budget, reward = self.redemption.budget, self.reward
        if budget is not None and budget.amount and (reward is None or not reward.in_money):
            raise ValueError("[redemption] budget.amount needs a [reward] in money: `percent` or `fixed`")
        return self


def from_toml(source: str, name: str, read_template: Callable[[PurePosixPath], str]) -> Campaign:
    """The campaign that a TOML file describes, its template files read in.

    Args:
        source: the file's text; name: what to call it in errors.
        read_template: gives the text of a file under the templates folder, or raises OSError.

    Raises:
        CampaignError: with every fault, each with its line.
    """
    try:
        values = tomllib.loads(source)
    except tomllib.TOMLDecodeError as exc:
        line = re.search(r"at line (\d+)", str(exc))
        # A document that breaks off is told to end too early, without a line: it is the last.
        number = int(line[1]) if line else source.rstrip("\n").count("\n") + 1
        raise CampaignError(name, [Fault("", f"no TOML: {exc}", number)]) from exc
    lines = lines_of(source)
    faults: list[Fault] = []
    _inline_templates(values, read_template, faults)
    campaign = _validated(values, faults)
    if campaign is None or faults:
        raise CampaignError(name, [Fault(f.pointer, f.reason, line_of(f.pointer, lines)) for f in faults])
    return campaign


def from_json(
    values: Mapping[str, Any], name: str, read_template: Callable[[PurePosixPath], str] | None = None
) -> Campaign:
    """The campaign of a stored or posted document.

    Args:
        read_template: gives the text of a template file, or raises OSError; None where they are inline already.

    Raises:
        CampaignError: with every fault, each with its JSON pointer.
    """
    faults: list[Fault] = []
    if read_template is not None:
        whole = copy.deepcopy(dict(values))
        _inline_templates(whole, read_template, faults)
        values = whole
    campaign = _validated(values, faults)
    if campaign is None or faults:
        raise CampaignError(name, faults)
    return campaign


def _validated(values: Mapping[str, Any], faults: list[Fault]) -> Campaign | None:
    try:
        return Campaign.model_validate(values)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            if "literal[False]" in error["loc"]:
                continue  # of quiet hours: the other branch of the union says what is wrong with them
            reason = "unknown key" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
            faults.append(Fault(pointer_of(_keys(error["loc"])), reason))
        return None


def _keys(loc: tuple[str | int, ...]) -> list[str | int]:
    """pydantic's path without what is no key of the document: `[key]`, and a label tag's type, which names the branch
    of a union after the tag's own name, as that of quiet hours does."""
    keys = list(loc)
    if keys[:1] == ["label_tags"] and len(keys) > 2 and keys[2] in ("random", "pattern"):
        del keys[2]
    if keys[2:3] == ["quiet_hours"] and "QuietHours" in str(keys[3:4]):
        del keys[3]
    return [key for key in keys if key != "[key]"]


def _inline_templates(values: dict[str, Any], read: Callable[[PurePosixPath], str], faults: list[Fault]) -> None:
    templates = values.get("templates")
    for channel, template in templates.items() if isinstance(templates, dict) else ():
        keys = TEMPLATE_KEYS.get(channel)
        if keys is None or not isinstance(template, dict):
            continue  # the shape itself is wrong, which validation says better
        for key, value in template.items():
            pointer = pointer_of(["templates", channel, key])
            if key not in keys:
                faults.append(Fault(pointer, f"unknown key; a {channel} template has {', '.join(keys)}"))
            elif isinstance(value, str) and TEMPLATE_FILE.fullmatch(value):
                template[key] = _read(value, read, pointer, faults)


def _read(value: str, read: Callable[[PurePosixPath], str], pointer: str, faults: list[Fault]) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        faults.append(Fault(pointer, "template files lie under the templates folder"))
        return ""
    try:
        return read(path)
    except (OSError, UnicodeDecodeError) as exc:
        why = getattr(exc, "strerror", None) or "not UTF-8"
        faults.append(Fault(pointer, f"the template file {value!r} cannot be read: {why}"))
        return ""


def line_of(pointer: str, lines: dict[Path, int]) -> int | None:
    """The line of a JSON pointer, in which an index and a key of digits are spelt alike."""
    path = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    return line_for(path, {tuple(map(str, known)): number for known, number in lines.items()})


assert set(TEMPLATE_KEYS) == set(PLAYER_CHANNELS)  # noqa: S101 - two lists of one thing
