"""`promocast campaign`: files are checked to the line, put in force, and held against what is in force."""

from __future__ import annotations

from tests.cli.conftest import CAMPAIGN, Installation

WEAK = CAMPAIGN.replace("length = 8", "length = 1\nexpected_codes = 100")


def test_a_good_file_can_be_applied_and_says_how_many_codes_it_can_make(promocast: Installation) -> None:
    done = promocast("campaign", "check", promocast.write_campaign())

    assert done.status == 0
    assert "campaign welcome can be applied; 852,891,037,441 codes are possible" in done.out


def test_a_document_that_is_wrong_is_refused_with_file_and_line_of_every_fault(promocast: Installation) -> None:
    wrong = CAMPAIGN.replace("length = 8", "lenght = 8").replace('"20.00"', '"twenty"')
    file = promocast.write_campaign(wrong)

    done = promocast("campaign", "check", file)

    assert (done.status, done.out) == (1, "")
    assert f"{file}:5: /label_tags/promo_code/lenght: unknown key" in done.err
    assert f"{file}:12: /redemption/min_deposit/EUR: 'twenty' is no decimal amount" in done.err


def test_a_document_that_cannot_be_meant_is_refused_with_file_and_line(promocast: Installation) -> None:
    file = promocast.write_campaign(WEAK.replace("label.promo_code", "label.code"))

    done = promocast("campaign", "check", file)

    assert (done.status, done.out) == (1, "")
    assert f"{file}:3: error: /label_tags/promo_code: 31 codes are possible" in done.err
    assert f"{file}:17: error: /templates/popup/body: " in done.err


def test_a_file_that_is_no_toml_is_refused_with_its_line(promocast: Installation) -> None:
    file = promocast.write_campaign('id = "welcome"\nname = Welcome\n')

    done = promocast("campaign", "check", file)

    assert (done.status, done.out) == (1, "")
    assert f"{file}:2: /: no TOML" in done.err


def test_a_file_that_is_not_there_is_told(promocast: Installation) -> None:
    done = promocast("campaign", "check", "absent.toml")

    assert done.status == 1
    assert "absent.toml cannot be read" in done.err


def test_a_template_that_is_not_there_is_told_with_the_line_that_names_it(promocast: Installation) -> None:
    file = promocast.write_campaign(CAMPAIGN.replace('"Your code: {{ label.promo_code }}"', '"welcome/popup.txt"'))

    done = promocast("campaign", "check", file)

    assert done.status == 1
    assert f"{file}:16: /templates/popup/body: the template file 'welcome/popup.txt' cannot be read" in done.err


def test_what_cannot_be_sent_here_is_a_warning_and_no_obstacle(promocast: Installation) -> None:
    file = promocast.write_campaign()

    done = promocast("campaign", "check", file)

    assert done.status == 0
    assert f"{file}:20: warning: /journey/0/send: popup is not configured here" in done.err


def test_an_applied_campaign_is_in_force_and_stays_at_its_version_until_it_changes(promocast: Installation) -> None:
    first = promocast("campaign", "apply", promocast.write_campaign())
    again = promocast("campaign", "apply", promocast.write_campaign())
    changed = promocast("campaign", "apply", promocast.write_campaign(CAMPAIGN.replace("7d", "8d")))

    assert [done.status for done in (first, again, changed)] == [0, 0, 0]
    assert first.out == "campaign welcome version 1 is in force\n"
    assert again.out == "campaign welcome version 1 was in force already\n"
    assert changed.out.endswith("campaign welcome version 2 is in force\n")


def test_a_file_that_is_refused_leaves_the_old_version_in_force(promocast: Installation) -> None:
    promocast("campaign", "apply", promocast.write_campaign())
    file = promocast.write_campaign(WEAK)

    done = promocast("campaign", "apply", file)

    assert (done.status, done.out) == (1, "")
    assert f"{file}:3: /label_tags/promo_code: 31 codes are possible" in done.err
    [listed] = promocast("campaign", "list", "--json").json
    assert (listed["version"], listed["state"]) == (1, "file differs")


def test_the_list_says_where_files_and_ledger_differ(promocast: Installation) -> None:
    same = promocast.write_campaign()
    edited = promocast.write_campaign(CAMPAIGN.replace('"welcome"', '"edited"'), "edited.toml")
    for file in (same, edited):
        promocast("campaign", "apply", file)
    edited.write_text(edited.read_text(encoding="utf-8").replace("7d", "8d"), encoding="utf-8")
    promocast.write_campaign(CAMPAIGN.replace('"welcome"', '"new"'), "new.toml")
    promocast.write_campaign("id = ", "broken.toml")
    gone = promocast.write_campaign(CAMPAIGN.replace('"welcome"', '"gone"'), "gone.toml")
    promocast("campaign", "apply", gone)
    gone.unlink()

    done = promocast("campaign", "list", "--json")

    assert done.status == 0
    assert {(row["id"], row["version"], row["state"]) for row in done.json} == {
        ("welcome", 1, "in force"),
        ("edited", 1, "file differs"),
        ("new", None, "not applied"),
        ("gone", 1, "in force"),
        (None, None, "does not check"),
    }
    assert {row["file"] for row in done.json if row["id"] in ("welcome", "gone")} == {str(same), None}


def test_applying_an_edit_says_what_it_changes(promocast: Installation) -> None:
    promocast("campaign", "apply", promocast.write_campaign())
    edited = promocast.write_campaign(CAMPAIGN.replace('valid_for = "7d"', 'valid_for = "2h"'))

    dry, done = promocast("campaign", "apply", edited, "--dry-run"), promocast("campaign", "apply", edited)

    change = '  /code/valid_for: "7d" -> "2h"\n'
    assert dry.out == f"{change}nothing was applied\n"
    assert done.out == f"{change}campaign welcome version 2 is in force\n"
