"""What settings are made of: durations, secrets, networks, and the section that refuses what it does not know."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from promocast.model import parse_duration


def _duration(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError('is no duration; write a number and a unit, as in "10s"')  # noqa: TRY004 - pydantic wants this one
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[int, BeforeValidator(_duration), Field(ge=0)]
# Two while a rotation lasts. The text of a `..._FILE` has one a line.
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(lambda v: v.split() if isinstance(v, str) else v)]

IPNetwork = IPv4Network | IPv6Network


def _networks(value: Any) -> tuple[IPNetwork, ...]:
    if isinstance(value, str):  # of the environment
        value = {"true": True, "false": False}.get(value.lower(), [value])
    if isinstance(value, bool):
        return (ip_network("0.0.0.0/0"), ip_network("::/0")) if value else ()
    if not isinstance(value, list | tuple):
        raise ValueError('is true, false, or a list of networks as ["10.0.0.0/8"]')  # noqa: TRY004 - pydantic wants this one
    return tuple(each if isinstance(each, IPNetwork) else ip_network(str(each)) for each in value)


# The networks that `allow_private` opens beyond the public ones.
Networks = Annotated[tuple[IPNetwork, ...], BeforeValidator(_networks)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
