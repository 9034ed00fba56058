"""Lines of a TOML file: every key is found where a person would look for it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from promocast.campaign.lines import Path, line_for, lines_of

SOURCE = '''\
id = "welcome"

[label_tags.promo_code]   # the one that players see
type = "random"
"length" = 8

[redemption]
min_deposit.EUR = "20.00"
max_deposit = { EUR = "500.00" }

[templates."popup"]
title = "Hi"
body = """
looks = "like a key"
[looks.like.a.table]
"""
cta_text = "Deposit"

[[journey]]
on = "code.issued"
send = [
  "popup",
]

[[journey]]
on = "code.redeemed"
'''


def test_every_key_of_a_document_is_found_on_the_line_that_spells_it() -> None:
    lines = lines_of(SOURCE)
    source = SOURCE.splitlines()

    for path in _keys(tomllib.loads(SOURCE)):
        number = line_for(path, lines)
        assert number is not None, path
        assert str(path[-1]) in source[number - 1], path


def test_a_table_stands_on_the_line_of_its_header() -> None:
    lines = lines_of(SOURCE)

    assert lines["label_tags", "promo_code"] == 3
    assert lines["templates", "popup"] == 11


def test_tables_of_an_array_are_told_apart_by_index() -> None:
    lines = lines_of(SOURCE)

    assert (lines["journey", 0], lines["journey", 0, "on"]) == (19, 20)
    assert (lines["journey", 1], lines["journey", 1, "on"]) == (25, 26)


def test_a_table_under_an_array_belongs_to_its_latest_element() -> None:
    lines = lines_of("[[a]]\n[a.b]\nx = 1\n[[a]]\n[a.b]\nx = 2\n")

    assert lines["a", 0, "b", "x"] == 3
    assert lines["a", 1, "b", "x"] == 6


def test_a_dotted_key_is_found_by_its_whole_path() -> None:
    assert lines_of(SOURCE)["redemption", "min_deposit", "EUR"] == 8


def test_what_a_long_string_says_is_no_key() -> None:
    lines = lines_of(SOURCE)

    assert ("templates", "popup", "looks") not in lines
    assert ("looks", "like", "a", "table") not in lines
    assert lines["templates", "popup", "cta_text"] == 17, "and reading goes on behind it"


def test_a_long_string_that_ends_on_its_own_line_hides_nothing() -> None:
    lines = lines_of("a = '''one'''\nb = 1\n")

    assert lines["b",] == 2


def test_a_comment_is_no_key() -> None:
    assert lines_of("# a = 1\nb = 2  # c = 3\n") == {("b",): 2}


def test_what_has_no_line_of_its_own_gets_the_line_of_what_is_around_it() -> None:
    lines = lines_of(SOURCE)

    assert line_for(("redemption", "max_deposit", "EUR"), lines) == 9
    assert line_for(("journey", 1, "send"), lines) == 25


def test_what_the_document_does_not_hold_has_no_line() -> None:
    lines = lines_of(SOURCE)

    assert line_for(("code",), lines) is None
    assert line_for((), lines) is None


def _keys(table: dict[str, Any], above: Path = ()) -> Iterator[Path]:
    """The path of every key in `table` that stands on a line of its own, however deep."""
    for key, value in table.items():
        path = (*above, key)
        if isinstance(value, dict) and key not in {"min_deposit", "max_deposit"}:
            yield from _keys(value, path)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for i, element in enumerate(value):
                yield from _keys(element, (*path, i))
        elif not isinstance(value, dict):
            yield path
