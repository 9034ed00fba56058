"""What the operator asks: keys, status, the doctor, the inbox, and whether the books balance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from promocast.flows import issue
from promocast.flows.versions import Versions
from promocast.ledger import channels, inbox, keys, players, schema
from promocast.ledger.keys import Key
from promocast.ledger.players import Player
from promocast.model import DAY, system_clock
from promocast.standins.exclusion import ExclusionRegister
from tests.cli.conftest import CAMPAIGN, Done, Installation
from tests.flows.desk import running_loop

NOWHERE = "127.0.0.1:1"


# -- keys


def find(promocast: Installation, key: str) -> Key | None:
    with promocast.ledger() as ledger, ledger.read() as conn:
        return keys.find(conn, key)


def test_a_new_key_is_printed_once_as_id_and_key(promocast: Installation) -> None:
    done = promocast("keys", "create", "--scopes", "issue, read", "--json")

    assert done.status == 0
    assert done.json.keys() == {"id", "key"}
    found = find(promocast, done.json["key"])
    assert found is not None
    assert found.id == done.json["id"]
    assert found.scopes == {"issue", "read"}
    assert found.expires_at is None


def test_without_json_a_new_key_is_all_that_is_printed(promocast: Installation) -> None:
    done = promocast("keys", "create", "--scopes", "admin")

    assert done.status == 0
    assert find(promocast, done.out.removesuffix("\n")) is not None


def test_a_key_can_be_bound_to_a_campaign_and_expire(promocast: Installation) -> None:
    promocast("campaign", "apply", promocast.write_campaign())

    done = promocast("keys", "create", "--scopes", "codes", "--campaign", "welcome", "--expires-in", "90d", "--json")

    found = find(promocast, done.json["key"])
    assert found is not None
    assert found.campaign_id == "welcome"
    assert found.expires_at == found.created_at + 90 * DAY


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--scopes", "issue,everything"], "scopes are admin, codes, deposits, issue, read"),
        (["--scopes", ","], "scopes are admin, codes, deposits, issue, read"),
        (["--scopes", "read", "--expires-in", "soon"], "'soon' is no duration"),
        ([], "--scopes"),
    ],
)
def test_a_key_that_cannot_be_meant_is_wrong_usage(promocast: Installation, options: list[str], told: str) -> None:
    done = promocast("keys", "create", *options)

    assert (done.status, done.out) == (2, "")
    assert told in " ".join(done.err.split())
    assert promocast("keys", "list", "--json").json == []


def test_a_key_for_an_unknown_campaign_is_not_made(promocast: Installation) -> None:
    done = promocast("keys", "create", "--scopes", "codes", "--campaign", "farewell")

    assert (done.status, done.out) == (1, "")
    assert "No campaign 'farewell' is in force" in done.err
    assert promocast("keys", "list", "--json").json == []


def test_keys_are_listed_without_their_secrets(promocast: Installation) -> None:
    made = promocast("keys", "create", "--scopes", "read,issue", "--json").json

    as_json, as_table = promocast("keys", "list", "--json"), promocast("keys", "list")

    [listed] = as_json.json
    assert (listed["id"], listed["scopes"], listed["usable"]) == (made["id"], ["issue", "read"], True)
    assert made["id"] in as_table.out
    secret = made["key"].removeprefix(made["id"])
    assert secret not in as_json.out + as_table.out


def test_a_revoked_key_is_out_of_use_and_stays_listed(promocast: Installation) -> None:
    made = promocast("keys", "create", "--scopes", "read", "--json").json

    done = promocast("keys", "revoke", made["id"])

    assert done.status == 0
    assert [(key["id"], key["usable"]) for key in promocast("keys", "list", "--json").json] == [(made["id"], False)]


def test_a_key_that_is_not_in_use_cannot_be_revoked(promocast: Installation) -> None:
    made = promocast("keys", "create", "--scopes", "read", "--json").json
    promocast("keys", "revoke", made["id"])

    answers = [promocast("keys", "revoke", key_id) for key_id in (made["id"], "pk_nobody")]

    assert [done.status for done in answers] == [1, 1]
    assert "no key pk_nobody in use" in answers[1].err


# -- inbox


def refuse(promocast: Installation, campaign: str = "welcome") -> dict[str, Any]:
    """A job for a campaign that is not in force comes from the queue; it is in the inbox then."""
    job = {"request_id": "r-1", "campaign": campaign, "recipients": [{"player_id": "p1"}]}
    with promocast.ledger() as ledger:
        assert issue.accept_message(ledger, job, system_clock(), versions=Versions()) is None
    return job


def test_refused_work_is_listed_with_its_reason(promocast: Installation) -> None:
    refuse(promocast)

    [entry] = promocast("inbox", "list", "--json").json

    assert entry.keys() == {"id", "kind", "reason", "detail", "received_at"}
    assert (entry["kind"], entry["reason"]) == ("job", "unknown_campaign")
    assert "'welcome'" in entry["detail"]
    assert "unknown_campaign" in promocast("inbox", "list").out


def test_refused_work_is_shown_with_its_bytes(promocast: Installation) -> None:
    job = refuse(promocast)
    [entry] = promocast("inbox", "list", "--json").json

    shown = promocast("inbox", "show", str(entry["id"]))

    assert shown.status == 0
    assert json.loads(shown.json["body"]) == job


def test_refused_work_is_taken_in_once_what_was_wrong_is_mended(promocast: Installation) -> None:
    refuse(promocast)
    [entry] = promocast("inbox", "list", "--json").json
    promocast("campaign", "apply", promocast.write_campaign())

    done = promocast("inbox", "replay", str(entry["id"]))
    promocast.work()

    assert (done.status, done.out) == (0, f"{entry['id']}: taken in\n")
    assert promocast("inbox", "list").out == "the inbox is empty\n"
    assert ",welcome,p1,r-1,issued," in promocast("codes", "export").out


def test_work_that_is_still_refused_stays_in_the_inbox(promocast: Installation) -> None:
    refuse(promocast)
    [entry] = promocast("inbox", "list", "--json").json

    done = promocast("inbox", "replay", str(entry["id"]))

    assert (done.status, done.out) == (1, "")
    assert f"{entry['id']}: No campaign 'welcome' is in force" in done.err
    assert promocast("inbox", "list", "--json").json == [entry]


def test_an_entry_that_fails_does_not_hold_the_next_one_back(promocast: Installation) -> None:
    refuse(promocast)
    [entry] = promocast("inbox", "list", "--json").json
    promocast("campaign", "apply", promocast.write_campaign())

    done = promocast("inbox", "replay", "404", str(entry["id"]))

    assert (done.status, done.out) == (1, f"{entry['id']}: taken in\n")
    assert "404: The inbox has no entry 404" in done.err


def test_a_hooks_body_is_read_again_as_its_source_is_configured_then(promocast: Installation) -> None:
    event = {"type": "Credit", "payment_id": 7, "user_id": "p1", "amount": 5, "status": "Approved"}
    hook = "[hooks.pay]\npreset = 'fasttrack'\nsecrets = ['s']\n"
    promocast.configure(hook)
    with promocast.ledger() as ledger, ledger.begin() as conn:
        body = json.dumps(event).encode()
        entry_id = inbox.put(conn, "hook", "unreadable_hook", "pay: /currency: is missing", body, system_clock())

    before = promocast("inbox", "replay", str(entry_id))
    promocast.configure(hook + "currency = 'EUR'\n")
    after = promocast("inbox", "replay", str(entry_id))

    assert (before.status, "/currency: is missing" in before.err) == (1, True)
    assert (after.status, after.out) == (0, f"{entry_id}: taken in\n")
    assert promocast("deposits", "show", "7", "--json").json["currency"] == "EUR"


def test_an_entry_that_does_not_exist_is_not_found(promocast: Installation) -> None:
    done = promocast("inbox", "show", "404")

    assert (done.status, done.out) == (1, "")
    assert "The inbox has no entry 404" in done.err


# -- doctor


def errors(done: Done) -> list[str]:
    return [diagnosis["what"] for diagnosis in done.json if diagnosis["level"] == "error"]


def test_the_doctor_finds_nothing_wrong_with_a_fresh_installation(promocast: Installation) -> None:
    done = promocast("doctor", "--json")

    assert done.status == 0
    assert errors(done) == []
    assert "the ledger answers (sqlite)" in [d["what"] for d in done.json if d["level"] == "ok"]


def test_the_doctor_finds_a_data_folder_that_others_may_look_into(promocast: Installation) -> None:
    promocast.data.chmod(0o755)

    done = promocast("doctor", "--json")

    assert done.status == 1
    assert errors(done) == [f"others may look into the data folder {promocast.data}"]
    assert f"chmod 700 {promocast.data}" in [diagnosis["advice"] for diagnosis in done.json]


@pytest.mark.parametrize("section", ["endpoints.crm", "channels.popup"])
def test_the_doctor_finds_a_bad_webhook_secret_and_does_not_tell_it(promocast: Installation, section: str) -> None:
    promocast.configure(f'[{section}]\nurl = "https://crm.example.com/"\nsecrets = ["whsec_c2hvcnQ="]\n')

    done = promocast("doctor", "--json")

    assert done.status == 1
    assert [what for what in errors(done) if f"[{section}]" in what and "24 to 64 bytes" in what]
    assert "c2hvcnQ" not in done.out + done.err


def test_the_doctor_warns_of_an_endpoint_without_a_secret(promocast: Installation) -> None:
    promocast.configure('[endpoints.crm]\nurl = "https://crm.example.com/"\n')

    done = promocast("doctor", "--json")

    assert done.status == 0
    assert "[endpoints.crm] has no secret" in [d["what"] for d in done.json if d["level"] == "warning"]


def test_the_doctor_finds_a_ledger_that_does_not_answer_and_goes_on_looking(promocast: Installation) -> None:
    promocast.configure(f'[ledger]\nurl = "postgresql://promocast:tiger@{NOWHERE}/promocast"\n')

    done = promocast("doctor", "--json")

    assert done.status == 1
    [what] = errors(done)
    assert what.startswith("The ledger does not answer")
    assert "channel popup is not configured" in [diagnosis["what"] for diagnosis in done.json]
    assert "tiger" not in done.out + done.err


def test_the_doctor_finds_a_ledger_that_was_never_made(bare: Installation) -> None:
    done = bare("doctor", "--json")

    assert done.status == 1
    assert errors(done) == ["The ledger is empty. `promocast ledger upgrade` creates its tables."]


def test_the_doctor_finds_a_queue_that_does_not_answer(promocast: Installation) -> None:
    promocast.configure(f'[queue]\nurl = "redis://:tiger@{NOWHERE}/0"\n')

    done = promocast("doctor", "--json")

    assert done.status == 1
    [what] = errors(done)
    assert what.startswith("the queue does not answer")
    assert "tiger" not in done.out + done.err


def test_the_doctor_finds_campaign_files_that_are_wrong_or_not_what_is_in_force(promocast: Installation) -> None:
    promocast("campaign", "apply", promocast.write_campaign())
    edited = promocast.write_campaign(CAMPAIGN.replace("7d", "8d"))
    broken = promocast.write_campaign("id = ", "broken.toml")

    done = promocast("doctor", "--json")

    assert done.status == 1
    assert [what.split(": ")[0] for what in errors(done)] == [f"{broken}:1"]
    warned = [diagnosis["what"] for diagnosis in done.json if diagnosis["level"] == "warning"]
    assert f"{edited} differs from campaign welcome version 1, which is in force" in warned


def test_the_doctor_says_that_work_waits_in_the_inbox(promocast: Installation) -> None:
    refuse(promocast)

    done = promocast("doctor")

    assert done.status == 0
    assert "! 1 entries wait in the inbox" in done.out.splitlines()


@pytest.fixture
def register() -> Iterator[ExclusionRegister]:
    made = ExclusionRegister("hunter2")
    with running_loop() as loop:
        asyncio.run_coroutine_threadsafe(made.start(), loop).result(10)
        yield made
        asyncio.run_coroutine_threadsafe(made.stop(), loop).result(10)


def test_the_doctor_asks_the_exclusion_service_whether_it_is_there(
    promocast: Installation, register: ExclusionRegister
) -> None:
    promocast.configure(f'[exclusion]\nurl = "{register.url}"\ntoken = "hunter2"\n')

    done = promocast("doctor", "--json")

    assert done.status == 0
    assert "the exclusion service answers" in [d["what"] for d in done.json if d["level"] == "ok"]
    assert [request.body for request in register.requests] == [b'{"player_ids":[]}'], "about nobody"


def test_the_doctor_finds_an_exclusion_service_that_does_not_answer_as_it_should(
    promocast: Installation, register: ExclusionRegister
) -> None:
    promocast.configure(f'[exclusion]\nurl = "{register.url}"\ntoken = "guessed"\n')

    done = promocast("doctor", "--json")

    assert done.status == 1
    [what] = errors(done)
    assert "(http 401); no player is sent to" in what
    assert "guessed" not in done.out + done.err


# -- status


def test_the_status_is_told_without_a_queue(promocast: Installation) -> None:
    promocast.issue("p1", "p2")
    refuse(promocast, "farewell")

    done = promocast("status", "--json")

    assert done.status == 0
    told = done.json
    assert told["queue"]["url"] is None
    assert "promocast up" in told["queue"]["error"]
    assert (told["api"], told["ledger"]) == ("http://127.0.0.1:8080", "sqlite")
    assert (told["channels"], told["unsent"]) == ({"popup": {"planned": 2}}, 2)
    assert (told["deposits"], told["inbox"]) == ({}, {"job": 1})


def test_the_status_is_told_while_the_queue_is_away(promocast: Installation) -> None:
    promocast.configure(f'[queue]\nurl = "redis://{NOWHERE}/0"\n')

    done = promocast("status", "--json")

    assert done.status == 0
    assert done.json["queue"]["error"].startswith("does not answer")
    assert done.json["deposits"] == {}


def test_the_status_of_a_ledger_that_was_never_made_says_how_to_make_it(bare: Installation) -> None:
    done = bare("status", "--json")

    assert (done.status, done.out) == (1, "")
    assert "promocast ledger upgrade" in done.err


# -- channels and endpoints

CRM = '[endpoints.crm]\nurl = "https://crm.example.com/"\nsecrets = ["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]\n'


def disable(promocast: Installation, circuit: str) -> None:
    with promocast.ledger() as ledger, ledger.begin() as conn:
        assert channels.disable(conn, circuit, "digest", "http 410", system_clock())


@pytest.mark.parametrize("circuit", ["popup", "endpoints.crm"])
def test_what_was_disabled_is_told_with_its_reason_and_goes_on_when_it_is_resumed(
    promocast: Installation, circuit: str
) -> None:
    promocast.configure(CRM)
    disable(promocast, circuit)

    status, table, doctor = promocast("status", "--json"), promocast("status"), promocast("doctor", "--json")
    resumed, again = promocast("channel", "resume", circuit), promocast("channel", "resume", circuit)

    assert status.json["disabled"] == {circuit: "http 410"}
    assert circuit == "popup" or f"{circuit} disabled: http 410" in table.out
    [found] = [each for each in doctor.json if f"{circuit} is disabled" in each["what"]]
    assert (found["level"], found["advice"].rpartition(": ")[2]) == ("warning", f"`promocast channel resume {circuit}`")
    assert (resumed.status, resumed.out) == (0, f"{circuit} goes on\n")
    assert again.out == f"{circuit} was neither paused nor disabled\n"
    assert promocast("status", "--json").json["disabled"] == {}


def test_an_endpoint_is_paused_and_resumed_as_a_channel_is(promocast: Installation) -> None:
    promocast.configure(CRM)

    paused = promocast("channel", "pause", "endpoints.crm")
    listed = promocast("status", "--json").json["paused"]
    resumed = promocast("channel", "resume", "endpoints.crm")

    assert (paused.out, listed, resumed.out) == (
        "endpoints.crm is paused\n",
        ["endpoints.crm"],
        "endpoints.crm goes on\n",
    )
    assert promocast("status", "--json").json["paused"] == []


def test_a_channel_or_endpoint_that_there_is_none_of_is_wrong_usage(promocast: Installation) -> None:
    promocast.configure(CRM)

    done = promocast("channel", "resume", "endpoints.crn")

    assert (done.status, done.out) == (2, "")
    assert "endpoints.crm" in done.err


# -- ledger


def test_an_upgrade_makes_the_ledger_and_a_second_one_changes_nothing(bare: Installation) -> None:
    first, second = bare("ledger", "upgrade"), bare("ledger", "upgrade")

    assert (first.status, second.status) == (0, 0)
    assert "it was at nothing" in first.out
    assert "it was at nothing" not in second.out
    assert bare("status").status == 0


def test_a_ledger_whose_books_balance_is_verified(promocast: Installation) -> None:
    promocast.issue("p1", "p2")

    done = promocast("ledger", "verify")

    assert done.status == 0
    assert done.out == "every invariant holds; 0 redemptions and rollbacks in 0 seals are what they were\n"


def test_a_counter_that_was_edited_by_hand_is_found_and_its_code_named(promocast: Installation) -> None:
    promocast.issue("p1", "p2")
    with promocast.ledger() as ledger, ledger.begin() as conn:
        edit = update(schema.codes).where(schema.codes.c.player_id == "p2").values(redeemed=1)
        [code_id] = conn.execute(edit.returning(schema.codes.c.id)).scalars()

    done = promocast("ledger", "verify")

    assert (done.status, done.out) == (1, "")
    assert done.err == f"code {code_id}: its active redemptions are not what it counts\n"


def redeemed(promocast: Installation) -> None:
    """A code of p1's is redeemed by deposit tx-1."""
    deposit = {"deposit_id": "tx-1", "player_id": "p1", "amount": "50.00", "currency": "EUR", "status": "approved"}
    [(_, code)] = promocast.issue("p1").items()
    assert promocast("deposits", "send", promocast.write("told.ndjson", deposit | {"promo_code": code})).status == 0
    promocast.work()


