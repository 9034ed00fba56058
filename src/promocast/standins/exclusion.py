"""An exclusion service as docs/exclusion.md describes it."""

from __future__ import annotations

import json

from promocast.standins.base import Fault, HttpStandin, Received, Reply, Script


class ExclusionRegister(HttpStandin):
    """Names those of the players it is asked for who are in `excluded`."""

    def __init__(self, token: str = "", script: Script | None = None) -> None:
        super().__init__(script)
        self.excluded: set[str] = set()
        self._token = token

    async def answer(self, request: Received) -> Reply | Fault:
        if self._token and request.headers.get("authorization") != f"Bearer {self._token}":
            return Reply(401)
        asked = json.loads(request.body)["player_ids"]
        named = [name for name in asked if name in self.excluded]
        return Reply(200, json.dumps({"excluded": named}).encode(), {"content-type": "application/json"})
