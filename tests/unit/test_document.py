"""The campaign document: what is right is read whole, what is wrong is named with file, line and reason."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path, PurePosixPath

import pytest

from promocast.campaign import check, document
from promocast.campaign.document import Campaign, PatternTag, RandomTag
from promocast.campaign.lines import lines_of
from promocast.errors import CampaignError, Fault
from promocast.model import DAY, HOUR, MINUTE, PLAYER_CHANNELS, parse_rfc3339
from tests.unit.makers import DOCUMENT

CONFIG = Path(__file__).parents[2] / "config"

SOURCE = """\
id = "welcome"
name = "Welcome deposit"
starts_at = 2026-11-01T00:00:00Z
ends_at = "2026-12-01T00:00:00+01:00"
timezone = "Europe/Malta"

[label_tags.promo_code]
type = "random"
length = 8

[label_tags.table]
type = "pattern"
pattern = "TABLE-##"

[code]
label_tag = "promo_code"
valid_for = "7d"

[redemption]
min_deposit = { EUR = "20.00", JPY = "3000" }
payment_methods = ["VISA"]
deposit_index = [1]
per_player = 1

[templates.popup]
title = "Hi {{ player.first_name }}"

[templates.email]
subject = "Your code"
text = "welcome/email.txt"

[[journey]]
on = "code.issued"
send = ["popup"]
when_shown = "CODE_IS_SHOWN"

[[journey]]
on = "client_action"
action = "CODE_IS_SHOWN"
call = "crm"
body = '{ "code" : "{{event.code}}" }'

