"""Health: alive says little, ready says that ledger and queue answer; what is away is a problem that passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal
from pydantic import SecretStr

from promocast.settings import LedgerSettings, QueueSettings, Settings
from tests.api.conftest import Api, job_for
from tests.conftest import StoppedClock

NOWHERE = "127.0.0.1:1"

Opened = Callable[[Settings], Api]


@pytest.fixture
def opened(clock: StoppedClock, portal: BlockingPortal) -> Iterator[Opened]:
    """The API over any settings, of an installation that may be broken."""
    made: list[Api] = []

    def over(settings: Settings) -> Api:
        made.append(Api(settings, clock, portal))
        return made[-1]

    yield over
    for api in made:
        api.runtime.close()


def without_ledger(url: str, folder: Path) -> Settings:
    return Settings(data_dir=folder, ledger=LedgerSettings(url=SecretStr(url)), queue=no_queue())


def no_queue() -> QueueSettings:
    return QueueSettings(url=SecretStr(f"redis://{NOWHERE}/0"))


def test_ready_if_ledger_and_queue_answer(api: Api) -> None:
    stranger = api.stranger()

    assert stranger.get("/healthz").json() == {"alive": True, "stuck": {}}
    assert stranger.get("/readyz").status_code == 200
    assert stranger.get("/readyz").json() == {"ready": True}


def test_not_ready_while_the_queue_is_away_but_alive(settings: Settings, opened: Opened) -> None:
    stranger = opened(settings.model_copy(update={"queue": no_queue()})).stranger()

    answer = stranger.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["reason"] == "queue_unavailable"
    assert stranger.get("/healthz").status_code == 200


@pytest.mark.parametrize("url", [f"postgresql://promocast@{NOWHERE}/promocast", "sqlite:///{folder}"])
def test_not_ready_while_the_ledger_is_away_but_alive(url: str, tmp_path: Path, opened: Opened) -> None:
    stranger = opened(without_ledger(url.format(folder=tmp_path), tmp_path)).stranger()

    answer = stranger.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["reason"] == "ledger_unavailable"
    assert stranger.get("/healthz").status_code == 200


def test_not_ready_over_a_ledger_that_was_never_made(tmp_path: Path, opened: Opened) -> None:
    stranger = opened(without_ledger("", tmp_path)).stranger()

    answer = stranger.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["reason"] == "ledger_not_ready"
    assert "promocast ledger upgrade" in answer.json()["detail"]


def test_a_call_while_the_ledger_is_away_may_be_repeated_later(tmp_path: Path, opened: Opened) -> None:
    url = f"postgresql://promocast@{NOWHERE}/promocast"
    client = opened(without_ledger(url, tmp_path)).bearing("any key")

    answer = client.post("/v1/issue", json=job_for("p1"))

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert NOWHERE not in answer.text
