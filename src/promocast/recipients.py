"""Recipients: whom a job names, with the addresses at which they can be reached.

Reading never raises on one of them: a recipient that is bad is set aside with its reason, the rest go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from promocast import addresses
from promocast.model import Address, PushSubscription
from promocast.reading import Read, Text, identity, pointers

LARGEST_ATTRIBUTES: Final = 16_384  # bytes of JSON per recipient


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("no time zone of the IANA database, as Europe/Malta is one") from None
    return value


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(value))
    except TypeError:
        raise ValueError("holds what JSON cannot: half a surrogate pair, or an integer beyond 64 bits") from None
    if size > LARGEST_ATTRIBUTES:
        raise ValueError(f"has more than {LARGEST_ATTRIBUTES} bytes as JSON")
    return value


Attributes = Annotated[dict[str, Any], Field(max_length=200), AfterValidator(_storable)]


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
    attributes: Attributes = Field(default_factory=dict)

    def stored(self) -> str:
        """The recipient as the ledger keeps it, without the player's id, with the popup's default filled in, and with
        addresses as their networks know them. One that cannot be used stays as it came: sending to it is refused."""
        found = self.addresses.model_dump(exclude_none=True)
        found.setdefault("popup", self.player_id)
        for channel, usable in _USABLE.items():
            if channel in found:
                found[channel] = usable(found[channel]) or found[channel]
        kept = {"locale": self.locale, "timezone": self.timezone, "addresses": found, "attributes": self.attributes}
        return orjson.dumps({key: value for key, value in kept.items() if value}).decode()

    def unusable(self) -> list[str]:
        """The channels on which the recipient's address cannot be one."""
        given = {channel: getattr(self.addresses, channel) for channel in _USABLE}
        return [channel for channel, text in given.items() if text is not None and _USABLE[channel](text) is None]


_USABLE: Final[Mapping[str, Callable[[str], str | None]]] = {
    "email": addresses.mailbox,
    "sms": addresses.phone_number,
    "telegram": addresses.telegram_chat,
}
_RECIPIENT: Final = TypeAdapter(Recipient)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Part of a job or list that was not accepted. `index` is its place in what was sent."""

    index: int
    player_id: str | None
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"index": self.index, "player_id": self.player_id, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Warned:
    """An address of an accepted recipient that cannot be one: its deliveries will be refused."""

    index: int
    player_id: str
    channel: str

    def as_json(self) -> dict[str, Any]:
        return {"index": self.index, "player_id": self.player_id, "channel": self.channel, "reason": "no_such_address"}


def read_recipient(raw: Any, index: int) -> Recipient | Rejection:
    try:
        return _RECIPIENT.validate_python(raw)
    except ValidationError as exc:
        player_id = raw.get("player_id") if isinstance(raw, Mapping) else None
        first = pointers(exc)[0]
        return Rejection(index, identity(player_id), f"invalid_recipient: {first.pointer or '/'}: {first.reason}")


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
