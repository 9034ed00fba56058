"""What travels on the queue, and what comes in at the door: names, batch sizes, and reading with every fault told.

A job is a dict of JSON (contract section 1). Reading never raises on a recipient: one that is bad is set aside with
its reason, the rest go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from promocast.errors import Fault, InputError
from promocast.model import CHANNELS, Address, Instant, PushSubscription, parse_rfc3339
from promocast.money import WIDEST, parse_amount, parse_currency

ISSUE: Final = "issue"
VERIFY: Final = "verify"
DELIVER: Final = tuple(f"deliver.{channel}" for channel in CHANNELS)
QUEUES: Final = (ISSUE, VERIFY, *DELIVER)

# (queue, actor) of the messages that we ring with; each carries ids only.
RINGS: Final[Mapping[str, str]] = {
    ISSUE: "issue_parts",
    VERIFY: "judge_deposits",
    **{f"deliver.{channel}": f"deliver_{channel}" for channel in CHANNELS},
}

MOST_RECIPIENTS_PER_JOB: Final = 500
MOST_RECIPIENTS_PER_REQUEST: Final = 10_000
MOST_DEPOSITS_PER_JOB: Final = 500
MOST_DEPOSITS_PER_REQUEST: Final = 1_000
IDS_PER_RING: Final = 200
LARGEST_ATTRIBUTES: Final = 16_384  # bytes of JSON per recipient


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("no time zone of the IANA database, as Europe/Malta is one") from None
    return value


def _instant(value: Any) -> Any:
    return parse_rfc3339(value) if isinstance(value, str) else value


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(value))
    except TypeError:
        raise ValueError("holds what JSON cannot: half a surrogate pair, or an integer beyond 64 bits") from None
    if size > LARGEST_ATTRIBUTES:
        raise ValueError(f"has more than {LARGEST_ATTRIBUTES} bytes as JSON")
    return value


# What RFC 3339 can write: the years 1 to 9999, and of those what lies after the epoch.
LATEST: Final = parse_rfc3339("9999-12-31T23:59:59Z")
Moment = Annotated[Instant, BeforeValidator(_instant, json_schema_input_type=int | str), Field(ge=0, le=LATEST)]
# An identity: no control characters, which no database and no log takes kindly to.
Text = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Attributes = Annotated[dict[str, Any], Field(max_length=200), AfterValidator(_storable)]


class Read(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class FcmAddress(Read):
    kind: Literal["fcm"]
    token: Annotated[str, Field(min_length=1, max_length=4096)]


Key = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,256}$")]


class WebPushKeys(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    p256dh: Key
    auth: Key


class WebPushSubscription(BaseModel):
    """What a browser's PushSubscription.toJSON() gives; `expirationTime` comes along and is not needed."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    endpoint: Annotated[str, Field(min_length=1, max_length=4096)]
    keys: WebPushKeys


class WebPushAddress(Read):
    kind: Literal["webpush"]
    subscription: WebPushSubscription


PushAddress = Annotated[FcmAddress | WebPushAddress, Field(discriminator="kind")]


class Addresses(Read):
    popup: Text | None = None
    email: Annotated[str, Field(min_length=1, max_length=320)] | None = None
    sms: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    telegram: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    push: Annotated[tuple[PushAddress, ...], Field(max_length=20)] = ()


class Recipient(Read):
    player_id: Text
    locale: Annotated[str, Field(max_length=35)] | None = None
    timezone: Annotated[str, Field(max_length=64), AfterValidator(_zone)] | None = None
    addresses: Addresses = Addresses()
    attributes: Attributes = {}

    def stored(self) -> str:
        """The recipient as the ledger keeps it, without the player's id and with the popup's default filled in."""
        addresses = self.addresses.model_dump(exclude_none=True)
        addresses.setdefault("popup", self.player_id)
        kept = {"locale": self.locale, "timezone": self.timezone, "addresses": addresses, "attributes": self.attributes}
        return orjson.dumps({key: value for key, value in kept.items() if value}).decode()


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
    version: Literal[1] = 1
    request_id: Text
    campaign: Text
    requested_at: Moment | None = None
    recipients: list[Any] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Part of a job or list that was not accepted. `index` is its place in what was sent."""

    index: int
    player_id: str | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"index": self.index, "player_id": self.player_id, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class IssueJob:
    """A job that was read: `recipients` are good, `rejected` are not; `digest` is the same for the same content."""

    request_id: str
    campaign: str
    recipients: tuple[Recipient, ...]
    rejected: tuple[Rejection, ...]
    digest: str


class Deposit(Read):
    """One message about a deposit (contract section 4)."""

    deposit_id: Text
    player_id: Text
    status: Literal["requested", "approved", "rejected", "cancelled", "rolled_back"]
    currency: Annotated[str, AfterValidator(parse_currency)] | None = None
    amount: str | None = None
    payment_method: Annotated[str, Field(max_length=64)] | None = None
    occurred_at: Moment | None = None
    promo_code: Annotated[str, Field(max_length=256)] | None = None
    deposit_index: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None

    @field_validator("amount")
    @classmethod
    def _is_money(cls, value: str | None, info: ValidationInfo) -> str | None:
        # Without its currency (which another message of the deposit may name) only the widest bound can be held.
        if value is not None:
            parse_amount(value, info.data.get("currency") or WIDEST)
        return value

    def facts(self) -> dict[str, Any]:
        """The message as the ledger keeps it: only what it says."""
        return self.model_dump(exclude={"deposit_id", "player_id"}, exclude_none=True)


def _event_date(value: Any) -> Any:
    """RFC 3339, or epoch milliseconds, which may come as a string."""
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() else parse_rfc3339(value)
    return value


EventDate = Annotated[Instant, BeforeValidator(_event_date, json_schema_input_type=int | str), Field(ge=0, le=LATEST)]


class ActionPayload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    client_action: Text
    code: Text


class ClientAction(BaseModel):
    """What a player did on the website, in the envelope of CRMs. `eid` is the sender's own id of it: a second one of
    that id is the same. Further keys are let pass: CRMs send their own."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)
    eid: Text
    event_date: EventDate | None = None
    user_ext_id: Text | None = None
    event_type: Literal["client_action"]
    payload: ActionPayload


