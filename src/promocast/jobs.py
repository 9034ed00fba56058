"""What travels on the queue, and what comes in at the door: names, batch sizes, and reading with every fault told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

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
from promocast.model import CHANNELS, Instant, parse_rfc3339
from promocast.money import WIDEST, parse_amount, parse_currency
from promocast.reading import LATEST, Moment, Read, Text, pointers
from promocast.recipients import Recipient, Rejection, Warned, read_recipient

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


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)
    version: Literal[1] = 1
    request_id: Text
    campaign: Text
    requested_at: Moment | None = None
    recipients: list[Any] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class IssueJob:
    """A job that was read: `recipients` are good, `rejected` are not, `warned` are bad addresses of good ones.

    `digest` is the same for the same content.
    """

    request_id: str
    campaign: str
    recipients: tuple[Recipient, ...]
    rejected: tuple[Rejection, ...]
    warned: tuple[Warned, ...]
    digest: str


class Payment(Read):
    """What is paid, by whom and how; of a deposit that was made, or one that is thought of."""

    player_id: Text
    currency: Annotated[str, AfterValidator(parse_currency)] | None = None
    amount: str | None = None
    payment_method: Annotated[str, Field(max_length=64)] | None = None
    deposit_index: Annotated[int, Field(ge=0, lt=1 << 31)] | None = None

    @field_validator("amount")
    @classmethod
    def _is_money(cls, value: str | None, info: ValidationInfo) -> str | None:
        # Without its currency (which another message of the deposit may name) only the widest bound can be held.
        if value is not None:
            parse_amount(value, info.data.get("currency") or WIDEST)
        return value


class Deposit(Payment):
    """One message about a deposit (contract section 4)."""

    deposit_id: Text
    status: Literal["requested", "approved", "rejected", "cancelled", "rolled_back"]
    occurred_at: Moment | None = None
    promo_code: Annotated[str, Field(max_length=256)] | None = None

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


_DEPOSIT: Final = TypeAdapter(Deposit)


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
    warned: list[Warned] = []
    for index, raw in enumerate(head.recipients):
        recipient = read_recipient(raw, index)
        if isinstance(recipient, Rejection):
            rejected.append(recipient)
        elif recipient.player_id in good:
            rejected.append(Rejection(index, recipient.player_id, "duplicate_recipient"))
        else:
            good[recipient.player_id] = recipient
            warned += [Warned(index, recipient.player_id, channel) for channel in recipient.unusable()]
    digest = digest_of({"campaign": head.campaign, "recipients": head.recipients})
    return IssueJob(head.request_id, head.campaign, tuple(good.values()), tuple(rejected), tuple(warned), digest)


def read_deposit(values: Any) -> Deposit:
    """The deposit message in `values`.

    Raises:
        InputError: `invalid_deposit`, with a JSON pointer for each fault.
    """
    try:
        return _DEPOSIT.validate_python(values)
    except ValidationError as exc:
        raise InputError("invalid_deposit", "The deposit cannot be understood.", pointers(exc)) from None


def digest_of(values: Any) -> str:
    """The same for the same JSON value, however it was spelt."""
    return hashlib.sha256(as_bytes(values, sort_keys=True)).hexdigest()


def as_bytes(values: Any, *, sort_keys: bool = False) -> bytes:
    """JSON of whatever a queue message held, also of what is no valid text: it is kept to be looked at."""
    return json.dumps(values, sort_keys=sort_keys, separators=(",", ":"), default=repr).encode()
