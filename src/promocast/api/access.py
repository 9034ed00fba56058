"""Who may call what: API keys with scopes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from promocast.ledger import keys
from promocast.ledger.keys import Key
from promocast.runtime import Runtime

_BEARER = HTTPBearer(auto_error=False, description="A key of `promocast keys create`.")


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


Here = Annotated[Runtime, Depends(runtime_of)]


def having(*scopes: str) -> Callable[..., Key]:
    """A dependency that lets in a key with any of `scopes`, or with `admin`."""

    def check(runtime: Here, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Key:
        if credentials is None:
            raise HTTPException(401, "Give a key: Authorization: Bearer <key>.", {"WWW-Authenticate": "Bearer"})
        with runtime.ledger.read() as conn:
            key = keys.find(conn, credentials.credentials)
        if key is None or not key.usable(runtime.clock()):
            raise HTTPException(401, "The key is unknown, expired or revoked.", {"WWW-Authenticate": "Bearer"})
        if not key.scopes & {*scopes, "admin"}:
            raise HTTPException(403, f"This needs a key with scope {' or '.join(scopes)}.")
        return key

    return check


IssueKey = Annotated[Key, Depends(having("issue"))]
CodesKey = Annotated[Key, Depends(having("codes"))]
DepositsKey = Annotated[Key, Depends(having("deposits"))]
ReadKey = Annotated[Key, Depends(having("read"))]
IssueOrReadKey = Annotated[Key, Depends(having("issue", "read"))]
DepositsOrReadKey = Annotated[Key, Depends(having("deposits", "read"))]
AdminKey = Annotated[Key, Depends(having("admin"))]
