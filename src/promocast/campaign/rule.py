"""A journey's rule: the event that it waits for, what may stop it, and what it does."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_serializer, model_validator

from promocast.campaign.terms import Duration, Part
from promocast.model import DAY, MINUTE

PlayerChannel = Literal["popup", "email", "push", "telegram", "sms"]
Trigger = Literal[
    "code.issued",
    "code.shown",
    "code.redeemed",
    "code.rolled_back",
    "code.expired",
    "code.revoked",
    "delivery.sent",
    "delivery.delivered",
    "delivery.failed",
    "client_action",
    "deposit.refused",
]
Unless = Literal["code.shown", "code.redeemed", "code.expired", "code.revoked", "delivery.sent", "delivery.delivered"]
# The refusals of contract section 4.7 that an approved deposit can meet.
Refusal = Literal[
    "too_many_attempts",
    "unknown_code",
    "other_player",
    "player_excluded",
    "revoked",
    "not_started",
    "expired",
    "already_redeemed",
    "limit_reached",
    "wrong_currency",
    "below_minimum",
    "above_maximum",
    "wrong_payment_method",
    "wrong_deposit_index",
    "budget_exhausted",
]

# What a request is made and signed by. A campaign's author must not speak for the operator's systems or in their name.
_OURS: Final = frozenset(
    {
        "host",
        "authorization",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "trailer",
        "te",
        "expect",
        "cookie",
    }
)
_OUR_PREFIXES: Final = ("webhook-", "svix-", "proxy-")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110 section 5.1


def _time_of_day(value: Any) -> Any:
    return value.strftime("%H:%M") if isinstance(value, time) else value  # TOML has times of its own: 21:00:00


def _is_time_of_day(value: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError(f'{value!r} is no time of day; write hours and minutes, as in "09:00"')
    return value


def _headers(values: dict[str, str]) -> dict[str, str]:
    for name in values:
        lower = name.lower()
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if lower in _OURS or lower.startswith(_OUR_PREFIXES) or "signature" in lower:
            raise ValueError(f"{name} is not for campaigns to set")
    if len({name.lower() for name in values}) < len(values):
        raise ValueError("a header stands twice; upper and lower case are the same")
    return values


TimeOfDay = Annotated[str, BeforeValidator(_time_of_day), AfterValidator(_is_time_of_day)]


class QuietHours(Part):
    """From `begins` until `ends` on the player's clock nothing is sent; what waited goes out over the `spread` (in ms)
    after it. Written as { from = "21:00", to = "09:00", spread = "30m" }."""

    begins: TimeOfDay = Field(alias="from")
    ends: TimeOfDay = Field(alias="to")
    spread: Annotated[Duration, Field(le=DAY)] = 30 * MINUTE

    @model_validator(mode="after")
    def _is_a_part_of_the_day(self) -> QuietHours:
        if self.begins == self.ends:
            raise ValueError("quiet hours begin and end at different times of the day")
        return self

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        return {"from": self.begins, "to": self.ends, "spread": self.spread}

    @property
    def minutes(self) -> int:
        """How long it is quiet on an ordinary day."""
        begins, ends = (int(t[:2]) * 60 + int(t[3:]) for t in (self.begins, self.ends))
        return (ends - begins) % (24 * 60)

    def covers(self, at: str) -> bool:
        """Whether this time of day lies in them."""
        if self.begins < self.ends:
            return self.begins <= at < self.ends
        return at >= self.begins or at < self.ends


class Rule(Part):
    """One event-condition-action rule of a journey."""

    on: Trigger
    action: str | None = None
    of: PlayerChannel | None = None
    reason: Refusal | None = None
    after: Duration = 0
    at: TimeOfDay | None = None
    unless: tuple[Unless, ...] = ()
    quiet_hours: QuietHours | Literal[False] | None = None
    cap: bool = True
    send: tuple[PlayerChannel, ...] = ()
    when_shown: str | None = None
    call: str | None = None
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(default_factory=dict)
    body: str | None = None

    @model_validator(mode="after")
    def _waits_for_one_thing(self) -> Rule:
        if self.on == "client_action" and not self.action:
            raise ValueError('`on = "client_action"` needs the `action` to wait for, as in action = "CODE_IS_SHOWN"')
        if self.action and self.on != "client_action":
            raise ValueError('`action` belongs to `on = "client_action"`')
        if self.on == "delivery.failed" and self.of is None:
            raise ValueError('`on = "delivery.failed"` needs the channel that failed, as in of = "email"')
        if self.of is not None and not self.on.startswith("delivery."):
            raise ValueError("`of` belongs to a rule that waits for a delivery")
        if self.reason is not None and self.on != "deposit.refused":
            raise ValueError('`reason` belongs to `on = "deposit.refused"`')
        if self.on == "delivery.failed" and self.of in self.send:
            raise ValueError("what failed on a channel is not sent on the same channel again")
        if self.on.startswith("delivery.") and (self.of in self.send or (self.send and self.of is None)):
            raise ValueError("a rule that waits for a channel's deliveries and sends on it would set itself off")
        return self

    @model_validator(mode="after")
    def _does_one_thing(self) -> Rule:
        if bool(self.send) == bool(self.call):
            raise ValueError("a rule either sends or calls: give it `send` or `call`, not both")
        for key, given in (("body", self.body), ("headers", self.headers), ("method", self.method != "POST")):
            if given and not self.call:
                raise ValueError(f"`{key}` belongs to `call`")
        if self.call and (self.quiet_hours or not self.cap):
            raise ValueError("quiet hours and caps are for players; calls to systems pass them anyway")
        if self.when_shown is not None and "popup" not in self.send:
            raise ValueError("`when_shown` belongs to a rule that sends the popup")
        if len(set(self.send)) != len(self.send):
            raise ValueError("a channel stands twice in `send`")
        return self

    @property
    def content_type(self) -> str:
        return next((v for k, v in self.headers.items() if k.lower() == "content-type"), "application/json")

    def hours(self, campaigns: QuietHours | None) -> QuietHours | None:
        """The quiet hours that hold for the rule's messages, in a campaign that has `campaigns`."""
        if self.quiet_hours is None:
            return campaigns
        return self.quiet_hours or None


def is_json(content_type: str) -> bool:
    """Whether bodies of the type are JSON (RFC 6838 section 4.2.8 for the suffix)."""
    essence = content_type.partition(";")[0].strip().lower()
    return essence in ("application/json", "text/json") or essence.endswith("+json")
