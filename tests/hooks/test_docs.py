"""docs/hooks.md: its examples are read as it says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from promocast import hooks
from promocast.settings import HookSettings
from tests.hooks.bodies import fasttrack, generic, smartico

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")


def test_every_example_is_read_as_the_page_says() -> None:
    bodies = [body.encode() for body in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)][1:]
    read = [
        hooks.read(body, settings)
        for body, settings in zip(bodies, (smartico, smartico, fasttrack, generic), strict=True)
    ]

    assert [(each.accepted, each.faults) for each in read] == [(1, ())] * 4


def test_the_map_of_the_page_is_the_one_that_reads_its_example() -> None:
    text = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1].replace("whsec_...", "whsec_" + "A" * 32)

    settings = HookSettings.model_validate(tomllib.loads(text)["hooks"]["psp"])

    assert settings.model_copy(update={"auth": "bearer", "secrets": generic.secrets}) == generic
