"""The exclusion service over HTTP: one POST asks for many players (docs/exclusion.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from promocast import gate
from promocast.channels import guard
from promocast.channels.http import Answer, Http
from promocast.errors import ExclusionUnavailable, TransportError
from promocast.settings import ExclusionSettings

NOT_UNDERSTOOD: Final = "answer not understood"


class HttpExclusionService:
    """The service of flows/exclusion, at the URL of the settings."""

    def __init__(self, settings: ExclusionSettings, http: Http) -> None:
        self._url = settings.url
        self._timeout = settings.timeout
        self._http = http.within(guard.allowance(settings.url, settings.allow_private))
        self._headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "promocast"}
        if token := settings.token.get_secret_value():
            self._headers["authorization"] = f"Bearer {token}"

    async def excluded(self, player_ids: Sequence[str]) -> frozenset[str]:
        """Those of the players who must not be contacted; an empty list only asks whether the service is there.

        Raises:
            ExclusionUnavailable: no answer in time, another status than 200, or a body that is none.
        """
        body = orjson.dumps({"player_ids": list(player_ids)})
        try:
            with gate.unasked():
                answer = await self._http.post(self._url, body, self._headers, connect_timeout=self._timeout, timeout=0)
        except TransportError as exc:
            raise ExclusionUnavailable(exc.cause) from exc
        return read(answer, player_ids)


def read(answer: Answer, player_ids: Sequence[str]) -> frozenset[str]:
    """The players that the answer names.

    A service that names one who was not asked for writes ids in another way than we do, as a number or without its
    zeros: it would not name ours either, so nothing that it says is believed.

    Raises:
        ExclusionUnavailable: status other than 200, or no `{"excluded": [id, ...]}` of some of `player_ids`.
    """
    if answer.status != 200:
        raise ExclusionUnavailable(f"http {answer.status}")
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        raise ExclusionUnavailable(NOT_UNDERSTOOD) from None
    named = told.get("excluded") if isinstance(told, dict) else None
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ExclusionUnavailable(NOT_UNDERSTOOD)
    if not set(named) <= set(player_ids):
        raise ExclusionUnavailable("names players that were not asked for")
    return frozenset(named)