def test_a_sealed_row_that_was_edited_by_hand_is_named(promocast: Installation) -> None:
    redeemed(promocast)
    heads = promocast.folder / "heads.ndjson"

    sealed, again = promocast("ledger", "seal", "--heads", heads), promocast("ledger", "seal")
    assert (sealed.status, again.out) == (0, "nothing to seal\n")
    assert sealed.out.startswith("seal 1 of ")
    fine = promocast("ledger", "verify", "--heads", heads)
    assert fine.out == "every invariant holds; 1 redemptions and rollbacks in 1 seals are what they were\n"

    with promocast.ledger() as ledger, ledger.begin() as conn:
        edit = update(schema.redemptions).values(amount="500.00").returning(schema.redemptions.c.id)
        [redemption_id] = conn.execute(edit).scalars()
    done = promocast("ledger", "verify", "--heads", heads)

    assert done.status == 1
    assert done.err == f"redemption {redemption_id} (deposit tx-1): is not what was sealed in seal 1 as redeemed\n"


def test_heads_that_are_not_the_ledgers_are_told(promocast: Installation) -> None:
    kept = promocast.write("heads.ndjson", {"ledger": "0123abcd", "seal": 1, "head": "00"})

    done = promocast("ledger", "verify", "--heads", kept)

    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"{kept}: line 1: of ledger 0123abcd, and this one is ")


