"""API keys: shown once, kept as a hash, usable until they expire or are revoked."""

from __future__ import annotations

import os

from sqlalchemy import select

from promocast.ledger import Ledger, keys, schema
from promocast.model import DAY
from tests.conftest import NOW
from tests.ledger import plant_campaign


def test_a_key_is_found_by_itself_with_all_that_it_may_do(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        plant_campaign(conn)
        key_id, key = keys.create(conn, ["read", "issue"], os.urandom, NOW, campaign_id="welcome", expires_at=NOW + DAY)

        found = keys.find(conn, key)

    assert found == keys.Key(key_id, frozenset({"issue", "read"}), "welcome", NOW, NOW + DAY, None)


def test_a_key_names_itself_and_carries_256_random_bits(ledger: Ledger) -> None:
    drawn: list[int] = []

    def random(count: int) -> bytes:
        drawn.append(count)
        return bytes(count)

    with ledger.begin() as conn:
        key_id, key = keys.create(conn, ["read"], random, NOW)

    assert key.startswith(f"{key_id}_")
    assert 32 in drawn


def test_the_ledger_keeps_no_key_that_could_be_used(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        key_id, key = keys.create(conn, ["admin"], os.urandom, NOW)
        secret = key.removeprefix(f"{key_id}_")

        [stored] = conn.execute(select(schema.api_keys)).all()

    assert not [value for value in stored if secret in str(value)]


def test_what_is_not_quite_a_key_is_none(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        key_id, key = keys.create(conn, ["read"], os.urandom, NOW)

        found = [keys.find(conn, wrong) for wrong in ("", key_id, f"{key}A", key[:-1], key.swapcase())]

    assert found == [None] * 5


def test_a_key_is_usable_until_the_moment_it_expires(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        _, key = keys.create(conn, ["read"], os.urandom, NOW, expires_at=NOW + DAY)

        found = keys.find(conn, key)

    assert found is not None
    assert [found.usable(now) for now in (NOW, NOW + DAY - 1, NOW + DAY)] == [True, True, False]


def test_a_key_is_revoked_once_and_never_usable_again(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        key_id, key = keys.create(conn, ["read"], os.urandom, NOW)

        answers = [keys.revoke(conn, key_id, NOW + 1), keys.revoke(conn, key_id, NOW + 2)]
        found = keys.find(conn, key)

    assert answers == [True, False]
    assert found is not None
    assert found.revoked_at == NOW + 1
    assert not found.usable(NOW + 1)


def test_a_key_that_does_not_exist_cannot_be_revoked(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        assert not keys.revoke(conn, "pk_nobody", NOW)


def test_all_keys_are_listed_oldest_first_revoked_ones_too(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        created = [keys.create(conn, ["read"], os.urandom, NOW + age)[0] for age in (2, 0, 1)]
        keys.revoke(conn, created[1], NOW + 3)

        listed = [key.id for key in keys.everyone(conn)]

    assert listed == [created[1], created[2], created[0]]
