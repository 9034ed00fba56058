"""API keys: a prefix that names them and 256 random bits, of which only the hash is kept."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, insert, select, update

from promocast.ledger.schema import api_keys
from promocast.model import Instant, RandomBytes

SCOPES: Final = ("admin", "codes", "deposits", "issue", "read")


@dataclass(frozen=True, slots=True)
class Key:
    """`campaign_id` binds what the key reports to one campaign."""

    id: str
    scopes: frozenset[str]
    campaign_id: str | None
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None

    def usable(self, now: Instant) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_COLUMNS = (
    api_keys.c.id,
    api_keys.c.scopes,
    api_keys.c.campaign_id,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
)


def create(
    conn: Connection,
    scopes: Collection[str],
    random: RandomBytes,
    now: Instant,
    *,
    campaign_id: str | None = None,
    expires_at: Instant | None = None,
) -> tuple[str, str]:
    """(id, key) of a new key. The key is shown this once; the ledger keeps its hash."""
    key_id = f"pk_{random(6).hex()}"
    key = f"{key_id}_{base64.urlsafe_b64encode(random(32)).decode().rstrip('=')}"
    conn.execute(
        insert(api_keys).values(
            id=key_id,
            digest=_digest(key),
            scopes=" ".join(sorted(scopes)),
            campaign_id=campaign_id,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return key_id, key


def find(conn: Connection, key: str) -> Key | None:
    """The key, usable or not. Looked up by hash: of 256 random bits, its timing tells nothing."""
    row = conn.execute(select(*_COLUMNS).where(api_keys.c.digest == _digest(key))).one_or_none()
    return None if row is None else _key(row)


def everyone(conn: Connection) -> Sequence[Key]:
    return [_key(row) for row in conn.execute(select(*_COLUMNS).order_by(api_keys.c.created_at))]


def revoke(conn: Connection, key_id: str, now: Instant) -> bool:
    """False where there is no such key in use."""
    statement = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
    return conn.execute(statement.values(revoked_at=now)).rowcount == 1


def _key(row: Sequence[object]) -> Key:
    key_id, scopes, *rest = row
    return Key(str(key_id), frozenset(str(scopes).split()), *rest)  # type: ignore[arg-type]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
