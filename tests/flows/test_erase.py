"""Erasing a player: nothing personal of theirs is left, and the books still balance."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import event, text

from promocast import jobs
from promocast.errors import Conflict
from promocast.flows import erase, seal, show, tell
from promocast.jobs import ActionPayload, ClientAction
from promocast.ledger import Ledger, audit, events, inbox, moves, players, schema, story
from promocast.ledger.erasure import Erased
from promocast.ledger.players import Player
from tests.flows.conftest import Bench, job_for

PLAYER = "erika-84213"
PERSONAL = {
    "player_id": PLAYER,
    "locale": "mt-MT",
    "timezone": "Pacific/Chatham",
    "addresses": {
        "email": "erika.musterfrau@example.com",
        "sms": "+35699876543",
        "telegram": "-100200300400",
        "push": [{"kind": "fcm", "token": "fcm-token-of-erika-aaaaaaaaaaaaaaaaaaaaaaaaaa"}],
    },
    "attributes": {"first_name": "Erikahild", "favourite": "Roulettissima"},
}
TRACES = [
    PLAYER,
    "erika.musterfrau",
    "35699876543",
    "-100200300400",
    "-100999",
    "fcm-token-of-erika",
    "Erikahild",
    "Roulettissima",
    "Chatham",
]


def erased(bench: Bench, player_id: str = PLAYER, **how: Any) -> Erased:
    return erase.erase(bench.ledger, player_id, bench.clock(), os.urandom, by="dpo", **how)


def everything(bench: Bench) -> str:
    """All that the ledger says, row by row."""
    with bench.ledger.read() as conn:
        rows = [(table.name, row) for table in schema.metadata.sorted_tables for row in conn.execute(table.select())]
    return "\n".join(f"{name}: {[readable(value) for value in row]}" for name, row in rows)


def readable(value: Any) -> Any:
    return bytes(value).decode() if isinstance(value, bytes | memoryview) else value


def wrong(bench: Bench) -> list[str]:
    with bench.ledger.read() as conn:
        return audit.violations(conn)


def live(bench: Bench) -> None:
    """Everything that leaves a trace of a player."""
    job = job_for("p1", "p2", request_id="r-1")
    job["recipients"].append(PERSONAL)
    accepted = bench.accept(jobs.read_issue_job(job))
    assert accepted.part_id is not None
    bench.issue_part(accepted.part_id)
    alone = job_for(request_id=f"for-{PLAYER}")
    alone["recipients"] = [PERSONAL]
    accepted = bench.accept(jobs.read_issue_job(alone))
    assert accepted.part_id is not None
    bench.issue_part(accepted.part_id)
    waiting = job_for("p1", request_id="r-unissued")
    waiting["recipients"].append(PERSONAL)
    waiting["recipients"].append({"player_id": PLAYER, "addresses": {"email": 7}})
    bench.accept(jobs.read_issue_job(waiting))
    with bench.ledger.begin() as conn:
        players.put(conn, Player(PLAYER, "mt-MT", "Pacific/Chatham", {"sms": False}, []), bench.clock())
        players.opt_out(conn, PLAYER, "email", bench.clock())
        events.append(conn, events.Event("player.opted_out", bench.clock(), data={"player_id": PLAYER}))
        moves.record(conn, "telegram", "-100200300400", "-100999", bench.clock())
    mine = {code.player_id: code for code in bench.issue("p1", "p2", request_id="r-2")} | held(bench)
    act(bench, mine[PLAYER].code, PLAYER)
    act(bench, mine["p1"].code, PLAYER)
    act(bench, "NOTRECORDED", PLAYER)
    bench.deposit("tx-1", player_id=PLAYER, promo_code=mine[PLAYER].code)
    bench.deposit("tx-2", player_id=PLAYER, promo_code="GUESSED")
    bench.clock.advance(bench.terms.grace)
    bench.judge("tx-2")
    bench.deposit("tx-3", player_id=PLAYER, amount="1.00")
    bench.deposit("tx-1", player_id=PLAYER, amount="51.00")  # a conflict, kept in the inbox
    tell.record_message(bench.ledger, [{"player_id": PLAYER, "deposit_id": ""}], bench.clock())
    with bench.ledger.begin() as conn:
        broken = b'{"eid": "1", "user_ext_id": "' + PLAYER.encode() + b'", "payload": {{{'
        inbox.put(conn, "hook", "unreadable_hook", "crm: no JSON", broken, bench.clock())
        both = orjson.dumps(job_for("p1") | {"campaign": "unknown", "recipients": [PERSONAL, {"player_id": "p1"}]})
        inbox.put(conn, "job", "unknown_campaign", "no such campaign", both, bench.clock())


def held(bench: Bench) -> dict[str, Any]:
    from promocast.ledger import codes

    with bench.ledger.read() as conn:
        return {PLAYER: codes.page(conn, player_id=PLAYER, request_ref="r-1")[0]}


def act(bench: Bench, code: str, player_id: str) -> None:
    action = ClientAction(
        eid=f"e-{code}",
        user_ext_id=player_id,
        event_type="client_action",
        payload=ActionPayload(client_action="CODE_IS_SHOWN", code=code),
    )
    try:
        show.client_action(
            bench.ledger, action, bench.clock(), versions=bench.versions, ring=bench.ring, grace=bench.terms.grace
        )
    except Conflict:
        return


def traces_in(found: str | bytes) -> list[str]:
    if isinstance(found, bytes):
        return [trace for trace in TRACES if trace.encode() in found]
    return [trace for trace in TRACES if trace in found]


def test_nothing_personal_is_left_in_any_table(bench: Bench) -> None:
    live(bench)
    assert traces_in(everything(bench)) == TRACES, "what is not there before proves nothing"

    counts = erased(bench)

    assert traces_in(everything(bench)) == []
    assert counts == Erased(codes=2, deposits=3, redemptions=1, events=counts.events, requests=1, inbox=4, records=3)
    assert counts.events >= 5
    assert wrong(bench) == []


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_nothing_personal_is_left_in_the_files_of_sqlite(bench: Bench) -> None:
    forget_as_most_builds_do(bench.ledger)
    path = Path(str(bench.ledger.engine.url.database))
    files = [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
    live(bench)
    seal.seal(bench.ledger, bench.clock(), os.urandom, 100)
    for n in range(300):  # pages that are split, merged and freed keep what they held
        bench.issue(PLAYER, f"q{n}", request_id=f"more-{n}")
    assert traces_in(b"".join(file.read_bytes() for file in files))[:2] == TRACES[:2]

    erased(bench)
    with bench.ledger.engine.connect():  # the log goes with its last connection
        assert bench.ledger.scrub()

        assert traces_in(b"".join(file.read_bytes() for file in files)) == []
        assert all(file.exists() for file in files)
    assert wrong(bench) == []


def forget_as_most_builds_do(ledger: Ledger) -> None:
    """Some systems' SQLite is built to overwrite what is deleted; the others only mark it as free."""
    ledger.engine.dispose()
    event.listen(ledger.engine, "connect", lambda conn, _: conn.execute("PRAGMA secure_delete = OFF"))