# -- players


def test_erased_players_are_counted_and_their_seals_hold(promocast: Installation) -> None:
    redeemed(promocast)
    promocast("ledger", "seal")

    done = promocast("players", "erase", "p1", "unknown", "--reason", "request 17", "--json")

    assert done.status == 0
    assert {key: value for key, value in done.json.items() if value} == {
        "codes": 1,
        "deposits": 1,
        "redemptions": 1,
        "events": done.json["events"],
    }
    assert promocast("ledger", "verify").status == 0
    assert b"p1@example" not in (promocast.data / "ledger.sqlite3").read_bytes()


def test_a_blocked_player_is_erased_only_by_a_further_word(promocast: Installation) -> None:
    with promocast.ledger() as ledger, ledger.begin() as conn:
        block = {"type": "Excluded", "active": True, "until": None}
        players.put(conn, Player("p1", None, None, {}, [block]), system_clock())

    refused = promocast("players", "erase", "p1")
    erased = promocast("players", "erase", "p1", "--blocked-too")

    assert refused.status == 1
    assert "The player is blocked" in refused.err
    assert (erased.status, erased.out.startswith("erased from ")) == (0, True)


# -- requests, campaigns that are held, and who did what


def test_a_campaign_is_paused_and_goes_on(promocast: Installation) -> None:
    promocast.issue("p1")

    paused, again = promocast("campaign", "pause", "welcome"), promocast("campaign", "pause", "welcome")
    listed = promocast("campaign", "list").out
    resumed = promocast("campaign", "resume", "welcome")

    assert [done.out for done in (paused, again, resumed)] == [
        "welcome is paused\n",
        "welcome was paused already\n",
        "welcome goes on\n",
    ]
    assert "in force, paused" in listed
    unknown = promocast("campaign", "pause", "winback")
    assert (unknown.status, unknown.out) == (1, "")
    assert "winback" in unknown.err


