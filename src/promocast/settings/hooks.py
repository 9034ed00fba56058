"""The hooks' settings: who may post to /v1/hooks/<source>, and how their bodies are read."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from promocast.money import parse_currency
from promocast.settings.kinds import Secrets, Section
from promocast.signing import webhook_key

# Keys, and places in lists, with dots between them: "data.payments.0.id".
_PATH: Final = r"^[^.]+(\.[^.]+)*$"

Status = Literal["requested", "approved", "rejected", "cancelled", "rolled_back"]
Fact = Literal[
    "deposit_id", "player_id", "amount", "currency", "status", "payment_method", "occurred_at", "promo_code",
    "deposit_index",
]  # fmt: skip
# For which the presets' systems have no place, or a casino has another.
_FURTHER: Final = frozenset({"promo_code", "deposit_index"})
_NEEDED: Final = frozenset({"deposit_id", "player_id", "amount", "status"})


class HookSettings(Section):
    """A system that posts to /v1/hooks/<source>. Never open to all: it has one secret at least."""

    preset: Literal["smartico", "fasttrack", "generic"]
    auth: Literal["bearer", "basic", "webhook"] = "bearer"
    secrets: Annotated[Secrets, Field(min_length=1)]
    id_prefix: Annotated[str, Field(max_length=64, pattern=r"^[!-~]*$")] = ""
    currency: Annotated[str, AfterValidator(lambda v: parse_currency(v) if v else v)] = ""
    fields: dict[Fact, Annotated[str, Field(pattern=_PATH)]] = {}
    statuses: dict[str, Status | Literal["ignored"]] = {}
    only: dict[Annotated[str, Field(pattern=_PATH)], Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    at: Annotated[str, Field(pattern=rf"^$|{_PATH}")] = ""
    minor_units: bool = False

    @model_validator(mode="after")
    def _secrets_fit(self) -> HookSettings:
        for secret in self.secrets:
            text = secret.get_secret_value()
            if not text:
                raise ValueError("secrets: an empty secret keeps nobody out")
            if self.auth == "basic" and not re.fullmatch(r"[^:]+:.+", text):
                raise ValueError("secrets: for basic each is `user:password`")
            if self.auth == "webhook":
                webhook_key(text)
        return self

    @model_validator(mode="after")
    def _preset_knows_its_fields(self) -> HookSettings:
        if self.preset == "generic":
            if missing := sorted(_NEEDED - self.fields.keys()):
                raise ValueError(f"fields: a generic hook says where to find {', '.join(missing)}")
            if not self.statuses:
                object.__setattr__(self, "statuses", {status: status for status in get_args(Status)})
            return self
        if wrong := sorted(self.fields.keys() - _FURTHER):
            raise ValueError(f"fields: the preset {self.preset} knows where to find {', '.join(wrong)}")
        if self.statuses or self.only or self.at or self.minor_units:
            raise ValueError("statuses, only, at and minor_units are for the preset generic")
        return self