def test_a_reader_who_does_not_end_is_told_of(bench: Bench) -> None:
    if bench.ledger.dialect != "sqlite":
        assert bench.ledger.scrub()
        return
    live(bench)
    erased(bench)
    with bench.ledger.read() as conn:
        conn.execute(text("SELECT count(*) FROM codes")).scalar_one()
        conn.execute(text("PRAGMA busy_timeout = 1"))

        assert not bench.ledger.scrub(patience=1)
    assert bench.ledger.scrub()


def test_the_seals_hold_before_and_after_and_say_no_more_whose_they_are(bench: Bench) -> None:
    live(bench)
    seal.seal(bench.ledger, bench.clock(), os.urandom, 100)
    [code] = bench.issue(PLAYER, request_id="r-9")
    bench.deposit("tx-9", player_id=PLAYER, promo_code=code.code)  # not sealed yet when they are erased

    erased(bench)
    closed = seal.seal(bench.ledger, bench.clock(), os.urandom, 100)

    assert [one.leaves for one in closed] == [1]
    assert wrong(bench) == []
    with bench.ledger.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM player_salts")).scalar_one() == 0
        names = conn.execute(text("SELECT DISTINCT player_id FROM redemptions")).scalars().all()
    assert [name.startswith("erased:") for name in names] == [True]


