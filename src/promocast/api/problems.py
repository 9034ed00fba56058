"""Errors as RFC 9457 problem documents: what is wrong, where in the body, and a word for programs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from promocast.errors import Conflict, InputError, LedgerError, LedgerUnavailable, NotFound, QueueUnavailable

_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "reason", "detail"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "reason", "detail")},
        "status": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
# What OpenAPI says of every call.
DESCRIBED: dict[int | str, dict[str, Any]] = {
    422: {"description": "Not understood", "content": {"application/problem+json": {"schema": _SCHEMA}}}
}


def problem(status: int, reason: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    content = {
        "type": f"urn:promocast:problem:{reason}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "reason": reason,
        "detail": detail,
        **more,
    }
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    @app.exception_handler(InputError)
    def _input(_: Request, exc: InputError) -> JSONResponse:
        status = 409 if isinstance(exc, Conflict) else 404 if isinstance(exc, NotFound) else 422
        errors = [{"pointer": fault.pointer, "detail": fault.reason} for fault in exc.faults]
        return problem(status, exc.reason, exc.detail, errors=errors)

    @app.exception_handler(RequestValidationError)
    def _validation(_: Request, exc: RequestValidationError) -> JSONResponse:
        errors = []
        for error in exc.errors():
            where, *path = error["loc"]
            prefix = "" if where == "body" else f"/{where}"
            pointer = "" if error["type"] == "json_invalid" else "".join(f"/{part}" for part in path)
            reason = "unknown key" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
            errors.append({"pointer": prefix + pointer, "detail": reason})
        return problem(422, "invalid_request", "The request cannot be understood.", errors=errors)

    @app.exception_handler(LedgerUnavailable)
    def _ledger(_: Request, exc: LedgerUnavailable) -> JSONResponse:
        return problem(503, "ledger_unavailable", str(exc), {"retry-after": "5"})

    @app.exception_handler(LedgerError)
    def _book(_: Request, exc: LedgerError) -> JSONResponse:
        return problem(503, "ledger_not_ready", str(exc), {"retry-after": "30"})

    @app.exception_handler(QueueUnavailable)
    def _queue(_: Request, exc: QueueUnavailable) -> JSONResponse:
        return problem(503, "queue_unavailable", str(exc), {"retry-after": "5"})

    @app.exception_handler(HTTPException)
    def _http(_: Request, exc: HTTPException) -> JSONResponse:
        reason = HTTPStatus(exc.status_code).phrase.lower().replace(" ", "_").replace("-", "_")
        return problem(exc.status_code, reason, str(exc.detail), dict(exc.headers or {}))
