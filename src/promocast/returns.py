"""Returns: how what comes back after a send finds its delivery.

A delivery has a name that is known outside, and where nobody vouches for what comes back, a token that proves we gave
the name out. Both survive a mail server that folds case and a provider that repeats them months later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlencode

from promocast import signing

Purpose = Literal["unsubscribe", "bounce"]

_KEY: Final = re.compile(r"d-([0-9a-f]{8})-([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Returns:
    """`ledger_id` and `secret` are the ledger's own; `public_url` is where players and providers reach the API, or
    empty: then nothing leads back."""

    ledger_id: str
    secret: bytes = field(repr=False)
    public_url: str = ""

    def key_of(self, delivery_id: int) -> str:
        """What a delivery is called outside: the same on every attempt, unique over all ledgers, and without a dot."""
        return f"d-{self.ledger_id}-{delivery_id}"

    def delivery_of(self, key: str) -> int | None:
        """The delivery that is called `key`; None if it is none of this ledger's."""
        found = _KEY.fullmatch(key)
        return int(found[2]) if found and found[1] == self.ledger_id and int(found[2]) < 1 << 63 else None

    def token(self, purpose: Purpose, key: str) -> str:
        return signing.token(self.secret, purpose, key)

    def opened(self, purpose: Purpose, token: str) -> int | None:
        """The delivery that `token` was made for; None if we did not make it, or for something else."""
        key = signing.opened(self.secret, purpose, token)
        return None if key is None else self.delivery_of(key)

    def unsubscribe_url(self, key: str) -> str:
        return f"{self.public_url}/u/{self.token('unsubscribe', key)}" if self.public_url else ""

    def report_url(self, channel: str, key: str) -> str:
        """Where a provider that signs what it says tells what became of a message."""
        return f"{self.public_url}/v1/callbacks/{channel}?{urlencode({'delivery': key})}" if self.public_url else ""
