"""The application: resources, errors, and what every request passes."""

from __future__ import annotations

from fastapi import FastAPI

from promocast.api import codes, deposits, events, health, issue, players, problems
from promocast.runtime import Runtime


def create(runtime: Runtime) -> FastAPI:
    """The API over a runtime. Handlers are plain functions: they wait on the ledger in a thread pool."""
    app = FastAPI(
        title="promocast",
        summary="Issues promo codes, delivers them to players, and decides which deposit redeems which code.",
        version="1",
        docs_url=None,
        redoc_url=None,
        strict_content_type=False,  # CRMs post JSON under all kinds of content types, or none
        max_body_size=runtime.settings.api.max_body,
    )
    app.state.runtime = runtime
    problems.install(app)
    for resource in (issue, codes, events, deposits, players, health):
        app.include_router(resource.router)
    return app
