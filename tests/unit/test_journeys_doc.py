"""docs/journeys.md: its examples are checked as they stand, and it tells of everything there is."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import get_args

import pytest

from promocast.campaign import document
from promocast.campaign.check import check
from promocast.campaign.document import Campaign
from promocast.campaign.journey import held_out
from promocast.campaign.rule import Rule, Trigger, Unless
from promocast.model import PLAYER_CHANNELS
from promocast.settings import Settings
from tests.unit.makers import campaign

PAGE = (Path(__file__).parents[2] / "docs" / "journeys.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```toml( \w+)?\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
REST = """
[label_tags.promo_code]
type = "random"

[code]
label_tag = "promo_code"
valid_for = "7d"

[templates.popup]
title = "Hi"
body = "{{ label.promo_code }}"
"""


def example(text: str) -> Campaign:
    """A campaign with the example in it, and what it needs besides."""
    head, journey = text.split("[[journey]]", 1) if "[[journey]]" in text else (text, "")
    rules = f"[[journey]]{journey}" if journey else ""
    source = f'id = "welcome"\n{head}\n{REST}\n{rules}'

    def no_files(path: PurePosixPath) -> str:
        raise FileNotFoundError(path)

    return document.from_toml(source, "journeys.md", no_files)


@pytest.mark.parametrize("text", [text for kind, text in EXAMPLES if kind != " promocast"])
def test_every_example_is_a_journey_that_the_check_finds_nothing_in(text: str) -> None:
    assert check(example(text), PLAYER_CHANNELS, ["crm", "bonus-engine"]) == []


def test_the_caps_of_the_page_are_settings() -> None:
    [text] = [text for kind, text in EXAMPLES if kind == " promocast"]

    settings = Settings.model_validate(tomllib.loads(text))

    assert [(cap.channels, cap.most) for cap in settings.caps] == [(("email", "push"), 3), ((), 10)]


def test_every_trigger_condition_and_key_is_told_of() -> None:
    told = set(re.findall(r"`([\w.]+)`|^(\w+) = |\b(\w+) = ", PAGE, re.MULTILINE))
    words = {word for match in told for word in match if word}

    assert words >= {*get_args(Trigger), *get_args(Unless), *Rule.model_fields}


def test_the_control_group_is_worked_out_as_the_page_says() -> None:
    made = campaign(control_group=10)

    for player_id in map(str, range(500)):
        first = hashlib.sha256(f"{made.id}\n{player_id}".encode()).digest()[:8]
        assert held_out(made, player_id) == (int.from_bytes(first, "big") < 2**64 * 10 / 100)
