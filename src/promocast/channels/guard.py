"""Which addresses may be connected to: the guard against requests forged through our hands (CWE-918, SSRF).

Pure: it judges an address that is about to be connected to, and resolves nothing. Names are not judged, because what
a name means may change between the question and the connection.

Sources: IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190; as of 2024-10-22) and IPv6 Address
Space (RFC 4291). `ipaddress.is_global` knows another registry in each release of Python, and has called multicast,
IPv4-mapped addresses and the local NAT64 prefix global.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Networks = frozenset[Network]

NOWHERE: Final[Networks] = frozenset()

# Where public hosts live. All other IPv6 is unassigned, and so is not public, whatever it will be assigned to.
_ASSIGNED: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/0",
            "2000::/3",  # the only global unicast that IANA gives out (RFC 4291 section 2.4)
            "64:ff9b::/96",  # NAT64 (RFC 6052): as public as the IPv4 in it, and how IPv6-only hosts reach IPv4
        ),
    )
)

# What within these is not public all the same.
_SPECIAL: Final = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network, unspecified (RFC 791); many systems take 0.0.0.0 for themselves
            "10.0.0.0/8",  # private (RFC 1918)
            "100.64.0.0/10",  # carrier-grade NAT (RFC 6598)
            "127.0.0.0/8",  # loopback (RFC 1122)
            "168.63.129.16/32",  # Azure's host agent, on every virtual machine, under a public number
            "169.254.0.0/16",  # link-local (RFC 3927); clouds' metadata at 169.254.169.254
            "172.16.0.0/12",  # private (RFC 1918)
            "192.0.0.0/24",  # IETF protocol assignments (RFC 6890); Oracle Cloud's metadata at 192.0.0.192
            "192.0.2.0/24",  # documentation (RFC 5737)
            "192.88.99.0/24",  # 6to4 relays (RFC 3068, deprecated by RFC 7526)
            "192.168.0.0/16",  # private (RFC 1918)
            "198.18.0.0/15",  # benchmarks (RFC 2544)
            "198.51.100.0/24",  # documentation (RFC 5737)
            "203.0.113.0/24",  # documentation (RFC 5737)
            "224.0.0.0/4",  # multicast (RFC 5771)
            "240.0.0.0/4",  # reserved (RFC 1112), limited broadcast (RFC 919)
            "2001::/23",  # IETF protocol assignments (RFC 2928), Teredo among them (RFC 4380)
            "2001:db8::/32",  # documentation (RFC 3849)
            "2002::/16",  # 6to4 (RFC 3056, deprecated by RFC 7526)
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)

# IPv6 that ends in the IPv4 address which it really leads to.
_ENDS_IN_IPV4: Final = tuple(
    map(
        ip_network,
        (
            "::/96",  # IPv4-compatible (RFC 4291 section 2.5.5.1)
            "::ffff:0:0/96",  # IPv4-mapped (RFC 4291 section 2.5.5.2)
            "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
            "64:ff9b::/96",  # NAT64 (RFC 6052)
            "64:ff9b:1::/48",  # local NAT64 (RFC 8215), read as RFC 6052 section 2.2 does prefixes of 96 bits
        ),
    )
)
_LOCALHOST: Final[Networks] = frozenset({IPv4Network("127.0.0.1"), IPv6Network("::1")})


def permits(address: Address, allow: Iterable[Network] = NOWHERE) -> bool:
    """Whether `address` may be connected to: it, and every IPv4 address in it, is public or in one of `allow`.

    A NAT64 prefix of a network's own (RFC 6052 section 2.2) looks like any public address; such a network keeps its
    translator from reaching private IPv4 itself.

    Args:
        allow: networks from promocast.toml. One of IPv6 does not allow the private IPv4 that is reached through it.
    """
    allow = tuple(allow)
    return all(_is_public(each) or _is_in(each, allow) for each in (address, *embedded(address)))


def embedded(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses to which a translator or tunnel takes what is sent to `address`."""
    if isinstance(address, IPv4Address) or int(address) <= 1:  # :: and ::1 hold none, although they are in ::/96
        return ()
    if address.teredo is not None:
        return address.teredo  # its server and its client (RFC 4380 section 4); both are sent to
    if address.sixtofour is not None:
        return (address.sixtofour,)
    return (IPv4Address(int(address) & 0xFFFFFFFF),) if _is_in(address, _ENDS_IN_IPV4) else ()


def allowance(url: str, allow_private: Iterable[Network]) -> Networks:
    """The networks that requests to `url` may reach beyond the public ones. For URLs of promocast.toml only.

    An address that the operator wrote out, or `localhost`, is itself the permission for that address and no other; a
    name needs `allow_private`, because whoever answers for the name could make it lead anywhere. A URL that makes no
    sense permits nothing.
    """
    try:
        host = urlsplit(url).hostname or ""
        written = _LOCALHOST if host == "localhost" else _exactly(ip_address(host))
    except ValueError:
        written = NOWHERE
    return frozenset(allow_private) | written


def _exactly(address: Address) -> Networks:
    return frozenset(
        IPv4Network(int(each)) if isinstance(each, IPv4Address) else IPv6Network(int(each))
        for each in (address, *embedded(address))
    )


def _is_public(address: Address) -> bool:
    return _is_in(address, _ASSIGNED) and not _is_in(address, _SPECIAL)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


__all__ = ["NOWHERE", "Address", "Network", "Networks", "allowance", "embedded", "permits"]
