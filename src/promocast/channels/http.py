"""The shared HTTP transport: aiohttp's connection pools with two doors.

`post` is the fast one, for popup, call and push. `transport` gives the same pools to SDKs that speak httpx
(python-telegram-bot, twilio). Both say exactly whether a failed request may have reached the provider: aiohttp tells
a refused connection from a dropped answer, and that difference decides whether a player gets a message twice.

Every socket is guarded (`guard.permits`) by the address that it is about to be connected to, however that address was
come by: a literal, a name, a name that means something else by now.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection

from promocast import gate
from promocast.channels import guard
from promocast.errors import ForbiddenAddress, MaybeSent, NotSent, TransportError
from promocast.model import SECOND

# Bytes, decoded. Providers' answers are small; whoever sends more is not one.
LARGEST_ANSWER = 64 * 1024

FORBIDDEN_ADDRESS = "forbidden address"
FORBIDDEN_URL = "forbidden url"


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's HTTP answer. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Pools:
    """A connection pool for each set of allowed networks, made when it is first asked for.

    A connection that was opened by permission is thereby never reused by a request that has none.

    Args:
        resolver: asked for the addresses of names; the system's by default.
    """

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver
        self._sessions: dict[guard.Networks, aiohttp.ClientSession] = {}

    def session(self, allow: guard.Networks) -> aiohttp.ClientSession:
        if allow not in self._sessions:
            self._sessions[allow] = self._open(allow)
        return self._sessions[allow]

    async def close(self) -> None:
        for session in tuple(self._sessions.values()):
            await session.close()

    def _open(self, allow: guard.Networks) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0, ttl_dns_cache=60, resolver=self._resolver, socket_factory=_guarded_by(allow)
        )
        return aiohttp.ClientSession(
            connector=connector,
            request_class=_GatedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            trust_env=False,  # a proxy would connect in our place, past the guard
        )


class Http:
    """The transport, for one event loop. The number of connections is bounded by the channels' slots.

    As made it reaches public addresses only, which is right for URLs that come from data.
    """

    def __init__(self, pools: Pools | None = None, allow: guard.Networks = guard.NOWHERE) -> None:
        self._pools = Pools() if pools is None else pools
        self._allow = allow

    def within(self, allow: guard.Networks) -> Http:
        """The same transport for requests that may reach, beyond public addresses, these networks and no others."""
        return Http(self._pools, allow)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, connect_timeout: int, timeout: int
    ) -> Answer:
        """POST once. Redirects are not followed, proxies of the environment are not used, the answer is capped.

        Args:
            connect_timeout, timeout: milliseconds to connect, and from then to the whole answer.

        Raises:
            ForbiddenAddress: the guard refuses every address of the host, or the URL is none that is posted to.
            NotSent: refused, no DNS answer, TLS handshake failed, connect timeout.
            MaybeSent: the connection broke, or time ran out, after it was made.
        """
        return await self.request("POST", url, body, headers, connect_timeout=connect_timeout, timeout=timeout)

    async def request(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, connect_timeout: int, timeout: int
    ) -> Answer:
        """As `post`, with any method."""
        _refuse_strange(url)
        limits = aiohttp.ClientTimeout(
            total=(connect_timeout + timeout) / SECOND, sock_connect=connect_timeout / SECOND
        )
        tried = _Tried()
        before = _TRIED.set(tried)
        try:
            async with self._pools.session(self._allow).request(
                method, url, data=body, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                return Answer(
                    response.status, {k.lower(): v for k, v in response.headers.items()}, await _read(response)
                )
        except (aiohttp.InvalidURL, UnicodeError) as exc:  # the latter is getaddrinfo's, of labels too long or empty
            raise ForbiddenAddress(FORBIDDEN_URL) from exc
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            if tried.only_forbidden:
                raise ForbiddenAddress(FORBIDDEN_ADDRESS) from exc
            raise NotSent(type(exc).__name__) from exc
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise MaybeSent(type(exc).__name__) from exc
        finally:
            _TRIED.reset(before)

    def transport(self, *, connect_timeout: int, timeout: int) -> httpx.AsyncBaseTransport:
        """The second door. The timeouts are ours: an SDK that forgets its own cannot wait for ever."""
        return _HttpxDoor(self, connect_timeout, timeout)

    async def close(self) -> None:
        """Close all connections, those of every `within` included."""
        await self._pools.close()


@dataclass(slots=True)
class _Tried:
    """What became of the addresses that one request tried."""

    permitted: int = 0
    forbidden: int = 0

    @property
    def only_forbidden(self) -> bool:
        """Where a permitted address was tried as well, that one's fault is the request's: it may be mended."""
        return self.forbidden > 0 and self.permitted == 0


# aiohttp tries a host's addresses in parallel and in rounds, and tells of the last round only, as one OSError whose
# type and text depend on how many failed. So the request counts for itself. The tasks in between copy the context,
# and with it the reference to the one count.
_TRIED: ContextVar[_Tried] = ContextVar("tried")


def _guarded_by(allow: guard.Networks) -> aiohttp.SocketFactoryType:
    """Makes the sockets of a pool. aiohttp connects each to the very address that it was made for."""

    def open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, (host, *_) = info
        tried = _TRIED.get()
        if not _is_permitted(host, allow):
            tried.forbidden += 1
            raise PermissionError(errno.EACCES, FORBIDDEN_ADDRESS)
        tried.permitted += 1
        return socket.socket(family, kind, protocol)

    return open_socket


def _is_permitted(host: str, allow: guard.Networks) -> bool:
    try:
        return guard.permits(ip_address(host), allow)
    except ValueError:  # another spelling, which the system would understand in its own way
        return False


def _refuse_strange(url: str) -> None:
    """
    Raises:
        ForbiddenAddress: not http or https, no host, or credentials in it, which mostly disguise the host.
    """
    try:
        parts = urlsplit(url)
        strange = parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc
    except ValueError as exc:
        raise ForbiddenAddress(FORBIDDEN_URL) from exc
    if strange:
        raise ForbiddenAddress(FORBIDDEN_URL)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The decoded body, cut. aiohttp decodes no further ahead than it is read, so a small bomb stays small."""
    content = await response.content.read(LARGEST_ANSWER)
    while not response.content.at_eof() and len(content) < LARGEST_ANSWER:
        content += await response.content.read(LARGEST_ANSWER - len(content))
    return content


