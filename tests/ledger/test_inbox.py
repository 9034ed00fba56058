"""The inbox: what could not be accepted waits there, with its bytes, until somebody replays it."""

from __future__ import annotations

from promocast.ledger import Ledger, inbox
from promocast.ledger.inbox import Entry
from tests.conftest import NOW


def test_an_entry_keeps_the_bytes_as_they_came(ledger: Ledger) -> None:
    body = bytes(range(256))
    with ledger.begin() as conn:
        entry_id = inbox.put(conn, "job", "invalid_job", "/recipients: Field required", body, NOW, "p1")

    with ledger.read() as conn:
        found = inbox.get(conn, entry_id)

    assert found == Entry(entry_id, "job", "invalid_job", "/recipients: Field required", body, NOW, None)


def test_what_waits_is_listed_oldest_first_and_page_by_page(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        ids = [inbox.put(conn, "deposit", "conflict", "", b"{}", NOW) for _ in range(5)]

    with ledger.read() as conn:
        first = [entry.id for entry in inbox.waiting(conn, limit=3)]
        rest = [entry.id for entry in inbox.waiting(conn, after=first[-1], limit=3)]

    assert (first, rest) == (ids[:3], ids[3:])


def test_what_was_replayed_waits_no_more_and_is_still_there(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        done, waits = (inbox.put(conn, "job", "invalid_job", "", b"", NOW) for _ in range(2))
        inbox.mark_replayed(conn, done, NOW + 1)

    with ledger.read() as conn:
        assert [entry.id for entry in inbox.waiting(conn)] == [waits]
        replayed = inbox.get(conn, done)
    assert replayed is not None
    assert replayed.replayed_at == NOW + 1


def test_what_waits_is_counted_by_kind(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        for kind in ("job", "job", "deposit", "client_action"):
            last = inbox.put(conn, kind, "unreadable", "", b"", NOW)
        inbox.mark_replayed(conn, last, NOW)

    with ledger.read() as conn:
        assert inbox.counts(conn) == {"job": 2, "deposit": 1}


def test_an_entry_that_does_not_exist_is_none(ledger: Ledger) -> None:
    with ledger.read() as conn:
        assert inbox.get(conn, 7) is None
