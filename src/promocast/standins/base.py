"""What the HTTP stand-ins share: a real server on a loopback port, a record of what it was asked, and a script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in. `headers` has lower-case names, `at` is the monotonic clock's, in seconds."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Fault(Enum):
    """What a network does instead of answering."""

    HANG = "take the request and never answer"
    DROP = "take the request, then reset the connection"
    LOSE_ANSWER = "do all that was asked, then reset the connection instead of answering"


# None: answer as the provider would.
Script = Callable[[Received], Reply | Fault | None]


class HttpStandin:
    """A provider on 127.0.0.1. Subclasses say in `answer` what the real one would; `script` may say otherwise first.

    `requests` holds all that was asked; `wait_for(n)` waits on the n-th request without polling.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.script = script
        self.requests: list[Received] = []
        self.port = 0
        self._arrived = asyncio.Condition()
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: Received) -> Reply | Fault:
        """What the real provider would say to `request`."""
        raise TypeError(f"{type(self).__name__} has no answer to {request.method} {request.path}")

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def wait_for(self, count: int) -> None:
        """Return once `count` requests have come in all."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        received = Received(
            request.method,
            request.path,
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
            await request.read(),
        )
        async with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        reply = self.script(received) if self.script else None
        if reply is None:
            reply = await self.answer(received)
        elif reply is Fault.LOSE_ANSWER:
            await self.answer(received)
        if reply is Fault.HANG:
            await asyncio.Event().wait()
        if reply in (Fault.DROP, Fault.LOSE_ANSWER):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        assert isinstance(reply, Reply)  # noqa: S101 - the faults were handled above
        return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))
