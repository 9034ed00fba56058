"""Callbacks of providers. Who calls is proven by the provider's own means, not by a key of ours."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from promocast import callbacks, metrics
from promocast.api.access import Here
from promocast.callbacks import Callback, Unproven, Unreadable
from promocast.flows import settle
from promocast.ledger import inbox
from promocast.observe import log

router = APIRouter(tags=["callbacks"])


async def whole(request: Request) -> Callback:
    """The request as it came: a signature covers its bytes, and its address as the provider wrote it."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    query = request.scope["query_string"]
    path = raw.split(b"?")[0] + (b"?" + query if query else b"")
    return Callback(path.decode("latin-1"), dict(request.headers), await request.body())


Whole = Annotated[Callback, Depends(whole)]


_BODIES = {
    "application/x-www-form-urlencoded": {"schema": {"type": "object", "description": "Twilio's webhooks (`sms`)"}},
    "application/json": {"schema": {"type": "object", "properties": {"update_id": {"type": "integer"}}}},
    "message/rfc822": {"schema": {"type": "string", "description": "A bounce or complaint, whole (`email`)"}},
}


@router.post(
    "/v1/callbacks/{channel}",
    status_code=204,
    response_class=Response,
    openapi_extra={"requestBody": {"content": _BODIES}},
)
def hear(runtime: Here, channel: str, callback: Whole) -> None:
    """What a provider tells of messages and addresses: Twilio's status callbacks and players' answers (`sms`),
    Telegram's updates (`telegram`), a mail server's bounces and complaints as whole mails (`email`). 404 while the
    channel's secret is not set; 403 where nothing proves that the provider calls. A repetition changes nothing."""
    reader = callbacks.reader(channel, runtime.settings, runtime.returns)
    if reader is None:
        raise HTTPException(404, "No callbacks are taken here: the channel has none, or its secret is not set.")
    try:
        told = reader.read(callback)
    except Unproven:
        metrics.CALLBACKS.labels(channel, "unproven").inc()
        log.warning("callback_unproven", channel=channel)
        raise HTTPException(403, "Nothing proves that this comes from the provider.") from None
    except Unreadable as exc:
        metrics.CALLBACKS.labels(channel, "unreadable").inc()
        log.warning("callback_unreadable", channel=channel, reason=exc.why)
        with runtime.ledger.begin() as conn:
            inbox.put(conn, "callback", "unreadable_callback", f"{channel}: {exc.why}", callback.body, runtime.clock())
        return
    settle.settle(runtime.settling, channel, told, runtime.clock())
    metrics.CALLBACKS.labels(channel, "heard").inc()
