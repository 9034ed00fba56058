"""The book's shape: what migrations build is what the code expects, and its constraints hold whoever writes."""

from __future__ import annotations

import os
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from promocast.errors import LedgerError
from promocast.ledger import Ledger, migrate, schema
from tests.conftest import NOW
from tests.ledger import plant_campaign, plant_codes, plant_deliveries

CODE: dict[str, Any] = {
    "code": "AB-12",
    "folded": "AB12",
    "campaign_id": "welcome",
    "campaign_version": 1,
    "issued_at": NOW,
}
REDEMPTION: dict[str, Any] = {
    "deposit_id": "tx-1",
    "campaign_id": "welcome",
    "player_id": "p1",
    "amount": "20.00",
    "currency": "EUR",
    "at": NOW,
}


def test_the_migrations_build_exactly_the_tables_of_the_metadata(ledger: Ledger) -> None:
    # Alembic mistakes SQLite's empty default for another; one migration builds both, so PostgreSQL speaks for defaults.
    options = {"compare_type": True, "compare_server_default": ledger.dialect == "postgresql"}

    with ledger.read() as conn:
        context = MigrationContext.configure(conn, opts=options)
        differences = compare_metadata(context, schema.metadata)

    assert differences == []


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)  # which keeps a check word for word
def test_the_migrations_build_exactly_the_checks_of_the_metadata(ledger: Ledger) -> None:
    tables = schema.metadata.sorted_tables
    expected = {t.name: {str(c.sqltext) for c in t.constraints if isinstance(c, CheckConstraint)} for t in tables}

    with ledger.read() as conn:
        found = {t.name: {c["sqltext"] for c in inspect(conn).get_check_constraints(t.name)} for t in tables}

    assert found == expected


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_the_migrations_leave_the_room_for_updates_that_the_metadata_asks_for(ledger: Ledger) -> None:
    asked = {t.name: t.dialect_options["postgresql"]["with"] for t in schema.metadata.sorted_tables}
    expected = {name: [f"fillfactor={options['fillfactor']}"] for name, options in asked.items() if options}

    with ledger.read() as conn:
        rows = conn.execute(text("SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL"))
        found = {row.relname: row.reloptions for row in rows if row.relname in asked}

    assert found == expected


def test_upgrading_again_keeps_the_ledger_as_it_is(ledger: Ledger) -> None:
    first = migrate.identity(ledger)

    before = migrate.upgrade(ledger, os.urandom, NOW + 1)

    assert before == "0006"
    assert migrate.identity(ledger) == first
    migrate.check(ledger)


def test_an_empty_ledger_is_refused_with_what_to_do(ledger_url: str) -> None:
    empty = Ledger(ledger_url)

    with pytest.raises(LedgerError, match=r"empty\. `promocast ledger upgrade`"):
        migrate.check(empty)

    empty.close()


def test_a_ledger_of_another_release_is_refused_with_both_revisions(ledger_url: str) -> None:
    other = Ledger(ledger_url)
    migrate.upgrade(other, os.urandom, NOW)
    with other.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(LedgerError, match="revision 9999, this release needs 0006"):
        migrate.check(other)

    other.close()


def test_a_spelling_is_one_codes_only(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        plant_campaign(conn)
        conn.execute(insert(schema.codes).values(CODE))

    with pytest.raises(IntegrityError), ledger.begin() as conn:
        conn.execute(insert(schema.codes).values(CODE | {"code": "a b 1 2"}))


def test_a_recipient_of_a_request_has_one_code_only(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        plant_codes(conn, "p1")
        request_id = conn.execute(select(schema.requests.c.id)).scalar_one()

    with pytest.raises(IntegrityError), ledger.begin() as conn:
        conn.execute(insert(schema.codes).values(CODE | {"request_id": request_id, "player_id": "p1"}))


def test_a_deposit_has_one_redemption_only(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        first, second = plant_codes(conn, "p1", "p2")
        conn.execute(
            insert(schema.deposits).values(deposit_id="tx-1", player_id="p1", messages="{}", received_at=NOW),
        )
        conn.execute(insert(schema.redemptions).values(REDEMPTION | {"code_id": first}))

    with pytest.raises(IntegrityError), ledger.begin() as conn:
        conn.execute(insert(schema.redemptions).values(REDEMPTION | {"code_id": second}))


@pytest.mark.parametrize("redeemed", [2, -1])
def test_redemptions_stay_between_none_and_the_codes_limit(ledger: Ledger, redeemed: int) -> None:
    with ledger.begin() as conn:
        plant_codes(conn, "p1")

    with pytest.raises(IntegrityError), ledger.begin() as conn:
        conn.execute(update(schema.codes).values(redeemed=redeemed))


def test_a_delivery_has_no_state_but_those_of_the_contract(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        plant_deliveries(conn, 1)

    with pytest.raises(IntegrityError), ledger.begin() as conn:
        conn.execute(update(schema.deliveries).values(state="lost"))


def test_a_delivery_belongs_to_a_code_that_exists(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError), ledger.begin() as conn:
        conn.execute(insert(schema.deliveries).values(code_id=7, rule=0, channel="popup", planned_at=NOW))


def test_a_ledger_is_one_ledger(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError), ledger.begin() as conn:
        conn.execute(insert(schema.ledger).values(id=2, ledger_id="0badcafe", created_at=NOW))