def test_a_request_is_looked_at_and_cancelled(promocast: Installation) -> None:
    promocast("campaign", "apply", promocast.write_campaign())
    file = promocast.write("given.ndjson", {"player_id": "p1"}, {"player_id": "p2"})
    promocast("issue", "welcome", file, "--request-id", "r-1")

    cancelled = promocast("requests", "cancel", "r-1")
    promocast.work()
    told = promocast("requests", "show", "r-1", "--json")

    assert (cancelled.status, cancelled.out.splitlines()[0]) == (0, "request r-1 of welcome: cancelled")
    assert (told.json["accepted"], told.json["issued"], told.json["refused"]) == (2, 0, 2)
    assert promocast("requests", "show", "r-2").status == 1
    assert promocast("requests", "confirm", "r-1").status == 1


def test_a_request_far_beyond_the_usual_is_held_and_confirmed(promocast: Installation) -> None:
    promocast.configure("[brake]\ntimes = 2\nleast = 3\nhistory = 1\n")
    promocast.issue("p0")
    file = promocast.write("many.ndjson", *({"player_id": f"p{n}"} for n in range(1, 5)))

    held = promocast("issue", "welcome", file, "--request-id", "large")
    promocast.work()
    assert "promocast requests confirm large" in held.err
    assert promocast("requests", "show", "large", "--json").json["held"] is True
    confirmed = promocast("requests", "confirm", "large")
    promocast.work()

    assert confirmed.out.startswith("request large of welcome: goes on")
    assert promocast("requests", "show", "large", "--json").json["issued"] == 4


