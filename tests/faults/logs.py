"""What must not stand in a log, and the search for it in everything that an installation's processes have logged."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr
from sqlalchemy import select

from promocast import valkey
from promocast.demo.world import World
from promocast.ledger import Ledger
from promocast.ledger.schema import codes, ledger, request_parts
from tests.e2e.harness import Installation

# A short identifier, as a player's, is looked for as a word: parts of longer words are others'.
_WORD: Final = re.compile(r"[\w@.+-]+")
# Shorter secrets than this would be found in anything; ours are all longer.
SHORTEST_SECRET: Final = 8


def search(up: Installation, world: World, more_logs: Iterable[Path] = ()) -> None:
    """
    Raises:
        AssertionError: a log has something in it that was used; names the file and the kind, and not the thing.
    """
    with up.ledger() as opened:
        known = known_of(opened)
    known["secret"] |= set(_secrets(up, world))
    files = [*sorted(up.log.parent.glob("*.log")), *more_logs]
    found = [f"{file.name}: {kind}" for file in files for kind in kinds_in(file.read_text(errors="replace"), known)]
    kinds = ", ".join(f"{len(values)} of kind {kind}" for kind, values in known.items())
    print(f"{len(files)} logs searched for {kinds}: {len(found)} found")
    assert found == []


def kinds_in(text: str, known: Mapping[str, set[str]]) -> list[str]:
    """Which kinds of what is `known` stand in `text`."""
    words = {word.strip(".-") for word in _WORD.findall(text)}
    return [kind for kind, values in known.items() if any(_stands_in(value, text, words) for value in values)]


def _stands_in(value: str, text: str, words: set[str]) -> bool:
    return value in words or (len(value) >= SHORTEST_SECRET and value in text)


def known_of(opened: Ledger) -> dict[str, set[str]]:
    """{kind: all of that kind that the ledger holds}: codes, players, their addresses, and its own secret."""
    known: dict[str, set[str]] = {"code": set(), "player": set(), "address": set(), "secret": set()}
    with opened.read() as conn:
        for code in conn.execute(select(codes.c.code, codes.c.folded)):
            known["code"] |= {code.code, code.folded}
        known["secret"].add(conn.execute(select(ledger.c.secret)).scalar_one())
        for text in conn.execute(select(request_parts.c.recipients)).scalars():
            for player_id, stored in json.loads(text or "[]"):
                known["player"].add(player_id)
                known["address"] |= set(_strings(json.loads(stored)["addresses"])) - {"fcm", player_id}
    # A number is also an address without its plus.
    known["address"] |= {address.removeprefix("+") for address in known["address"]}
    return known


def _secrets(up: Installation, world: World) -> Iterator[str]:
    """What the settings hold as secrets, in every spelling in which a library might log it."""
    yield from up.keys
    for url in (valkey.queue_url(up.settings), up.settings.ledger_url):
        yield from filter(None, [urlsplit(url).password])
    for secret in _secret_values(up.settings):
        yield secret
        yield secret.removeprefix("whsec_")
        if secret.startswith("{"):  # a key file: a few lines of the key are the key
            yield from (line for line in json.loads(secret)["private_key"].splitlines() if len(line) > 40)
    sms, telegram = up.settings.channels.sms, up.settings.channels.telegram
    yield base64.b64encode(f"{sms.account_sid}:{sms.auth_token.get_secret_value()}".encode()).decode()
    yield telegram.token.get_secret_value().partition(":")[2]
    yield from world.fcm._issued


def _secret_values(section: Any) -> Iterator[str]:
    if isinstance(section, SecretStr):
        value = section.get_secret_value()
        if len(value) >= SHORTEST_SECRET:
            yield value
    elif isinstance(section, BaseModel):
        for name in type(section).model_fields:
            yield from _secret_values(getattr(section, name))
    elif isinstance(section, Mapping):
        yield from (found for value in section.values() for found in _secret_values(value))
    elif isinstance(section, tuple | list):
        yield from (found for value in section for found in _secret_values(value))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (found for each in value.values() for found in _strings(each))
    elif isinstance(value, list):
        yield from (found for each in value for found in _strings(each))
