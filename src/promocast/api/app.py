"""The application: resources, errors, and what every request passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promocast import metrics
from promocast.api import (
    callbacks,
    campaigns,
    codes,
    deposits,
    events,
    health,
    hooks,
    issue,
    players,
    problems,
    unsubscribe,
    uploads,
)  # fmt: skip
from promocast.runtime import Runtime


class JsonWhateverItIsCalled:
    """Everything that is posted here is JSON, under whatever content type a CRM sends it, or under none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("POST", "PUT"):
            headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
            scope = {**scope, "headers": [*headers, (b"content-type", b"application/json")]}
        await self._app(scope, receive, send)


# What else a stranger may call a method is counted as one.
METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD"})


class Measured:
    """Times every request by its route; never by its path, which may hold a code."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, told)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            metrics.REQUEST_SECONDS.labels(method, route, status).observe(time.perf_counter() - started)


def create(runtime: Runtime) -> FastAPI:
    """The API over a runtime. Handlers are plain functions: they wait on the ledger in a thread pool."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        turning = asyncio.create_task(runtime.progress.keep_turning("event loop"))
        yield
        turning.cancel()
        await turning

    app = FastAPI(
        title="promocast",
        summary="Issues promo codes, delivers them to players, and decides which deposit redeems which code.",
        version="1",
        docs_url=None,
        redoc_url=None,
        responses=problems.DESCRIBED,
        max_body_size=runtime.settings.api.max_body,
        lifespan=lifespan,
    )
    app.state.runtime = runtime
    app.add_middleware(Measured)  # innermost: the route is written into the scope that it sees
    app.add_middleware(JsonWhateverItIsCalled)
    problems.install(app)
    resources = (
        uploads, issue, campaigns, codes, events, deposits, players, callbacks, hooks, unsubscribe, health,
    )  # fmt: skip
    for resource in resources:
        app.include_router(resource.router)
    return app
