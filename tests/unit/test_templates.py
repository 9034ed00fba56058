"""Templates: what goes in comes out as what it is, wherever it goes, and never as markup, structure or header."""

from __future__ import annotations

import html
import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from liquid.exceptions import LiquidError, LoopIterationLimitError, OutputStreamLimitError

from promocast.campaign import templates
from promocast.campaign.document import Campaign
from promocast.campaign.templates import Templates
from tests.unit.makers import campaign

CODE = "AB12CD34"


def with_template(channel: str, **parts: str) -> Campaign:
    return campaign(templates={channel: parts})


def with_body(body: str) -> Campaign:
    return campaign(journey=[{"on": "code.issued", "call": "crm", "body": body}])


def rendered(channel: str, part: str, text: str, **roots: Any) -> str:
    return Templates(with_template(channel, **{part: text})).render(channel, roots)[part]


def body_of(text: str, **roots: Any) -> str:
    body = Templates(with_body(text)).body(0, roots)
    assert body is not None
    return body


def reasons(made: Campaign) -> list[str]:
    return [reason for _, reason in templates.faults(made)]


class Markup(HTMLParser):
    """What a browser would make of a page: its tags, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


# Values.


def test_the_body_of_the_reference_page_comes_out_to_the_byte() -> None:
    body = body_of('{ "code" : "{{event.code}}" }', event={"code": CODE})

    assert body.encode() == b'{ "code" : "AB12CD34" }'


def test_all_four_roots_can_be_named() -> None:
    text = "{{ player.first_name }} {{ label.promo_code }} {{ event.name }} {{ campaign.id }}"

    said = rendered(
        "sms",
        "text",
        text,
        player={"first_name": "Ann"},
        label={"promo_code": CODE},
        event={"name": "shown"},
        campaign={"id": "welcome"},
    )

    assert said == "Ann AB12CD34 shown welcome"


def test_a_value_that_is_not_there_is_empty_text() -> None:
    assert rendered("sms", "text", "Hi {{ player.first_name }}!", player={}) == "Hi !"


def test_templates_may_choose_and_repeat() -> None:
    text = "{% if player.vip %}Dear {% endif %}{% for game in player.games %}[{{ game }}]{% endfor %}"

    assert rendered("sms", "text", text, player={"vip": True, "games": ["dice", "cards"]}) == "Dear [dice][cards]"


# Escaping, by where the text goes.


@given(st.text())
@example('<script>alert("x")</script>')
@example("' onmouseover='alert(1)")
@example("&lt;b&gt;")
@settings(max_examples=200, derandomize=True)
def test_a_value_in_html_is_text_and_nothing_else(value: str) -> None:
    page = rendered("email", "html", "<p>{{ player.first_name }}</p>", player={"first_name": value})

    inside = page.removeprefix("<p>").removesuffix("</p>")
    assert not set(inside) & set("<>\"'")
    assert html.unescape(inside) == value.replace("\r\n", "\n").replace("\r", "\n")
    assert Markup(page).tags == ["p"]


@pytest.mark.parametrize(
    "text",
    [
        "{% assign name = player.first_name %}{{ name }}",
        "{% capture name %}{{ player.first_name }}{% endcapture %}{{ name }}",
        "{{ player.first_name | newline_to_br }}",
        "{{ player.first_name | append: '!' }}",
        "{{ player.encoded | url_decode }}",
        "{{ player.base64 | base64_decode }}",
        "{% for name in player.names %}{{ name }}{% endfor %}",
    ],
)
def test_no_way_round_brings_a_value_into_html_as_markup(text: str) -> None:
    player = {"first_name": "<img>", "encoded": "%3Cimg%3E", "base64": "PGltZz4=", "names": ["<img>"]}

    page = Markup(rendered("email", "html", text, player=player))

    assert "img" not in page.tags
    assert "<img>" in page.text


def test_the_campaigns_own_html_stays_html() -> None:
    assert rendered("email", "html", "<b>{{ label.promo_code }}</b>", label={"promo_code": CODE}) == f"<b>{CODE}</b>"


@given(st.text())
@example('", "admin": true, "x": "')
@example("\\")
@example("line\nbreak\r\n\t\x00\x1f")
@example("\u2028\u2029\U0001f3b0")
@settings(max_examples=200, derandomize=True)
def test_a_value_in_a_json_body_is_given_back_by_parsing_it(value: str) -> None:
    body = body_of('{"a": "{{ event.code }}", "b": "<{{ event.code }}>"}', event={"code": value})

    assert json.loads(body) == {"a": value, "b": f"<{value}>"}


@given(st.text())
@example("Hi\r\nBcc: everyone@example.com")
@example("a\u0085b\u2028c\x0bd\x0ce\x1cf")
@settings(max_examples=200, derandomize=True)
def test_a_subject_is_one_line_whatever_its_values_are(value: str) -> None:
    subject = rendered("email", "subject", "For {{ player.first_name }}", player={"first_name": value})

    assert len(subject.splitlines()) == 1
    assert subject.split() == ["For", *value.split()]


@pytest.mark.parametrize(
    ("channel", "part"), [("sms", "text"), ("telegram", "text"), ("popup", "body"), ("email", "text")]
)
def test_plain_text_is_left_as_it_is(channel: str, part: str) -> None:
    hostile = "<b>\"Ann\" & 'Bob'</b>\n\\"

    assert rendered(channel, part, "{{ player.first_name }}", player={"first_name": hostile}) == hostile


# Channels without a template of their own.


@pytest.mark.parametrize(
    ("channel", "content"),
    [
        ("email", {"subject": "Hi <Ann>", "text": f"Your code: {CODE}"}),
        ("push", {"title": "Hi <Ann>", "body": f"Your code: {CODE}"}),
        ("telegram", {"text": f"Hi <Ann>\nYour code: {CODE}"}),
        ("sms", {"text": f"Hi <Ann>\nYour code: {CODE}"}),
    ],
)
def test_a_channel_without_a_template_says_what_the_popup_says(channel: str, content: dict[str, str]) -> None:
    made = with_template("popup", title="Hi {{ player.first_name }}", body="Your code: {{ label.promo_code }}")

    said = Templates(made).render(channel, {"player": {"first_name": "<Ann>"}, "label": {"promo_code": CODE}})

    assert said == content


def test_a_popup_without_a_title_is_told_in_its_body_alone() -> None:
    assert Templates(with_template("popup", body="Come back!")).render("sms", {}) == {"text": "Come back!"}


def test_the_popups_title_as_a_subject_is_one_line() -> None:
    made = with_template("popup", title="Hi {{ player.first_name }}", body="")

    said = Templates(made).render("email", {"player": {"first_name": "Ann\r\nBcc: x@example.com"}})

    assert said["subject"] == "Hi Ann Bcc: x@example.com"


def test_a_channels_own_template_goes_before_the_popups() -> None:
    made = campaign(templates={"popup": {"body": "popup"}, "sms": {"text": "sms"}})

    assert Templates(made).render("sms", {}) == {"text": "sms"}


def test_a_call_without_a_body_of_its_own_has_none() -> None:
    made = campaign(journey=[{"on": "code.issued", "call": "crm"}])

    assert Templates(made).body(0, {}) is None


# Limits.


def test_a_loop_goes_round_a_thousand_times_and_no_more() -> None:
    text = "{% for i in (1..N) %}x{% endfor %}"

    assert rendered("sms", "text", text.replace("N", "1000")) == "x" * 1_000
    with pytest.raises(LoopIterationLimitError):
        rendered("sms", "text", text.replace("N", "1001"))


def test_loops_within_loops_share_the_limit() -> None:
    text = "{% for i in (1..100) %}{% for j in (1..100) %}x{% endfor %}{% endfor %}"

    with pytest.raises(LoopIterationLimitError):
        rendered("sms", "text", text)


def test_a_message_is_at_most_256_kib_long() -> None:
    text = "{% for i in (1..256) %}{{ player.kib }}{% endfor %}"

    assert len(rendered("sms", "text", text, player={"kib": "x" * 1024})) == 256 * 1024
    with pytest.raises(OutputStreamLimitError):
        rendered("sms", "text", text + "x", player={"kib": "x" * 1024})


def test_what_a_template_remembers_is_limited() -> None:
    doubling = "{% assign a = player.seed %}{% for i in (1..40) %}{% assign a = a | append: a %}{% endfor %}"

    with pytest.raises(LiquidError):
        rendered("sms", "text", doubling, player={"seed": "x" * 1024})


# Faults.


def test_a_campaign_that_names_only_what_it_has_is_without_fault() -> None:
    made = campaign(
        templates={
            "popup": {"title": "Hi {{ player.first_name }}", "body": "{{ label.promo_code }} {{ campaign.id }}"}
        },
        journey=[{"on": "code.issued", "call": "crm", "body": '{ "code" : "{{event.code}}" }'}],
    )

    assert list(templates.faults(made)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "{{ user.name }}",
            "{{ user }} is nothing that a template has; it has campaign, event, label, message, player",
        ),
        ("{% if secrets.key %}x{% endif %}", "{{ secrets }} is nothing that a template has"),
        ("{{ label.promo }}", "there is no label tag 'promo'"),
        ("{{ label['promo'] }}", "there is no label tag 'promo'"),
        ("{{ label }}", "there is no label tag None"),
        ("{{ player.first_name", "no Liquid template"),
        ("{% if player.vip %}Dear", "no Liquid template"),
        ("{% nonsense %}", "no Liquid template"),
    ],
)
def test_a_fault_is_told_with_its_pointer_and_reason(text: str, reason: str) -> None:
    [(pointer, told)] = templates.faults(with_template("push", link="https://example.com", body=text))

    assert pointer == "/templates/push/body"
    assert told.startswith(reason)


def test_the_pointer_to_a_template_is_escaped() -> None:
    [(pointer, _)] = templates.faults(with_template("push", **{"a/b": "{{ user }}"}))

    assert pointer == "/templates/push/a~1b"


def test_a_fault_in_a_rules_body_points_to_the_rule() -> None:
    [(pointer, told)] = templates.faults(with_body('{"code": "{{ user.code }}"}'))

    assert pointer == "/journey/0/body"
    assert "user" in told


@pytest.mark.parametrize(
    "tag",
    [
        "{% block a %}{% endblock %}",
        "{% cycle player.first_name, 'b' %}",
        "{% decrement a %}",
        "{% echo player.first_name %}",
        "{% extends 'a' %}",
        "{% ifchanged %}{% endifchanged %}",
        "{% include 'a' %}",
        "{% increment a %}",
        "{% liquid echo player.first_name %}",
        "{% render 'a' %}",
        "{% tablerow x in player.games %}{{ x }}{% endtablerow %}",
    ],
)
@pytest.mark.parametrize("target", [with_body, lambda text: with_template("email", html=text)], ids=["json", "html"])
def test_a_tag_that_prints_past_the_escaping_cannot_be_used(target: Any, tag: str) -> None:
    assert reasons(target(tag))[0].startswith("no Liquid template: unexpected tag")


def test_what_escapes_twice_cannot_be_used_in_a_json_body() -> None:
    body = '{% capture a %}{{ event.code }}{% endcapture %}{"code": "{{ a }}"}'

    assert reasons(with_body(body)) == ["no Liquid template: unexpected tag 'capture'"]


@pytest.mark.parametrize(
    "body",
    [
        '{"code": {{ event.code }} }',
        '{"code": "{{ event.code }}"',
        "{'code': '{{ event.code }}'}",
        "code={{ event.code }}",
    ],
    ids=["a value without quotes", "not closed", "single quotes", "a form"],
)
def test_a_body_that_would_not_be_json_is_a_fault(body: str) -> None:
    [reason] = reasons(with_body(body))

    assert reason.startswith("does not make JSON")