class _GatedRequest(aiohttp.ClientRequest):
    """A request that asks the gate when its connection is made and its first byte is next."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        await gate.about_to_write()
        if conn.protocol is None or not conn.protocol.is_connected():
            raise NotSent("ConnectionLost")  # while its moment was waited for
        return await super().send(conn)


class _HttpxDoor(httpx.AsyncBaseTransport):
    def __init__(self, http: Http, connect_timeout: int, timeout: int) -> None:
        self._http = http
        self._connect_timeout = connect_timeout
        self._timeout = timeout

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length", "connection")}
        try:
            answer = await self._http.request(
                request.method,
                str(request.url),
                await request.aread(),
                headers,
                connect_timeout=self._connect_timeout,
                timeout=self._timeout,
            )
        except (NotSent, ForbiddenAddress) as exc:
            raise httpx.ConnectError(exc.cause, request=request) from exc
        except MaybeSent as exc:
            raise httpx.ReadError(exc.cause, request=request) from exc
        # aiohttp has already decoded the body.
        shown = [
            (k, v)
            for k, v in answer.headers.items()
            if k not in ("content-encoding", "content-length", "transfer-encoding")
        ]
        return httpx.Response(answer.status, headers=shown, content=answer.body, request=request)


def transport_cause(exc: BaseException | None) -> TransportError | None:
    """The transport's own verdict behind an SDK's exception, however deep the SDK wrapped it."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        if isinstance(exc, TransportError):
            return exc
        seen.add(id(exc))
        exc = exc.__cause__ or exc.__context__
    return None


__all__ = ["LARGEST_ANSWER", "Answer", "Http", "Pools", "transport_cause"]
