"""What cannot be run here is at least read: the compose file, the Dockerfile, and the README's requests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from promocast import jobs
from promocast.jobs import ClientAction
from promocast.loading import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
PROCESSES = {"api", "worker issue", "worker deliver", "worker verify", "sweeper", "ledger upgrade"}


def test_the_compose_file_runs_every_kind_of_process() -> None:
    commands = {" ".join(s["command"]) for s in COMPOSE["services"].values() if s.get("image") == "promocast:latest"}

    assert commands == {f"promocast {process}" for process in PROCESSES}


def test_the_compose_files_environment_is_understood() -> None:
    environment = COMPOSE["services"]["api"]["environment"]

    found = load(None, environment)

    assert found.ledger_url.startswith("postgresql+psycopg://promocast:")
    assert found.queue.url.get_secret_value().startswith("redis://:")
    assert found.log.format == "json"


def test_the_compose_file_publishes_on_the_loopback_interface_only() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_dockerfile_copies_what_is_there_and_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]

    assert copied
    assert all((ROOT / name).exists() for name in copied)
    assert "USER promocast" in lines
    assert json.loads(lines[-1].removeprefix("CMD ")) == ["promocast", "api"]


def body_of(path: str) -> Any:
    """The JSON that the README posts to `path`."""
    found = re.search(rf"curl [^\n]*{re.escape(path)}[^']*-d '(.*?)'", README, re.DOTALL)
    assert found, f"README posts nothing to {path}"
    return json.loads(found[1])


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/v1/issue", lambda body: jobs.read_issue_job(body).recipients),
        ("/v1/deposits", lambda body: jobs.read_deposit(body).amount),
        ("/v1/events/client-action", lambda body: ClientAction.model_validate(body).payload.code),
    ],
)
def test_the_readmes_requests_are_understood(path: str, read: Any) -> None:
    assert read(body_of(path))
