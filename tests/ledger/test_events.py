"""Events: one order that a reader can follow, page by page, without missing any."""

from __future__ import annotations

from typing import Any

import pytest

from promocast.ledger import Ledger, deliveries, events
from promocast.ledger.deliveries import NewDelivery
from promocast.ledger.events import START, Event
from tests.conftest import NOW
from tests.ledger import plant_codes


def append(ledger: Ledger, *appended: Event) -> None:
    for event in appended:
        with ledger.begin() as conn:
            events.append(conn, event)


def feed(ledger: Ledger, after: str = START, limit: int = 100) -> tuple[list[dict[str, Any]], str]:
    with ledger.read() as conn:
        return events.feed(conn, after, limit)


def followed(ledger: Ledger, limit: int) -> list[dict[str, Any]]:
    """All events, read page by page until a page is empty."""
    found: list[dict[str, Any]] = []
    page, cursor = feed(ledger, START, limit)
    while page:
        assert len(page) <= limit
        found += page
        page, cursor = feed(ledger, cursor, limit)
    return found


def test_an_event_is_shown_with_its_code_and_data(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        [code_id] = plant_codes(conn, "p1")
        number = events.append(conn, Event("code.redeemed", NOW, "welcome", code_id, {"amount": "20.00"}))

    [event], cursor = feed(ledger)

    assert event == {
        "cursor": cursor,
        "type": "code.redeemed",
        "at": "2026-11-24T10:00:00Z",
        "campaign": "welcome",
        "code": "CODE-P1",
        "player_id": "p1",
        "data": {"amount": "20.00", "sequence": number},
    }


def test_an_event_of_no_code_is_shown_as_it_is(ledger: Ledger) -> None:
    append(ledger, Event("channel.halted", NOW, data={"channel": "sms"}))

    [event], _ = feed(ledger)

    assert "code" not in event
    assert (event["type"], event["campaign"], event["data"]) == ("channel.halted", None, {"channel": "sms"})


def test_an_entry_with_subjects_is_one_event_for_each_of_them(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        code_ids = plant_codes(conn, "p1", "p2", "p3")
        events.append(conn, Event("code.issued", NOW, "welcome", subjects=code_ids))

    found, _ = feed(ledger)

    assert [(e["type"], e["code"], e["player_id"]) for e in found] == [
        ("code.issued", "CODE-P1", "p1"),
        ("code.issued", "CODE-P2", "p2"),
        ("code.issued", "CODE-P3", "p3"),
    ]


def test_sent_deliveries_are_shown_with_their_code_and_channel(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        [code_id] = plant_codes(conn, "p1")
        wanted = [NewDelivery(code_id, 0, channel, 0, NOW) for channel in ("popup", "email")]
        planned = deliveries.plan(conn, wanted, NOW)
        events.append(conn, Event("delivery.sent", NOW, subjects=[row_id for _, row_id, _ in planned]))

    found, _ = feed(ledger)

    assert [(e["type"], e["code"]) for e in found] == [("delivery.sent", "CODE-P1")] * 2
    assert {e["data"]["channel"] for e in found} == {"popup", "email"}


def test_a_reader_who_goes_from_page_to_page_sees_every_event_once(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        code_ids = plant_codes(conn, *(f"p{i}" for i in range(7)))
    batch = Event("code.issued", NOW, "welcome", subjects=code_ids)
    shown = [Event("code.shown", NOW, "welcome", code_id) for code_id in code_ids[:3]]
    append(ledger, batch, *shown, batch)

    read = {limit: followed(ledger, limit) for limit in (2, 3, 4, 100)}

    players = [f"p{i}" for i in range(7)]
    for found in read.values():
        assert [e["player_id"] for e in found] == players + players[:3] + players
        assert len({e["cursor"] for e in found}) == len(found)


def test_any_cursor_is_a_place_to_go_on_from(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        code_ids = plant_codes(conn, "p1", "p2", "p3")
    append(ledger, Event("code.issued", NOW, "welcome", subjects=code_ids), Event("code.shown", NOW))
    whole, _ = feed(ledger)

    for place, event in enumerate(whole, 1):
        rest, _ = feed(ledger, event["cursor"])
        assert rest == whole[place:]


def test_a_reader_who_has_seen_all_keeps_the_cursor_and_gets_what_comes_later(ledger: Ledger) -> None:
    append(ledger, Event("code.shown", NOW))
    _, end = feed(ledger)

    assert feed(ledger, end) == ([], end)

    append(ledger, Event("code.expired", NOW))
    later, _ = feed(ledger, end)
    assert [event["type"] for event in later] == ["code.expired"]


def test_what_is_no_cursor_is_refused(ledger: Ledger) -> None:
    for cursor in ("", "7", "1.2", "1.2.3.4", "a.b.c", "-1.0.0", "1.2.³", "1.2.3 "):
        with pytest.raises(ValueError, match="is no cursor"):
            feed(ledger, cursor)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_an_entry_of_a_transaction_that_is_still_open_is_not_passed_by(ledger: Ledger) -> None:
    with ledger.begin() as slow:
        events.append(slow, Event("code.shown", NOW))
        append(ledger, Event("code.expired", NOW))

        early, cursor = feed(ledger)

    found, _ = feed(ledger, cursor)
    assert (early, cursor) == ([], START)
    assert [event["type"] for event in found] == ["code.shown", "code.expired"]


def test_a_second_event_of_the_same_senders_id_is_the_same_event(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        first = events.append_once(conn, Event("client_action", NOW), "client_action:e-1")
        other = events.append_once(conn, Event("client_action", NOW), "client_action:e-2")
    with ledger.begin() as conn:
        again = events.append_once(conn, Event("client_action", NOW + 1), "client_action:e-1")

    assert again is None
    found, _ = feed(ledger)
    assert first != other
    assert len(found) == 2


def test_the_events_of_a_code_are_told_oldest_first(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        first, second = plant_codes(conn, "p1", "p2")
        events.append(conn, Event("code.shown", NOW, "welcome", first))
        events.append(conn, Event("code.shown", NOW, "welcome", second))
        event_id = events.append(conn, Event("code.redeemed", NOW + 1, "welcome", first, {"amount": "20.00"}))

    with ledger.read() as conn:
        told = events.of_code(conn, first)
        data = events.data_of(conn, [event_id])

    assert told == [("code.shown", NOW, {}), ("code.redeemed", NOW + 1, {"amount": "20.00"})]
    assert data == {event_id: told[1]}


def test_events_recorded_together_are_numbered_in_their_order(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        ids = events.append_all(conn, [Event("client_action", NOW, data={"name": str(i)}) for i in range(300)])
        assert events.append_all(conn, []) == []
        stored = events.data_of(conn, ids)

    assert ids == sorted(set(ids))
    assert [stored[i][2]["name"] for i in ids] == [str(i) for i in range(300)]
