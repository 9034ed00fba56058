"""Health: is the process alive, and can it work?"""

from __future__ import annotations

from typing import Any

import redis
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from promocast import jobs
from promocast.api.access import Here
from promocast.errors import QueueUnavailable
from promocast.ledger import migrate

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive(runtime: Here) -> JSONResponse:
    """200 if every loop of the process comes round. On the event loop itself, for the threads may all wait on a ledger
    that is away."""
    stuck = runtime.progress.stuck()
    return JSONResponse({"alive": not stuck, "stuck": stuck}, 503 if stuck else 200)


@router.get("/readyz")
def ready(runtime: Here) -> dict[str, Any]:
    """200 only if the ledger answers, is of this release, and the queue answers too."""
    migrate.check(runtime.ledger)
    try:
        runtime.broker.backlog(jobs.ISSUE)
    except redis.RedisError as exc:
        raise QueueUnavailable(f"The queue does not answer ({type(exc).__name__}).") from exc
    return {"ready": True}