def test_a_rollback_of_an_erased_players_deposit_still_counts(bench: Bench) -> None:
    live(bench)
    erased(bench)

    bench.deposit("tx-1", player_id=PLAYER, status="rolled_back")

    with bench.ledger.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM redemptions WHERE rolled_back_at IS NULL")).scalar_one() == 0
    assert traces_in(everything(bench)) == []
    assert wrong(bench) == []


def test_their_codes_are_out_of_use_and_never_given_again(bench: Bench) -> None:
    [code] = bench.issue(PLAYER)

    erased(bench)

    verdict = bench.deposit("tx-7", player_id=PLAYER, promo_code=code.code)
    assert (verdict["result"], verdict["reason"]) == ("refused", "other_player")
    with bench.ledger.read() as conn:
        [row] = conn.execute(text("SELECT code, folded, recipient, revoked_at, player_id FROM codes")).all()
        open_deliveries = conn.execute(text("SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL")).scalar_one()
    assert (row.code, row.recipient, row.revoked_at) == (row.folded, None, bench.clock())
    assert row.player_id.startswith("erased:")
    assert open_deliveries == 0


def test_others_keep_all_that_is_theirs(bench: Bench) -> None:
    live(bench)
    with bench.ledger.read() as conn:
        before = [story.summaries(conn, [code], bench.clock()) for code in page_of(conn, "p1")]

    erased(bench)

    with bench.ledger.read() as conn:
        assert [story.summaries(conn, [code], bench.clock()) for code in page_of(conn, "p1")] == before
        [job] = [entry for entry in inbox.waiting(conn) if entry.kind == "job"]
        [part] = conn.execute(text("SELECT recipients FROM request_parts WHERE recipients IS NOT NULL")).scalars()
    assert [one["player_id"] for one in json.loads(job.body)["recipients"]] == ["p1"]
    assert [player_id for player_id, _ in json.loads(part)] == ["p1"]


def page_of(conn: Any, player_id: str) -> Sequence[Any]:
    from promocast.ledger import codes

    return codes.page(conn, player_id=player_id)


def test_a_player_who_is_blocked_is_not_forgotten_by_mistake(bench: Bench) -> None:
    with bench.ledger.begin() as conn:
        block = {"type": "Excluded", "active": True, "until": None}
        players.put(conn, Player(PLAYER, None, None, {}, [block]), bench.clock())

    with pytest.raises(Conflict, match="blocked"):
        erased(bench)
    assert PLAYER in everything(bench)

    erased(bench, blocked_too=True)
    assert PLAYER not in everything(bench)


def test_erasing_is_recorded_without_saying_whom_and_again_finds_nothing(bench: Bench) -> None:
    live(bench)
    erased(bench, reason="request 17")

    again = erased(bench)

    assert again == Erased(0, 0, 0, 0, 0, 0, 0)
    with bench.ledger.read() as conn:
        told = [item for item in events.feed(conn, events.START, 1_000)[0] if item["type"] == "player.erased"]
    assert [item["data"]["by"] for item in told] == ["dpo", "dpo"]
    assert told[0]["data"]["reason"] == "request 17"
    assert told[0]["data"]["player_id"].startswith("erased:")


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b'{"user_ext_id": "84213", "x": 1}', b""),
        (b'{"user_id": 84213}', b""),
        (b'{"amount": 84213}', None),
        (b'[{"payload": {"customer": {"id": "84213"}}}]', b""),
        (b'{"user_ext_id": "842130"}', None),
        (b"user=84213&amount=1", b""),
        (b"user=842130&amount=1", None),
        (b'{"recipients": [{"player_id": "84213"}, {"player_id": "p1"}]}', b'{"recipients": [{"player_id": "p1"}]}'),
        (b'{"recipients": [{"player_id": "p1"}]}', None),
        (b"\xff\xfe 84213", b""),
        (b"", None),
    ],
)
def test_what_is_left_of_a_raw_body_without_a_player(body: bytes, left: bytes | None) -> None:
    assert erase.without(body, "84213") == left


def test_a_short_id_is_not_taken_for_any_number() -> None:
    assert erase.without(b"1 is broken {", "1") is None
    assert erase.without(b'{"player_id": "1"}', "1") == b""
