"""`up` as whoever is on call sees it: one address for all processes' metrics, and for whether they come round."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from promocast.cli.supervisor import PROCESSES
from promocast.demo.world import World
from tests.e2e.harness import Installation, eventually

pytestmark = pytest.mark.e2e


def ask(up: Installation, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{up.settings.metrics.port}{path}", trust_env=False, timeout=30)


def series(up: Installation) -> dict[tuple[str, ...], float]:
    """{(name, process, other label values in the order of their names): value}"""
    return {
        (
            s.name,
            s.labels.get("process", ""),
            *(s.labels[name] for name in sorted(s.labels) if name != "process"),
        ): s.value
        for family in text_string_to_metric_families(ask(up, "/metrics").text)
        for s in family.samples
    }


def test_one_address_shows_what_every_process_counts(up: Installation, world: World) -> None:
    players = [{"player_id": f"p{i}", "attributes": {"first_name": "Ann"}} for i in range(3)]
    body = {"request_id": "r-1", "campaign": "demo", "recipients": players}
    with up.client() as client:
        assert client.post("/v1/issue", json=body).status_code == 202
        client.get("/v1/codes/NOSUCHCODE")
        eventually("three popups", lambda: len(world.site.popups) >= 3)
    counted = ("promocast_sends_total", "worker-deliver", "popup", "sent")
    eventually("the sends to be counted", lambda: series(up).get(counted, 0) >= 3)
    found = series(up)

    assert {process for name, process, *_ in found if name == "promocast_process_up"} == set(PROCESSES)
    assert found["promocast_codes_issued_total", "worker-issue", "demo"] == 3
    assert found["promocast_ledger_up", "sweeper"] == found["promocast_queue_up", "sweeper"] == 1
    assert found["promocast_sweep_last_timestamp_seconds", "sweeper"] > 1.7e9
    assert {process for name, process, *_ in found if name == "process_resident_memory_bytes"} == set(PROCESSES)
    routes = {more[1] for name, process, *more in found if name == "promocast_http_request_seconds_count"}
    assert {"/v1/issue", "/v1/codes/{code:path}"} <= routes
    assert not [route for route in routes if "NOSUCHCODE" in route]


def test_a_process_that_hangs_is_told_and_one_that_goes_on_is_alive_again(up: Installation) -> None:
    health = ask(up, "/healthz")
    assert (health.status_code, health.json()["alive"]) == (200, True)
    assert health.json()["processes"].keys() == PROCESSES.keys()
    pid = up.pid_of("sweeper")
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    try:
        stopped: Any = ask(up, "/healthz")
        status = up.run("status", "--json")
    finally:
        os.kill(pid, signal.SIGCONT)

    assert stopped.status_code == 503
    assert [name for name, one in stopped.json()["processes"].items() if not one["alive"]] == ["sweeper"]
    assert '"sweeper": {"alive": false' in status.stdout
    eventually("the sweeper to be alive again", lambda: ask(up, "/healthz").status_code == 200)


def test_the_doctor_finds_nothing_wrong_with_the_demos_world(up: Installation) -> None:
    done = up.run("doctor", "--json", check=False)

    assert done.returncode == 0, done.stdout
