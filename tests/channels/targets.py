"""What the guard's tests aim at: a server that counts who connects, names that lie, and the targets themselves."""

# ruff: noqa: RUF001 - ambiguous characters are what some targets are made of

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping, Sequence
from typing import Self

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

# Refused in every spelling. `{port}` is the counting server's, so that most would reach it were they let through.
MALICIOUS: tuple[str, ...] = (
    # 127.0.0.1, as inet_aton(3) and browsers understand it.
    "http://127.0.0.1:{port}/", "http://127.1:{port}/", "http://127.0.1:{port}/", "http://2130706433:{port}/",
    "http://017700000001:{port}/", "http://0x7f000001:{port}/", "http://0x7f.1:{port}/", "http://0X7F.0.0.0x1:{port}/",
    "http://0177.0.0.1:{port}/", "http://0000177.0.0.1:{port}/", "http://127.0.0.1.:{port}/",
    "http://127.0.0.1..:{port}/", "http://127.255.255.254:{port}/",
    # Unspecified: most systems connect to themselves.
    "http://0.0.0.0:{port}/", "http://0:{port}/", "http://[::]:{port}/", "http://0.1.2.3:{port}/",
    # IPv6, and IPv4 inside it: mapped, compatible, translated, NAT64, local NAT64, 6to4, Teredo.
    "http://[::1]:{port}/", "http://[0:0:0:0:0:0:0:1]:{port}/", "http://[::1%25lo]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/", "http://[::ffff:8.8.8.8]:{port}/",
    "http://[::127.0.0.1]:{port}/", "http://[::ffff:0:7f00:1]:{port}/", "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b::a9fe:a9fe]:{port}/", "http://[64:ff9b:1::10.0.0.1]:{port}/", "http://[2002:7f00:1::]:{port}/",
    "http://[2002:a00:1::1]:{port}/", "http://[2002:808:808::1]/", "http://[2001:0:7f00:1::80ff:fffe]:{port}/",
    "http://[2001:0:808:808::f7f7:f7f7]/",
    # Link-local and clouds' metadata.
    "http://169.254.169.254/latest/meta-data/", "http://169.254.0.1/", "http://[fe80::1]:{port}/",
    "http://[fe80::1%25lo]:{port}/", "http://[fe80::1%lo]:{port}/", "http://[febf::1]/", "http://[fd00:ec2::254]/",
    "http://100.100.100.200/", "http://192.0.0.192/", "http://168.63.129.16/",
    # Private, shared, for documentation and benchmarks, multicast, reserved, unassigned.
    "http://10.0.0.1/", "http://10.255.255.255/", "http://172.16.0.1/", "http://172.31.255.255/",
    "http://192.168.0.1/", "http://100.64.0.1/", "http://100.127.255.255/", "http://192.0.2.1/", "http://198.51.100.1/",
    "http://203.0.113.1/", "http://198.18.0.1/", "http://192.88.99.1/", "http://224.0.0.1/", "http://239.255.255.250/",
    "http://240.0.0.1/", "http://255.255.255.255/", "http://[fc00::1]/", "http://[fd12:3456::1]/",
    "http://[fec0::1]/", "http://[ff02::1]/", "http://[2001:db8::1]/", "http://[3fff::1]/", "http://[100::1]/",
    "http://[5f00::1]/", "http://[4000::1]/",
    # Names that lead there.
    "http://localhost:{port}/", "http://LOCALHOST:{port}/", "http://loopback.test:{port}/",
    "http://loopback.test.:{port}/", "http://loopback6.test:{port}/", "http://mapped.test:{port}/",
    "http://spelled.test:{port}/",
    "http://metadata.test/", "http://all-private.test:{port}/", "https://loopback.test:{port}/",
    # Look-alikes that IDNA (UTS 46) folds to ASCII.
    "http://１２７.０.０.１:{port}/", "http://127。0。0。1:{port}/", "http://①②⑦.⓪.⓪.①:{port}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/", "http://ｌoopback.test:{port}/", "http://lоopback.test:{port}/",
    # Userinfo, and URLs that parsers read differently.
    "http://public.test@127.0.0.1:{port}/", "http://public.test:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@public.test/", "http://@127.0.0.1:{port}/", "http://public.test\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@public.test/", "http://127.0.0.1:{port}#@public.test/",
    "http://127.0.0.1:{port}?@public.test/", "http://127.0.0.1\t:{port}/", " http://127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/", "http:///127.0.0.1:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}/", "/codes", "",
    "http://[127.0.0.1]:{port}/", "http://[::1:{port}/", "http://a..b:{port}/", "http://.localhost:{port}/",
    # Ports.
    "http://127.0.0.1/", "http://127.0.0.1:22/", "http://127.0.0.1:6379/", "http://127.0.0.1:0/",
    "http://127.0.0.1:99999/", "http://127.0.0.1:-1/",
    # Other schemes.
    "file:///etc/passwd", "gopher://127.0.0.1:{port}/_FLUSHALL", "ftp://127.0.0.1:{port}/", "unix:///run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/", "ws://127.0.0.1:{port}/", "tcp://127.0.0.1:{port}/", "data:text/plain,x",
)  # fmt: skip


class Names(AbstractResolver):
    """Resolves each name to the next of its answers, the last one for ever; any other as the system does.

    `asked` holds the names that were asked for.
    """

    LIES: Mapping[str, Sequence[Sequence[str]]] = {
        "loopback.test": [["127.0.0.1"]],
        "loopback.test.": [["127.0.0.1"]],
        "xn--lopback-9ig.test": [["127.0.0.1"]],  # with a Cyrillic o
        "loopback6.test": [["::1"]],
        "mapped.test": [["::ffff:127.0.0.1"]],
        "spelled.test": [["127.1"]],  # as a resolver should not
        "metadata.test": [["169.254.169.254"]],
        "all-private.test": [["10.0.0.1", "::1", "127.0.0.1", "fd00::1"]],
    }

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]] | None = None) -> None:
        self._answers = {name: list(several) for name, several in {**self.LIES, **(answers or {})}.items()}
        self._system = ThreadedResolver()
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self._answers:
            return await self._system.resolve(host, port, family)
        several = self._answers[host]
        addresses = several.pop(0) if len(several) > 1 else several[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        return None


class CountingServer:
    """Listens on the loopback addresses and counts connections, whatever comes over them; answers each request 200."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.port = 0
        self._servers: list[asyncio.Server] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        self._servers.append(await asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._servers[0].sockets[0].getsockname()[1]
        if socket.has_ipv6:
            with contextlib.suppress(OSError):  # a machine without IPv6; then nobody can connect there either
                self._servers.append(await asyncio.start_server(self._serve, "::1", self.port))
        return self

    async def __aexit__(self, *exc: object) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # they have gone
        finally:
            self.open -= 1
            writer.close()