def test_with_yes_a_request_is_confirmed_beforehand(promocast: Installation) -> None:
    promocast.configure("[brake]\ntimes = 2\nleast = 3\nhistory = 1\n")
    promocast.issue("p0")
    file = promocast.write("many.ndjson", *({"player_id": f"p{n}"} for n in range(1, 5)))

    promocast("issue", "welcome", file, "--request-id", "large", "--yes")
    promocast.work()

    assert promocast("requests", "show", "large", "--json").json["issued"] == 4


def test_the_audit_says_who_did_what(promocast: Installation) -> None:
    codes = promocast.issue("p1")
    promocast("campaign", "pause", "welcome")
    promocast("codes", "revoke", codes["p1"], "--reason", "mistaken")
    promocast("channel", "pause", "popup")
    promocast("keys", "create", "--scopes", "read")
    promocast("players", "erase", "p1", "--reason", "request 17")

    done, table = promocast("audit", "--json"), promocast("audit", "--since", "1h")

    told = [(entry["type"], entry["by"].endswith("at the command line")) for entry in done.json]
    assert told == [
        ("campaign.applied", True),
        ("campaign.paused", True),
        ("code.revoked", True),
        ("channel.paused", True),
        ("key.created", True),
        ("player.erased", True),
    ]
    assert "reason mistaken" in table.out
    assert promocast("audit", "--since", "yesterday").status == 2
