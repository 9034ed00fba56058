"""What `promocast status` shows: what is still to come on each channel, what holds it up, and who is alive."""

from __future__ import annotations

from sqlalchemy import update

from promocast.cli.status import SHARE, View
from promocast.ledger import channels, figures, migrate, schema
from promocast.loading import load
from promocast.model import HOUR, MINUTE, rfc3339, system_clock
from promocast.monitor import Monitor, Views, listen
from tests.cli.conftest import Installation


def test_a_channel_shows_what_is_due_and_since_when(promocast: Installation) -> None:
    promocast.issue("p1", "p2", "p3")
    d = schema.deliveries
    now = system_clock()
    with promocast.ledger() as ledger, ledger.begin() as conn:
        [first, second, third] = conn.execute(d.select().order_by(d.c.id)).all()
        conn.execute(update(d).where(d.c.id == first.id).values(due_at=now - 10 * MINUTE))
        conn.execute(update(d).where(d.c.id == second.id).values(state="unknown", due_at=now + HOUR))
        conn.execute(update(d).where(d.c.id == third.id).values(state="sent", due_at=None, sent_at=now))

    told = promocast("status", "--json").json

    popup = told["open"]["popup"]
    assert (popup["planned"], popup["sending"], popup["unknown"], popup["due"]) == (1, 0, 1, 1)
    assert 600 <= popup["oldest_due_seconds"] < 660
    assert told["open"]["email"]["oldest_due_seconds"] is None
    assert told["channels"]["popup"] == {"planned": 1, "unknown": 1, "sent": 1}


def test_a_channel_shows_what_holds_it_up(promocast: Installation) -> None:
    promocast.configure('[channels.email]\nhost = "127.0.0.1"\nsender = "a@example.com"\nrate = 12.5\n')
    now = system_clock()
    with promocast.ledger() as ledger, ledger.begin() as conn:
        channels.halt(conn, "email", "auth 535 5.7.8", now, now + MINUTE)
        channels.pause(conn, "sms", now)

    as_json, as_text = promocast("status", "--json").json, promocast("status").out

    email = as_json["open"]["email"]
    assert (email["halted"], email["next_probe"]) == ("auth 535 5.7.8", rfc3339(now + MINUTE))
    assert (email["rate"], email["configured"], email["paused"]) == (12.5, True, False)
    assert (as_json["open"]["sms"]["paused"], as_json["open"]["sms"]["configured"]) == (True, False)
    assert (as_json["paused"], as_json["halted"]) == (["sms"], {"email": "auth 535 5.7.8"})
    assert f"halted: auth 535 5.7.8, next probe {rfc3339(now + MINUTE)}; at most 12.5/s" in as_text


def test_everything_that_is_stopped_pauses_every_channel(promocast: Installation) -> None:
    promocast("stop-all")

    told = promocast("status", "--json").json

    assert all(of["paused"] for of in told["open"].values())
    assert (told["paused"], told["halted"]) == (["*"], {})


def test_work_that_is_not_taken_up_yet_is_shown(promocast: Installation) -> None:
    promocast("campaign", "apply", promocast.write_campaign())
    promocast("issue", "welcome", promocast.write("given.ndjson", {"player_id": "p1"}))
    deposit = {"deposit_id": "tx-1", "player_id": "p1", "amount": "5.00", "currency": "EUR", "status": "approved"}
    promocast("deposits", "send", promocast.write("deposits.ndjson", deposit))

    told, text = promocast("status", "--json").json, promocast("status").out

    assert (told["parts_waiting"], told["deposits_waiting"]) == (1, 1)
    assert "1 parts to issue, 1 deposits to judge" in text


def test_the_ledger_is_told_with_its_revision_and_size(promocast: Installation) -> None:
    told = promocast("status", "--json").json

    with promocast.ledger() as ledger:
        assert told["ledger_revision"] == migrate.revision(ledger)
    assert told["ledger_size"] > 10_000


def test_who_is_alive_is_asked_where_health_is_served(promocast: Installation) -> None:
    assert promocast("status", "--json").json["processes"] is None
    assert "none seen" in promocast("status").out
    health = {
        "alive": False,
        "processes": {
            "api": {"alive": True, "stuck": {}},
            "sweeper": {"alive": False, "stuck": {"sweeper": 70.0}},
            "worker-issue": {"alive": False, "stuck": {}},
        },
    }
    listener = listen("127.0.0.1", 0)
    promocast.config.write_text(f'data_dir = "{promocast.data}"\n[metrics]\nport = {listener.getsockname()[1]}\n')
    monitor = Monitor(listener, Views(bytes, lambda: health))

    as_json, as_text = promocast("status", "--json").json, promocast("status").out
    monitor.close()

    assert as_json["processes"] == health
    assert "api alive, sweeper stuck (sweeper), worker-issue does not answer" in as_text


def test_while_it_is_watched_totals_are_counted_no_more_often_than_they_cost(promocast: Installation) -> None:
    now = [0.0]

    def elapsed() -> float:
        now[0] += 0.25  # what counting takes, by this clock
        return now[0]

    promocast.issue("p1")
    with promocast.ledger() as ledger:
        view = View(load(promocast.config), ledger, elapsed)
        assert view.look()["channels"] == {"popup": {"planned": 1}}
        with ledger.begin() as conn:
            conn.execute(update(schema.deliveries).values(state="skipped", due_at=None))
            assert figures.counts(conn) == {"popup": {"skipped": 1}}
        soon = view.look()
        now[0] += SHARE * 0.25
        later = view.look()

    assert (soon["channels"], soon["open"]["popup"]["planned"]) == ({"popup": {"planned": 1}}, 0)
    assert later["channels"] == {"popup": {"skipped": 1}}
