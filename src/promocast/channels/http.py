"""The shared HTTP transport: one aiohttp connection pool with two doors.

`post` is the fast one, for popup, call and push. `transport` gives the same pool to SDKs that speak httpx
(python-telegram-bot, twilio). Both say exactly whether a failed request may have reached the provider: aiohttp tells
a refused connection from a dropped answer, and that difference decides whether a player gets a message twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import httpx
from aiohttp.connector import Connection

from promocast import gate
from promocast.errors import MaybeSent, NotSent, TransportError
from promocast.model import SECOND

# Providers' answers are small; whoever sends more is not one.
LARGEST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's HTTP answer. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Http:
    """The pool. Made inside the running event loop; the number of connections is bounded by the channels' slots."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            request_class=_GatedRequest,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            trust_env=False,
        )

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, connect_timeout: int, timeout: int
    ) -> Answer:
        """POST once. Redirects are not followed, proxies of the environment are not used, the answer is capped.

        Args:
            connect_timeout, timeout: milliseconds to connect, and from then to the whole answer.

        Raises:
            NotSent: refused, no DNS answer, TLS handshake failed, connect timeout.
            MaybeSent: the connection broke, or time ran out, after it was made.
        """
        return await self.request("POST", url, body, headers, connect_timeout=connect_timeout, timeout=timeout)

    async def request(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, connect_timeout: int, timeout: int
    ) -> Answer:
        limits = aiohttp.ClientTimeout(
            total=(connect_timeout + timeout) / SECOND, sock_connect=connect_timeout / SECOND
        )
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                content = await response.content.read(LARGEST_ANSWER)
                while not response.content.at_eof() and len(content) < LARGEST_ANSWER:
                    content += await response.content.read(LARGEST_ANSWER - len(content))
                return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, content)
        except (aiohttp.InvalidURL, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            raise NotSent(type(exc).__name__) from exc
        except (TimeoutError, aiohttp.ClientError) as exc:
            raise MaybeSent(type(exc).__name__) from exc

    def transport(self, *, connect_timeout: int, timeout: int) -> httpx.AsyncBaseTransport:
        """The second door. The timeouts are ours: an SDK that forgets its own cannot wait for ever."""
        return _HttpxDoor(self, connect_timeout, timeout)

    async def close(self) -> None:
        await self._session.close()


class _GatedRequest(aiohttp.ClientRequest):
    """A request that asks the gate when its connection is made and its first byte is next."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        gate.about_to_write()
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
        except NotSent as exc:
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


__all__ = ["LARGEST_ANSWER", "Answer", "Http", "transport_cause"]
