"""Show: a code is shown once, whoever reports it first; only the player's browser moves a journey on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from promocast.errors import Conflict, InputError, NotFound, UnknownCampaign
from promocast.flows import show
from promocast.jobs import ActionPayload, ClientAction
from promocast.ledger import codes, events, inbox
from promocast.ledger.codes import Code
from promocast.ledger.inbox import Entry
from promocast.model import DAY, HOUR, MINUTE
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.desk import delivery, planned

FROM_SHOWN = CAMPAIGN.replace('valid_for = "7d"', 'valid_for = "7d"\nvalid_from = "shown"')
EXTERNAL = CAMPAIGN.replace('name = "Welcome deposit"', "allow_external_codes = true")
ANOTHER_EXTERNAL = EXTERNAL.replace('id = "welcome"', 'id = "winback"')


def act(
    bench: Bench, code: str, *, eid: str = "e-1", player_id: str | None = "p1", action: str = "CODE_IS_SHOWN"
) -> str:
    told = ClientAction(
        eid=eid,
        user_ext_id=player_id,
        event_type="client_action",
        payload=ActionPayload(client_action=action, code=code),
    )
    return show.client_action(
        bench.ledger, told, bench.clock(), versions=bench.versions, ring=bench.ring, grace=bench.terms.grace
    )


def save(bench: Bench, code: str, **told: str | None) -> Code:
    return show.saved(bench.ledger, code, bench.clock(), versions=bench.versions, ring=bench.ring, **told)


def code_of(bench: Bench, code_id: int) -> Code:
    with bench.ledger.read() as conn:
        return codes.by_ids(conn, [code_id])[code_id]


def story(bench: Bench, code: Code) -> list[tuple[str, dict[str, Any]]]:
    with bench.ledger.read() as conn:
        return [(type_, data) for type_, _, data in events.of_code(conn, code.id)]


# The player's browser


def test_a_client_action_marks_the_code_shown_once_at_its_first_report(bench: Bench) -> None:
    [code] = bench.issue("p1")
    first = bench.clock.advance(HOUR)

    answers = [act(bench, code.code, eid="e-1")]
    bench.clock.advance(HOUR)
    answers.append(act(bench, code.code, eid="e-2"))

    assert answers == ["recorded", "recorded"]
    assert code_of(bench, code.id).shown_at == first
    assert [type_ for type_, _ in story(bench, code)] == ["client_action", "code.shown", "client_action"]


def test_the_same_eid_is_the_same_action(bench: Bench) -> None:
    [code] = bench.issue("p1")

    answers = [act(bench, code.code), act(bench, code.code)]

    assert answers == ["recorded", "repeated"]
    assert [type_ for type_, _ in story(bench, code)] == ["client_action", "code.shown"]


def test_one_action_reported_by_many_at_once_is_recorded_once(bench: Bench) -> None:
    [code] = bench.issue("p1")
    gate = threading.Barrier(8)

    def report(_: int) -> str:
        gate.wait()
        return act(bench, code.code)

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(report, range(8)))

    assert answers == ["recorded"] + ["repeated"] * 7
    assert len(planned(bench, "call")) == 1


def test_a_client_action_plans_the_calls_of_its_rules_once_per_action(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.rung.clear()

    act(bench, code.code, eid="e-1")
    act(bench, code.code, eid="e-2")

    [call] = planned(bench, "call")
    assert delivery(bench, call).event_key == "CODE_IS_SHOWN"
    assert delivery(bench, call).due_at == bench.clock()
    assert bench.rung == [("deliver.call", [call])]


def test_an_action_that_no_rule_waits_for_plans_nothing(bench: Bench) -> None:
    [code] = bench.issue("p1")

    assert act(bench, code.code, action="POPUP_CLOSED") == "recorded"
    assert planned(bench, "call") == []


def test_another_players_action_is_recorded_and_starts_no_clock(bench: Bench) -> None:
    bench.apply(FROM_SHOWN)
    [code] = bench.issue("p1")

    with pytest.raises(Conflict) as refused:
        act(bench, code.code, player_id="p2")

    assert refused.value.reason == "other_player"
    told = {"action": "CODE_IS_SHOWN", "player_id": "p2", "refused": "other_player"}
    assert story(bench, code) == [("client_action", told)]
    assert (code_of(bench, code.id).shown_at, code_of(bench, code.id).expires_at) == (None, None)
    assert planned(bench, "call") == []


# Actions that come before their code


def settle_early(bench: Bench) -> int:
    return show.settle_early(bench.ledger, bench.clock(), 100, versions=bench.versions, ring=bench.ring)


def inbox_of(bench: Bench) -> list[Entry]:
    with bench.ledger.read() as conn:
        return list(inbox.waiting(conn))


def test_an_action_before_its_code_counts_once_the_code_is_recorded(bench: Bench) -> None:
    bench.apply(EXTERNAL)

    early = act(bench, "CRM-77")
    assert settle_early(bench) == 0, "there is nothing to look at before the code is recorded"
    bench.clock.advance(MINUTE)
    code = save(bench, "CRM-77", player_id="p1")
    settled = settle_early(bench)

    assert (early, settled, settle_early(bench)) == ("waiting", 1, 0)
    assert [data for type_, data in story(bench, code) if type_ == "client_action"] == [
        {"action": "CODE_IS_SHOWN", "player_id": "p1"}
    ]
    assert len(planned(bench, "call")) == 1
    assert inbox_of(bench) == []


def test_an_action_whose_code_is_not_recorded_within_the_grace_time_goes_to_the_inbox(bench: Bench) -> None:
    act(bench, "CRM-77", player_id="p1")

    bench.clock.advance(bench.terms.grace - 1)
    assert (settle_early(bench), inbox_of(bench)) == (0, [])
    bench.clock.advance(1)
    settle_early(bench)

    [entry] = inbox_of(bench)
    assert (entry.kind, entry.reason) == ("client_action", "unknown_code")
    assert ClientAction.model_validate_json(entry.body).payload.code == "CRM-77"
    assert settle_early(bench) == 0


def test_an_early_action_that_is_repeated_counts_once(bench: Bench) -> None:
    bench.apply(EXTERNAL)

    first, second = act(bench, "CRM-77", eid="e-9"), act(bench, "CRM-77", eid="e-9")
    code = save(bench, "CRM-77", player_id="p1")
    third = act(bench, "CRM-77", eid="e-9")
    settle_early(bench)

    assert (first, second, third) == ("waiting", "waiting", "recorded")
    assert [type_ for type_, _ in story(bench, code)].count("client_action") == 1


def test_an_early_action_by_another_player_is_recorded_and_shows_nothing(bench: Bench) -> None:
    bench.apply(EXTERNAL)

    act(bench, "CRM-77", player_id="p2")
    code = save(bench, "CRM-77", player_id="p1")
    settle_early(bench)

    told = [data for type_, data in story(bench, code) if type_ == "client_action"]
    assert told == [{"action": "CODE_IS_SHOWN", "player_id": "p2", "refused": "other_player"}]
    assert planned(bench, "call") == []
    assert inbox_of(bench) == []


# "Save the code", from a CRM


def test_saving_one_of_our_codes_marks_it_shown_and_fires_no_rules(bench: Bench) -> None:
    [code] = bench.issue("p1")

    saved = save(bench, f" {code.code.lower()} ", player_id="p1")

    assert saved == code_of(bench, code.id)
    assert saved.shown_at == bench.clock()
    assert [type_ for type_, _ in story(bench, code)] == ["code.shown"]
    assert planned(bench, "call") == [], "or the two systems would call each other in a circle"


def test_saving_a_code_again_changes_nothing(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    first = save(bench, "CRM-77", player_id="p1")
    bench.clock.advance(HOUR)

    assert save(bench, "crm 77", player_id="p1") == first
    assert save(bench, "CRM77") == first


def test_saving_another_players_code_is_refused_and_recorded_and_starts_no_clock(bench: Bench) -> None:
    bench.apply(FROM_SHOWN)
    [code] = bench.issue("p1")

    with pytest.raises(Conflict) as refused:
        save(bench, code.code, player_id="p2")

    assert refused.value.reason == "other_player"
    assert story(bench, code) == [("code.report_refused", {"refused": "other_player", "player_id": "p2"})]
    assert (code_of(bench, code.id).shown_at, code_of(bench, code.id).expires_at) == (None, None)


def test_an_unknown_code_is_refused_where_no_campaign_takes_external_codes(bench: Bench) -> None:
    with pytest.raises(NotFound) as refused:
        save(bench, "CRM-77")

    assert refused.value.reason == "unknown_code"


def test_an_unknown_code_is_recorded_for_the_only_campaign_that_takes_external_codes(bench: Bench) -> None:
    bench.apply(ANOTHER_EXTERNAL)

    saved = save(bench, " CRM-77 ", player_id="p9")

    assert (saved.code, saved.folded, saved.campaign_id, saved.player_id) == ("CRM-77", "CRM77", "winback", "p9")
    assert (saved.shown_at, saved.expires_at) == (bench.clock(), bench.clock() + 7 * DAY)
    issued = {"external": True, "player_id": "p9"}
    assert story(bench, saved) == [("code.issued", issued), ("code.shown", {})]


def test_which_campaign_takes_an_unknown_code_is_the_bodys_word_then_the_keys(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    bench.apply(ANOTHER_EXTERNAL)

    with pytest.raises(InputError) as ambiguous:
        save(bench, "CRM-1")
    by_body = save(bench, "CRM-2", campaign_id="winback", key_campaign_id="welcome")
    by_key = save(bench, "CRM-3", key_campaign_id="winback")

    assert ambiguous.value.reason == "ambiguous_campaign"
    assert (by_body.campaign_id, by_key.campaign_id) == ("winback", "winback")


def test_a_campaign_that_cannot_take_the_code_is_told(bench: Bench) -> None:
    bench.apply(ANOTHER_EXTERNAL)

    with pytest.raises(UnknownCampaign):
        save(bench, "CRM-77", campaign_id="nope")
    with pytest.raises(NotFound, match="takes no codes but its own"):
        save(bench, "CRM-77", campaign_id="welcome")


def test_a_code_without_letters_or_digits_is_no_code(bench: Bench) -> None:
    bench.apply(EXTERNAL)

    with pytest.raises(InputError) as refused:
        save(bench, " -\u2014\u200b ")

    assert refused.value.reason == "invalid_code"


def test_an_external_code_belongs_to_the_first_player_who_reports_it(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    unbound = save(bench, "CRM-77")

    bound = save(bench, "CRM-77", player_id="p1")

    assert (unbound.player_id, bound.player_id) == (None, "p1")
    with pytest.raises(Conflict):
        save(bench, "CRM-77", player_id="p2")


def test_one_unknown_code_saved_by_many_at_once_is_one_code(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    gate = threading.Barrier(8)

    def report(_: int) -> Code:
        gate.wait()
        return save(bench, "CRM-77", player_id="p1")

    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(report, range(8)))

    assert {code.id for code in saved} == {saved[0].id}
    assert [type_ for type_, _ in story(bench, saved[0])] == ["code.issued", "code.shown"]


# Where a code's life begins when it is shown


def test_the_first_report_of_a_code_sets_its_end_where_its_life_begins_then(bench: Bench) -> None:
    bench.apply(FROM_SHOWN.replace('name = "Welcome deposit"', "allow_external_codes = true"))
    by_action, by_crm = bench.issue("p1", "p2")
    first = bench.clock.advance(HOUR)

    act(bench, by_action.code, player_id=by_action.player_id)
    save(bench, by_crm.code)
    external = save(bench, "CRM-77")
    bench.clock.advance(HOUR)
    act(bench, by_action.code, eid="e-2", player_id=by_action.player_id)

    assert (by_action.expires_at, by_crm.expires_at) == (None, None)
    ends = {code_of(bench, code.id).expires_at for code in (by_action, by_crm, external)}
    assert ends == {first + 7 * DAY}