_RECIPIENT: Final = TypeAdapter(Recipient)
_DEPOSIT: Final = TypeAdapter(Deposit)
_TEXT: Final = TypeAdapter(Text, config=ConfigDict(coerce_numbers_to_str=True))


def read_issue_job(values: Any, most: int = MOST_RECIPIENTS_PER_JOB) -> IssueJob:
    """The job in `values`.

    Raises:
        InputError: `invalid_job`, with a JSON pointer for each fault, where the job as a whole makes no sense.
    """
    try:
        head = _Head.model_validate(values)
    except ValidationError as exc:
        raise InputError("invalid_job", "The issue job cannot be understood.", pointers(exc)) from None
    if len(head.recipients) > most:
        fault = Fault("/recipients", f"at most {most} recipients in one job; send the rest as further parts")
        raise InputError("invalid_job", "The issue job has too many recipients.", [fault])
    good: dict[str, Recipient] = {}
    rejected: list[Rejection] = []
    for index, raw in enumerate(head.recipients):
        recipient = read_recipient(raw, index)
        if isinstance(recipient, Rejection):
            rejected.append(recipient)
        elif recipient.player_id in good:
            rejected.append(Rejection(index, recipient.player_id, "duplicate_recipient"))
        else:
            good[recipient.player_id] = recipient
    digest = digest_of({"campaign": head.campaign, "recipients": head.recipients})
    return IssueJob(head.request_id, head.campaign, tuple(good.values()), tuple(rejected), digest)


def read_recipient(raw: Any, index: int) -> Recipient | Rejection:
    try:
        return _RECIPIENT.validate_python(raw)
    except ValidationError as exc:
        player_id = raw.get("player_id") if isinstance(raw, Mapping) else None
        first = pointers(exc)[0]
        return Rejection(index, _identity(player_id), f"invalid_recipient: {first.pointer or '/'}: {first.reason}")


def _identity(raw: Any) -> str | None:
    """`raw` where it is an identity that can be kept and told."""
    try:
        return _TEXT.validate_python(raw)
    except ValidationError:
        return None


def read_deposit(values: Any) -> Deposit:
    """The deposit message in `values`.

    Raises:
        InputError: `invalid_deposit`, with a JSON pointer for each fault.
    """
    try:
        return _DEPOSIT.validate_python(values)
    except ValidationError as exc:
        raise InputError("invalid_deposit", "The deposit cannot be understood.", pointers(exc)) from None


def addresses_on(recipient: Mapping[str, Any], channel: str) -> Sequence[Any]:
    """The addresses that a stored recipient has on `channel`, in their order."""
    found = recipient.get("addresses", {}).get(channel)
    if found is None:
        return ()
    return found if channel == "push" else (found,)


def address_at(recipient: Mapping[str, Any], channel: str, slot: int) -> tuple[str, Address]:
    """(adapter, address) of a stored recipient's address: `push` has an adapter for each kind of address.

    Raises:
        LookupError: there is none, or it was erased.
    """
    found = addresses_on(recipient, channel)[slot]
    if channel != "push":
        return channel, str(found)
    if found["kind"] == "fcm":
        return "push.fcm", str(found["token"])
    subscription = found["subscription"]
    keys = subscription["keys"]
    return "push.webpush", PushSubscription(subscription["endpoint"], keys["p256dh"], keys["auth"])


def digest_of(values: Any) -> str:
    """The same for the same JSON value, however it was spelt."""
    return hashlib.sha256(as_bytes(values, sort_keys=True)).hexdigest()


def as_bytes(values: Any, *, sort_keys: bool = False) -> bytes:
    """JSON of whatever a queue message held, also of what is no valid text: it is kept to be looked at."""
    return json.dumps(values, sort_keys=sort_keys, separators=(",", ":"), default=repr).encode()


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
