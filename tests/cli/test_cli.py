"""The program as a shell sees it: exit status 0 done, 1 failed, 2 wrong usage; errors in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Installation


def shell(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "promocast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_command_that_is_done_ends_with_0(promocast: Installation) -> None:
    done = shell("--config", promocast.config, "keys", "list", "--json")

    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_command_that_failed_ends_with_1_and_a_sentence_for_whoever_has_to_act(bare: Installation) -> None:
    done = shell("--config", bare.config, "keys", "list", "--json")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "promocast: The ledger is empty. `promocast ledger upgrade` creates its tables.\n"


def test_wrong_usage_ends_with_2_and_names_what_is_wrong(promocast: Installation) -> None:
    done = promocast("keys", "make")

    assert (done.status, done.out) == (2, "")
    assert "No such command 'make'" in done.err


@pytest.mark.parametrize("arguments", [("issue", "welcome"), ("inbox", "show", "first"), ("status", "--loudly")])
def test_missing_wrong_and_unknown_arguments_are_wrong_usage(
    promocast: Installation, arguments: tuple[str, ...]
) -> None:
    done = promocast(*arguments)

    assert (done.status, done.out) == (2, "")
    assert f"promocast {arguments[0]}" in done.err


def test_a_configuration_that_is_not_there_is_named(promocast: Installation) -> None:
    done = promocast("--config", promocast.folder / "absent.toml", "status")

    assert (done.status, done.out) == (1, "")
    assert f"no configuration file {promocast.folder / 'absent.toml'}" in done.err


def test_an_unknown_setting_is_named_with_its_file(promocast: Installation) -> None:
    promocast.configure("[api]\nhots = '0.0.0.0'\n")

    done = promocast("status")

    assert done.status == 1
    assert str(promocast.config) in done.err
    assert "api.hots" in done.err


def test_a_ledger_that_does_not_answer_is_told_in_a_sentence(promocast: Installation) -> None:
    promocast.configure('[ledger]\nurl = "postgresql://promocast:tiger@127.0.0.1:1/promocast"\n')

    done = promocast("status")

    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("promocast: The ledger does not answer")
    assert "tiger" not in done.err
