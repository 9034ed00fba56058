"""The guard: what is public, what an operator's word allows, and that nothing else is ever connected to."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promocast.channels.guard import NOWHERE, Address, Networks, allowance, permits
from promocast.channels.http import LARGEST_ANSWER, Answer, Http, Pools
from promocast.errors import ForbiddenAddress, NotSent
from promocast.model import SECOND
from promocast.standins.base import HttpStandin, Received, Reply
from tests.channels.targets import MALICIOUS, CountingServer, Names

pytestmark = pytest.mark.anyio

EVERYTHING = frozenset({ip_network("0.0.0.0/0"), ip_network("::/0")})
LOOPBACK = frozenset({ip_network("127.0.0.1")})


def networks(*texts: str) -> Networks:
    return frozenset(map(ip_network, texts))


# What is public.


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "169.253.1.1", "223.255.255.1",
     "168.63.129.15", "2606:4700::1111", "2a00:1450:4001:800::200a", "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_public_addresses_are_permitted(address: str) -> None:
    assert permits(ip_address(address))


@given(st.ip_addresses())
def test_what_python_knows_to_be_special_is_refused(address: Address) -> None:
    if not address.is_global or address.is_multicast or address.is_link_local or address.is_loopback:
        assert not permits(address)


@given(st.ip_addresses(v=4))
def test_nat64_is_as_public_as_what_is_behind_it(address: Address) -> None:
    assert permits(ip_address(int(ip_address("64:ff9b::")) | int(address))) == permits(address)


# What is allowed.


@pytest.mark.parametrize(
    ("address", "allow", "permitted"),
    [
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("10.1.2.3", ["10.1.2.0/24", "192.168.0.0/16"], True),
        ("10.1.3.3", ["10.1.2.0/24"], False),
        ("fd12::1", ["fd12::/48"], True),
        ("fd12::1", ["10.0.0.0/8"], False),
        ("::1", ["::1"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        # What is inside counts as well.
        ("64:ff9b::10.1.2.3", ["10.0.0.0/8"], True),
        ("64:ff9b:1::10.1.2.3", ["64:ff9b:1::/48"], False),
        ("64:ff9b:1::10.1.2.3", ["64:ff9b:1::/48", "10.0.0.0/8"], True),
        ("64:ff9b:1::8.8.8.8", ["64:ff9b:1::/48"], True),
        ("64:ff9b:1::8.8.8.8", [], False),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], False),
        ("2002:a01:203::1", ["2002::/16"], False),
        ("2002:a01:203::1", ["2002::/16", "10.0.0.0/8"], True),
        ("2001:0:808:808::f5fe:fdfc", ["2001::/32"], False),  # Teredo of 10.1.2.3 by 8.8.8.8
        ("2001:0:808:808::f5fe:fdfc", ["2001::/32", "10.1.2.3"], True),
        ("224.0.0.1", ["0.0.0.0/0"], True),
    ],
)
def test_networks_of_the_operator_are_allowed_and_no_others(address: str, allow: list[str], permitted: bool) -> None:
    assert permits(ip_address(address), networks(*allow)) is permitted


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:9000/x", ["127.0.0.1"]),
        ("https://10.20.30.40", ["10.20.30.40"]),
        ("http://[fd00::5]:80/", ["fd00::5"]),
        ("http://[fe80::5%25eth0]:80/", ["fe80::5"]),
        ("http://[::ffff:10.0.0.1]/", ["::ffff:10.0.0.1", "10.0.0.1"]),
        ("http://localhost:9000", ["127.0.0.1", "::1"]),
        ("http://LocalHost", ["127.0.0.1", "::1"]),
        ("http://crm.internal", []),
        ("http://localhost.example.com", []),
        ("http://127.0.0.1@crm.internal/", []),
        ("http://127.1/", []),
        ("http://[::1", []),
        ("", []),
    ],
)
def test_an_address_that_the_operator_wrote_is_its_own_permission(url: str, own: list[str]) -> None:
    assert allowance(url, ()) == networks(*own)
    assert allowance(url, [ip_network("10.0.0.0/8")]) == networks("10.0.0.0/8", *own)


# That it holds.


@pytest.fixture
async def server() -> AsyncIterator[CountingServer]:
    async with CountingServer() as made:
        yield made


@pytest.fixture
async def connects(monkeypatch: pytest.MonkeyPatch, server: CountingServer) -> list[str]:
    """The addresses to which this process tried to connect a socket, whether or not anybody is there."""
    loop, seen = asyncio.get_running_loop(), []
    connect: Callable[..., Awaitable[None]] = loop.sock_connect

    async def spy(sock: Any, address: Any) -> None:
        seen.append(address[0])
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", spy)
    return seen


async def post(http: Http, url: str) -> Answer:
    return await http.post(url, b"x", {}, connect_timeout=SECOND, timeout=SECOND)


async def test_no_malicious_target_is_connected_to(server: CountingServer, connects: list[str]) -> None:
    http, passed = Http(Pools(Names())), []
    for target in MALICIOUS:
        try:
            await post(http, target.format(port=server.port))
        except ForbiddenAddress:
            continue
        except NotSent as exc:  # would be tried again
            passed.append((target, exc.cause))
        else:
            passed.append((target, "answered"))
    await http.close()

    assert len(MALICIOUS) >= 100
    assert passed == []
    assert (server.connections, connects) == (0, [])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "loopback.test", "0x7f.1", "0.0.0.0", "[::ffff:127.0.0.1]", "mapped.test", "①②⑦.0.0.1"],
)
async def test_the_same_targets_are_reached_once_everything_is_allowed(server: CountingServer, host: str) -> None:
    http = Http(Pools(Names()), EVERYTHING)

    answer = await post(http, f"http://{host}:{server.port}/")
    await http.close()

    assert (answer.status, server.connections) == (200, 1)


@pytest.mark.parametrize("addresses", [["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["fd00::1", "127.0.0.1"]])
async def test_a_host_is_reached_by_its_permitted_address_only(
    server: CountingServer, connects: list[str], addresses: list[str]
) -> None:
    http = Http(Pools(Names({"mixed.test": [addresses]})), LOOPBACK)

    answer = await post(http, f"http://mixed.test:{server.port}/")
    await http.close()

    assert answer.status == 200
    assert connects == ["127.0.0.1"]


@pytest.mark.parametrize("addresses", [["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["fd00::1", "127.0.0.1"]])
async def test_a_fault_of_a_permitted_address_stays_a_fault_that_may_pass(
    server: CountingServer, connects: list[str], addresses: list[str]
) -> None:
    http = Http(Pools(Names({"mixed.test": [addresses]})), LOOPBACK)
    await server.__aexit__()

    with pytest.raises(NotSent):
        await post(http, f"http://mixed.test:{server.port}/")
    await http.close()

    assert set(connects) == {"127.0.0.1"}


async def test_a_name_that_is_rebound_is_judged_by_the_address_that_it_is_connected_to(
    server: CountingServer, connects: list[str]
) -> None:
    # The first answer stands for a public address.
    names = Names({"rebound.test": [["127.0.0.1"], ["169.254.169.254"]]})
    http = Http(Pools(names), LOOPBACK)

    await post(http, f"http://rebound.test:{server.port}/")
    assert names.asked == ["rebound.test"], "asked once: what was judged is what was connected to"
    with pytest.raises(ForbiddenAddress):
        await post(http, "http://rebound.test:81/")  # another port is another connection, and another question
    await http.close()

    assert names.asked == ["rebound.test"] * 2
    assert connects == ["127.0.0.1"]


async def test_a_connection_by_permission_serves_nobody_without(server: CountingServer) -> None:
    http = Http()
    allowed = http.within(LOOPBACK)

    await post(allowed, server.url)
    for other in (http, http.within(NOWHERE), http.within(networks("127.0.0.2"))):
        with pytest.raises(ForbiddenAddress, match="forbidden address"):
            await post(other, server.url)
    await post(http.within(networks("127.0.0.1/32")), server.url)
    assert server.connections == 1, "the same permission, the same connection"

    await http.close()
    await asyncio.sleep(0.05)
    assert server.open == 0, "all pools are closed together"


# The rest of the transport's manners.


class Site(HttpStandin):
    async def answer(self, request: Received) -> Reply:
        return Reply()


async def test_a_redirect_is_told_and_not_followed(server: CountingServer) -> None:
    async with Site(lambda _: Reply(307, headers={"location": server.url})) as site:
        http = Http(allow=LOOPBACK)
        answer = await post(http, site.url)
        await http.close()

    assert (answer.status, answer.headers["location"]) == (307, server.url)
    assert server.connections == 0


async def test_no_cookie_is_kept_and_no_proxy_is_used(server: CountingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, server.url)
    async with Site(lambda _: Reply(headers={"set-cookie": "a=b; Path=/"})) as site:
        http = Http(allow=LOOPBACK)
        await post(http, site.url)
        await post(http, site.url)
        await http.close()

        assert ["cookie" in request.headers for request in site.requests] == [False, False]
    assert server.connections == 0


async def test_a_decompression_bomb_is_cut_where_it_is_read() -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    async with Site(lambda _: Reply(body=bomb, headers={"content-encoding": "gzip"})) as site:
        http = Http(allow=LOOPBACK)
        tracemalloc.start()
        answer = await post(http, site.url)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await http.close()

    assert len(answer.body) == LARGEST_ANSWER
    assert peak < 4 * 1024 * 1024


def test_teredo_s_client_is_read_as_it_is_written() -> None:
    assert ip_address("2001:0:808:808::f5fe:fdfc").teredo == (IPv4Address("8.8.8.8"), IPv4Address("10.1.2.3"))  # type: ignore[union-attr]
