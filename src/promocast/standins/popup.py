"""A site that takes popups, verifies them with the reference library, and shows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from promocast.standins.base import Fault, HttpStandin, Received, Reply, Script

Shown = Callable[[dict[str, Any]], Awaitable[None]]


class PopupSite(HttpStandin):
    """Answers 204 to a popup whose signature holds, 401 otherwise.

    `on_popup` is called with the popup's `data`, as a player's browser that shows it would be; `popups` holds them.
    """

    def __init__(self, secret: str, on_popup: Shown | None = None, script: Script | None = None) -> None:
        super().__init__(script)
        self.popups: list[dict[str, Any]] = []
        self._webhook = Webhook(secret)
        self.on_popup = on_popup

    async def answer(self, request: Received) -> Reply | Fault:
        try:
            self._webhook.verify(request.body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            return Reply(401)
        data = orjson.loads(request.body)["data"]
        self.popups.append(data)
        if self.on_popup is not None:
            await self.on_popup(data)
        return Reply(204)
