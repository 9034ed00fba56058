"""A system of the operator's that journeys call: a CRM, a bonus engine."""

from __future__ import annotations

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from promocast.standins.base import Fault, HttpStandin, Received, Reply, Script


class Endpoint(HttpStandin):
    """Answers 204 to a call whose signature the reference library verifies, 401 otherwise; `bodies` holds them."""

    def __init__(self, secret: str, script: Script | None = None) -> None:
        super().__init__(script)
        self.bodies: list[bytes] = []
        self._webhook = Webhook(secret)

    async def answer(self, request: Received) -> Reply | Fault:
        try:
            self._webhook.verify(request.body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            return Reply(401)
        self.bodies.append(request.body)
        return Reply(204)
