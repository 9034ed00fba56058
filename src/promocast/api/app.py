"""The application: resources, errors, and what every request passes."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from promocast.api import callbacks, codes, deposits, events, health, issue, players, problems, unsubscribe
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


def create(runtime: Runtime) -> FastAPI:
    """The API over a runtime. Handlers are plain functions: they wait on the ledger in a thread pool."""
    app = FastAPI(
        title="promocast",
        summary="Issues promo codes, delivers them to players, and decides which deposit redeems which code.",
        version="1",
        docs_url=None,
        redoc_url=None,
        responses=problems.DESCRIBED,
        max_body_size=runtime.settings.api.max_body,
    )
    app.state.runtime = runtime
    app.add_middleware(JsonWhateverItIsCalled)
    problems.install(app)
    for resource in (issue, codes, events, deposits, players, callbacks, unsubscribe, health):
        app.include_router(resource.router)
    return app