[[journey]]
on = "code.issued"
after = "1h 30m"
unless = ["code.shown"]
send = ["email"]
"""

FILES = {"welcome/email.txt": "Your code: {{ label.promo_code }}\n"}


def read(source: str) -> Campaign:
    return document.from_toml(source, "welcome.toml", _read_template)


def refused(source: str) -> CampaignError:
    with pytest.raises(CampaignError) as error:
        read(source)
    return error.value


def test_a_document_is_read_as_it_is_written() -> None:
    campaign = read(SOURCE)

    assert (campaign.id, campaign.name, campaign.timezone) == ("welcome", "Welcome deposit", "Europe/Malta")
    assert campaign.label_tags["promo_code"] == RandomTag(type="random", length=8)
    assert campaign.label_tags["table"] == PatternTag(type="pattern", pattern="TABLE-##")
    assert campaign.redemption.min_deposit == {"EUR": "20.00", "JPY": "3000"}
    assert [rule.on for rule in campaign.journey] == ["code.issued", "client_action", "code.issued"]


def test_moments_are_read_with_their_zone_whether_quoted_or_not() -> None:
    campaign = read(SOURCE)

    assert campaign.starts_at == parse_rfc3339("2026-11-01T00:00:00Z")
    assert campaign.ends_at == parse_rfc3339("2026-11-30T23:00:00Z")


def test_durations_are_read_in_their_units() -> None:
    campaign = read(SOURCE)

    assert campaign.code.valid_for == 7 * DAY
    assert campaign.journey[2].after == HOUR + 30 * MINUTE


def test_template_files_are_read_into_the_document() -> None:
    assert read(SOURCE).templates["email"]["text"] == "Your code: {{ label.promo_code }}\n"


def test_what_may_be_left_out_has_the_defaults_of_the_contract() -> None:
    campaign = document.from_json(DOCUMENT, "welcome")

    assert campaign.min_ttl == 10 * MINUTE
    assert campaign.allow_external_codes is False
    assert (campaign.code.valid_from, campaign.code.max_redemptions, campaign.code.holder_only) == ("issued", 1, True)
    assert campaign.redemption.match == ("code", "player")
    assert campaign.redemption.per_player is None


# (name, what stands in SOURCE, what stands there instead, the fault's pointer, and words of its reason).
# The line that the fault must name is the one that says `here`.
FAULTS = [
    ("unknown key at the top", 'name = "Welcome deposit"', 'nmae = "x" # here', "/nmae", "unknown key"),
    ("unknown key in a table", 'valid_for = "7d"', 'valid_fro = "7d" # here', "/code/valid_fro", "unknown key"),
    ("unknown key in a label tag", "length = 8", "lenght = 8 # here", "/label_tags/promo_code/lenght", "unknown key"),
    ("unknown key in a rule", 'after = "1h 30m"', 'afetr = "1h" # here', "/journey/2/afetr", "unknown key"),
    ("unknown table", "[redemption]", "[redemptions] # here", "/redemptions", "unknown key"),
    (
        "unknown key in a template",
        'title = "Hi {{ player.first_name }}"',
        'titel = "Hi" # here',
        "/templates/popup/titel",
        "unknown key; a popup template has title, body",
    ),
    ("unknown channel", "[templates.popup]", "[templates.fax] # here", "/templates/fax", "'popup', 'email'"),
    ("missing key", 'id = "welcome"', "", "/id", "Field required"),
    ("bad id", 'id = "welcome"', 'id = "Wel come" # here', "/id", "should match pattern"),
    ("bad number", "length = 8", "length = 0 # here", "/label_tags/promo_code/length", "greater than or equal to 1"),
    (
        "bad word",
        'label_tag = "promo_code"',
        'label_tag = "promo_code"\nvalid_from = "birth" # here',
        "/code/valid_from",
        "'issued', 'sent' or 'shown'",
    ),
    (
        "unknown type of label tag",
        '[label_tags.promo_code]\ntype = "random"',
        '[label_tags.promo_code] # here\ntype = "lottery"',
        "/label_tags/promo_code",
        "'random', 'pattern'",
    ),
    ("bad duration", 'valid_for = "7d"', 'valid_for = "a week" # here', "/code/valid_for", "is no duration"),
    ("bad duration in a rule", 'after = "1h 30m"', 'after = "90" # here', "/journey/2/after", "is no duration"),
    ("bad zone", 'timezone = "Europe/Malta"', 'timezone = "Mars/Olympus" # here', "/timezone", "no time zone"),
    (
        "moment without zone",
        "starts_at = 2026-11-01T00:00:00Z",
        "starts_at = 2026-11-01T00:00:00 # here",
        "/starts_at",
        "has no time zone",
    ),
    (
        "quoted moment without zone",
        'ends_at = "2026-12-01T00:00:00+01:00"',
        'ends_at = "2026-12-01T00:00:00" # here',
        "/ends_at",
        "has no time zone",
    ),
    (
        "money that is no decimal",
        'min_deposit = { EUR = "20.00", JPY = "3000" }',
        'min_deposit = { EUR = "twenty" } # here',
        "/redemption/min_deposit/EUR",
        "is no decimal amount",
    ),
    (
        "money that is not above zero",
        'min_deposit = { EUR = "20.00", JPY = "3000" }',
        'max_deposit = { EUR = "0.00" } # here',
        "/redemption/max_deposit/EUR",
        "above zero",
    ),
    (
        "money that is not finite",
        'min_deposit = { EUR = "20.00", JPY = "3000" }',
        'min_deposit = { EUR = "NaN" } # here',
        "/redemption/min_deposit/EUR",
        "is no decimal amount",
    ),
    (
        "money that is not in quotes",
        'min_deposit = { EUR = "20.00", JPY = "3000" }',
        "min_deposit = { EUR = 20.00 } # here",
        "/redemption/min_deposit/EUR",
        "valid string",
    ),
    (
        "bad currency",
        'min_deposit = { EUR = "20.00", JPY = "3000" }',
        'min_deposit = { euro = "20.00" } # here',
        "/redemption/min_deposit/euro",
        "should match pattern",
    ),
    (
        "missing template file",
        'text = "welcome/email.txt"',
        'text = "welcome/gone.txt" # here',
        "/templates/email/text",
        "'welcome/gone.txt' cannot be read: No such file or directory",
    ),
    (
        "template file that is no text",
        'text = "welcome/email.txt"',
        'text = "latin1.txt" # here',
        "/templates/email/text",
        "'latin1.txt' cannot be read: not UTF-8",
    ),
    (
        "template file outside of the folder",
        'text = "welcome/email.txt"',
        'text = "../secret.txt" # here',
        "/templates/email/text",
        "under the templates folder",
    ),
    (
        "template file by its absolute path",
        'text = "welcome/email.txt"',
        'text = "/etc/motd.txt" # here',
        "/templates/email/text",
        "under the templates folder",
    ),
    (
        "rule that sends and calls",
        '[[journey]]\non = "code.issued"\nafter',
        '[[journey]] # here\ncall = "crm"\non = "code.issued"\nafter',
        "/journey/2",
        "either sends or calls",
    ),
    (
        "rule that does neither",
        '[[journey]]\non = "client_action"\naction = "CODE_IS_SHOWN"\ncall = "crm"',
        '[[journey]] # here\non = "client_action"\naction = "CODE_IS_SHOWN"',
        "/journey/1",
        "either sends or calls",
    ),
    (
        "rule that waits for no action",
        '[[journey]]\non = "client_action"\naction = "CODE_IS_SHOWN"',
        '[[journey]] # here\non = "client_action"',
        "/journey/1",
        "needs the `action`",
    ),
    (
        "action of another event",
        '[[journey]]\non = "client_action"',
        '[[journey]] # here\non = "code.redeemed"',
        "/journey/1",
        "`action` belongs to",
    ),
    (
        "body without a call",
        '[[journey]]\non = "code.issued"\nafter',
        "[[journey]] # here\nbody = '{}'\non = \"code.issued\"\nafter",
        "/journey/2",
        "`body` belongs to `call`",
    ),
    (
        "when_shown without a popup",
        '[[journey]]\non = "code.issued"\nafter',
        '[[journey]] # here\nwhen_shown = "X"\non = "code.issued"\nafter',
        "/journey/2",
        "`when_shown` belongs to",
    ),
    (
        "channel that stands twice",
        '[[journey]]\non = "code.issued"\nsend = ["popup"]',
        '[[journey]] # here\non = "code.issued"\nsend = ["popup", "popup"]',
        "/journey/0",
        "stands twice",
    ),
    (
        "channel that does not exist",
        'send = ["email"]',
        'send = ["fax"] # here',
        "/journey/2/send/0",
        "'popup', 'email'",
    ),
    (
        "event that does not exist",
        '[[journey]]\non = "code.issued"\nafter',
        '[[journey]]\non = "code.eaten" # here\nafter',
        "/journey/2/on",
        "'code.issued'",
    ),
    ("no TOML at all", 'valid_for = "7d"', "valid_for = 7d # here", "", "no TOML"),
    ("a key that stands twice", 'valid_for = "7d"', 'valid_for = "7d"\nvalid_for = "8d" # here', "", "no TOML"),
]


@pytest.mark.parametrize(
    ("right", "wrong", "pointer", "reason"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_a_fault_is_told_with_its_file_line_and_reason(right: str, wrong: str, pointer: str, reason: str) -> None:
    assert SOURCE.count(right) == 1, "the test changes one thing"
    source = SOURCE.replace(right, wrong)
    marked = [number for number, line in enumerate(source.splitlines(), 1) if line.endswith("here")]

    error = refused(source)

    [fault] = error.faults
    assert error.source == "welcome.toml"
    assert fault.pointer == pointer
    assert reason in fault.reason
    assert fault.line == (marked[0] if marked else None), "what is missing has no line"


def test_the_error_reads_like_a_compilers_with_one_line_for_each_fault() -> None:
    source = SOURCE.replace("length = 8", "length = 0").replace('valid_for = "7d"', 'valid_for = "soon"')

    told = str(refused(source)).splitlines()

    assert len(told) == 2
    assert told[0].startswith("welcome.toml:9: /label_tags/promo_code/length: ")
    assert told[1].startswith("welcome.toml:17: /code/valid_for: 'soon' is no duration")


def test_faults_of_templates_and_of_the_rest_are_told_together() -> None:
    source = SOURCE.replace("welcome/email.txt", "gone.txt").replace("length = 8", "length = 0")

    assert {fault.pointer for fault in refused(source).faults} == {
        "/templates/email/text",
        "/label_tags/promo_code/length",
    }


def test_a_code_made_by_a_label_tag_that_is_not_there_is_refused() -> None:
    [fault] = refused(SOURCE.replace('label_tag = "promo_code"', 'label_tag = "promo"')).faults

    assert fault.reason == "label_tag = 'promo', but there is no [label_tags.promo]"


@pytest.mark.parametrize("end", ["send = [", "send = [\n", 'name = """', 'name = """\n'], ids=ascii)
def test_a_document_that_breaks_off_is_told_its_last_line(end: str) -> None:
    [fault] = refused(SOURCE + end).faults

    assert fault.line == len(SOURCE.splitlines()) + 1


@pytest.mark.parametrize(
    "source",
    [
        "[label_tags.2026]\nlength = 0\n",
        "[label_tags]\n2026.length = 0\n",
        "label_tags.x.length = 1\nlabel_tags.2026.length = 0\n",
        "[label_tags]\n2026 = { length = 0 }\n",
    ],
)
def test_a_label_tag_named_by_digits_has_its_line(source: str) -> None:
    assert document.line_of("/label_tags/2026/length", lines_of(source)) == 2


def test_a_pointer_may_name_keys_that_hold_its_own_signs() -> None:
    assert document.line_of("/templates/a~1b~0c", lines_of('[templates]\n"a/b~c" = 1\n')) == 2


def test_a_campaign_ends_after_it_starts() -> None:
    same = SOURCE.replace('ends_at = "2026-12-01T00:00:00+01:00"', 'ends_at = "2026-11-01T00:00:00Z"')

    [fault] = refused(same).faults

    assert fault.reason == "ends_at is not after starts_at"


@pytest.mark.parametrize("text", ["Use it at welcome/email.txt today", "two\nlines.txt", "ends like a file.html"])
def test_text_that_only_mentions_a_file_stays_text(text: str) -> None:
    campaign = read(SOURCE.replace('"welcome/email.txt"', json.dumps(text)))

    assert campaign.templates["email"]["text"] == text


@pytest.mark.parametrize("source", [SOURCE, SOURCE.partition("[redemption]")[0]], ids=["everything", "the least"])
@pytest.mark.parametrize("exclude_defaults", [False, True], ids=["whole", "without defaults"])
def test_a_stored_document_is_the_campaign_that_was_written(source: str, exclude_defaults: bool) -> None:
    campaign = read(source)

    stored = json.dumps(campaign.model_dump(mode="json", exclude_defaults=exclude_defaults))

    assert document.from_json(json.loads(stored), "stored") == campaign


def test_a_posted_document_is_refused_with_a_pointer_for_each_fault() -> None:
    posted = DOCUMENT | {"code": {"label_tag": "promo_code", "valid_for": "soon", "x": 1}}

    with pytest.raises(CampaignError) as error:
        document.from_json(posted, "posted")

    assert {fault.pointer for fault in error.value.faults} == {"/code/valid_for", "/code/x"}
    assert Fault("/code/x", "unknown key") in error.value.faults


def test_a_campaign_cannot_be_changed_once_it_is_read() -> None:
    campaign = read(SOURCE)

    with pytest.raises(ValueError, match="frozen"):
        campaign.id = "other"  # type: ignore[misc]


@pytest.mark.parametrize("path", sorted((CONFIG / "campaigns").glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_campaign_is_without_fault(path: Path) -> None:
    campaign = document.from_toml(path.read_text(encoding="utf-8"), path.name, _shipped_template)

    findings = check.check(campaign, PLAYER_CHANNELS, endpoints=["crm", "bonus-engine"])

    assert findings == []


def _read_template(path: PurePosixPath) -> str:
    if str(path) == "latin1.txt":
        return b"\xe9".decode()
    try:
        return FILES[str(path)]
    except KeyError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None


def _shipped_template(path: PurePosixPath) -> str:
    return (CONFIG / "templates" / path).read_text(encoding="utf-8")
