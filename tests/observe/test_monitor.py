"""The address at which a process is watched: it answers while everything else hangs, and a taken port stops nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from promocast import monitor
from promocast.cli.supervisor import MOST_SILENCES, Supervisor, _Child
from promocast.cli.watching import Household, seen
from promocast.monitor import Monitor, Persistent, Views, listen
from promocast.settings import MetricsSettings, Settings
from tests.observe.conftest import CODE, Log
from tests.observe.test_progress import within


def views(**health: Any) -> Views:
    return Views(lambda: b"promocast_x 1\n", lambda: {"alive": True, "process": "api", "stuck": {}} | health)


@contextmanager
def serving(shown: Views) -> Iterator[int]:
    listener = listen("127.0.0.1", 0)
    port: int = listener.getsockname()[1]
    made = Monitor(listener, shown)
    try:
        yield port
    finally:
        made.close()


def get(port: int, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=10)


def test_metrics_and_health_are_served_and_nothing_else() -> None:
    with serving(views()) as port:
        answers = [get(port, path) for path in ("/metrics", "/healthz?x=1", "/", "/v1/codes")]

    assert [answer.status_code for answer in answers] == [200, 200, 404, 404]
    assert answers[0].text == "promocast_x 1\n"
    assert answers[0].headers["content-type"].startswith("text/plain; version=")
    assert answers[1].json() == {"alive": True, "process": "api", "stuck": {}}


def test_a_process_that_is_stuck_is_told_by_the_status_of_the_answer() -> None:
    with serving(views(alive=False, stuck={"sweeper": 70.0})) as port:
        answer = get(port, "/healthz")

    assert (answer.status_code, answer.json()["stuck"]) == (503, {"sweeper": 70.0})


def test_a_client_that_says_nothing_holds_up_nobody() -> None:
    with serving(views()) as port, socket.create_connection(("127.0.0.1", port)):
        assert get(port, "/healthz").status_code == 200


def test_a_view_that_fails_is_logged_without_its_words(log: Log) -> None:
    def fails() -> bytes:
        raise ValueError(CODE)

    with serving(Views(fails, dict)) as port, pytest.raises(httpx.RemoteProtocolError):
        get(port, "/metrics")

    log.holds_none_of(CODE)
    assert [(line["event"], line["process"]) for line in log.ours] == [("monitor_request_failed", "worker-all")]


def test_a_taken_port_is_told_once_and_served_when_it_is_free(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "RETRY_EVERY", 0.02)
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]

    made = Persistent("127.0.0.1", port, views())
    within(10, lambda: "metrics_not_served" in log.text)
    taken.close()
    within(10, lambda: made._monitor is not None)
    answer = get(port, "/healthz")
    made.close()

    assert answer.status_code == 200
    assert [(line["event"], line["port"]) for line in log.ours] == [("metrics_not_served", port)]


def test_at_port_0_nothing_is_served() -> None:
    made = Persistent("127.0.0.1", 0, views())
    made.close()

    assert made._monitor is None
    assert seen(MetricsSettings(port=0)) is None


def test_what_is_seen_is_what_answers_where_the_settings_say() -> None:
    with serving(views()) as port:
        found = seen(MetricsSettings(host="0.0.0.0", port=port))

    assert found == {"alive": True, "process": "api", "stuck": {}}
    assert seen(MetricsSettings(port=port)) is None, "nobody is there any more"


# Under one supervisor.


def test_a_household_is_alive_if_everybody_in_it_is() -> None:
    silent = listen("127.0.0.1", 0)
    with serving(views()) as one, serving(views(alive=False, stuck={"watch": 61.0})) as other:
        well = Household({"api": one}).health()
        ill = Household({"api": one, "worker-deliver": other, "gone": 1}).health()
        text = Household({"api": one, "gone": 1}).metrics().decode()
    silent.close()

    assert well["alive"]
    assert not ill["alive"]
    assert ill["processes"]["worker-deliver"]["stuck"] == {"watch": 61.0}
    assert ill["processes"]["gone"] == {"alive": False, "stuck": {}}
    assert 'promocast_process_up{process="gone"} 0.0' in text
    assert 'promocast_process_up{process="api"} 1.0' in text


class Process:
    """A child process, as far as it can be killed."""

    def __init__(self) -> None:
        self.killed = threading.Event()

    def kill(self) -> None:
        self.killed.set()


def test_who_is_stuck_for_long_is_ended_and_who_recovers_is_not(log: Log) -> None:
    supervisor = Supervisor(Settings(), None)
    stuck, slow = Process(), Process()
    supervisor._children = [
        _Child("sweeper", [], process=stuck),  # type: ignore[arg-type]
        _Child("api", [], process=slow),  # type: ignore[arg-type]
    ]
    ill, well = {"alive": False, "stuck": {"sweeper": 90.0}}, {"alive": True, "stuck": {}}

    for round_ in range(MOST_SILENCES):
        assert not stuck.killed.is_set()
        supervisor.end_stuck({"sweeper": ill, "api": well if round_ == MOST_SILENCES - 2 else ill})

    assert stuck.killed.is_set()
    assert not slow.killed.is_set()
    assert [(line["event"], line["name"], line["stuck"]) for line in log.ours] == [
        ("process_stuck", "sweeper", ["sweeper"])
    ]
