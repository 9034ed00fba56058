"""What an edit changes, said place by place."""

from __future__ import annotations

from typing import Any

import pytest

from promocast.campaign.diff import changes

BEFORE = {"name": "a", "code": {"valid_for": 7, "max": 1}, "methods": ["VISA"], "journey": [{"on": "x"}, {"on": "y"}]}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({}, []),
        ({"name": "b"}, [{"pointer": "/name", "before": "a", "after": "b"}]),
        ({"code": {"valid_for": 8, "max": 1}}, [{"pointer": "/code/valid_for", "before": 7, "after": 8}]),
        ({"code": {"valid_for": 7}}, [{"pointer": "/code/max", "before": 1}]),
        ({"reward": {"fixed": 1}}, [{"pointer": "/reward", "after": {"fixed": 1}}]),
        (
            {"methods": ["PAYPAL", "VISA"]},
            [{"pointer": "/methods", "before": ["VISA"], "after": ["PAYPAL", "VISA"]}],
        ),
        ({"journey": [{"on": "x"}, {"on": "z"}]}, [{"pointer": "/journey/1/on", "before": "y", "after": "z"}]),
        ({"journey": [{"on": "x"}]}, [{"pointer": "/journey/1", "before": {"on": "y"}}]),
        ({"name": None}, [{"pointer": "/name", "before": "a", "after": None}]),
        ({"a/b": 1}, [{"pointer": "/a~1b", "after": 1}]),
    ],
)
def test_an_edit_is_told_where_it_differs(edit: dict[str, Any], told: list[dict[str, Any]]) -> None:
    assert [change.as_json() for change in changes(BEFORE, BEFORE | edit)] == told
