"""The processes together: what an outsider can enqueue, and how the supervisor starts, mends and ends all of it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from promocast.demo.world import free_port
from promocast.signing import new_webhook_secret
from tests.e2e.harness import Installation, eventually

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]

CAMPAIGN = """
id = "outside"
[label_tags.promo_code]
type = "random"
[code]
label_tag = "promo_code"
[templates.popup]
title = "Hi {{ player.first_name }}"
body = "Your code: {{ label.promo_code }}"
[templates.email]
subject = "Your code {{ label.promo_code }}"
text = "Hi {{ player.first_name }}: {{ label.promo_code }}"
[[journey]]
on = "code.issued"
send = ["popup", "email"]
when_shown = "CODE_IS_SHOWN"
"""


@contextmanager
def mail_server(folder: Path) -> Iterator[int]:
    """aiosmtpd as a program of its own, keeping what it takes in a maildir; its port."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}"]
    process = subprocess.Popen([*command, "-c", "aiosmtpd.handlers.Mailbox", str(folder)])
    try:
        yield port
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def webhook_receiver(secret: str, popups: list[dict[str, object]]) -> Iterator[int]:
    """A receiver on the standard library's server that lets the reference library judge the signature."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            popups.append(Webhook(secret).verify(body, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_plain_dramatiq_producer_gets_a_code_to_a_mail_server_and_a_website(tmp_path: Path) -> None:
    secret, popups = new_webhook_secret(os.urandom(32)), list[dict[str, object]]()
    config = tmp_path / "config"
    (config / "campaigns").mkdir(parents=True)
    (config / "campaigns" / "outside.toml").write_text(CAMPAIGN, encoding="utf-8")
    with mail_server(tmp_path / "mail") as smtp, webhook_receiver(secret, popups) as web:
        (config / "promocast.toml").write_text(
            f'data_dir = "{tmp_path / "data"}"\n[api]\nport = {free_port()}\n[queue]\nport = {free_port()}\n'
            f'[channels.popup]\nurl = "http://127.0.0.1:{web}/"\nsecrets = ["{secret}"]\n'
            f'[channels.email]\nhost = "127.0.0.1"\nport = {smtp}\nsecurity = "none"\nsender = "codes@casino.test"\n',
            encoding="utf-8",
        )
        up = Installation(config / "promocast.toml")
        up.start()
        url = json.loads(up.run("status", "--json").stdout)["queue"]["url"]
        subprocess.run(
            [sys.executable, str(ROOT / "examples" / "enqueue.py"), url, "outside", "84213", "ann@example.com"],
            check=True,
        )
        eventually("the popup", lambda: popups)
        [mail] = eventually("the mail", lambda: list((tmp_path / "mail" / "new").glob("*")))
        up.stop()

    [popup] = popups
    data = popup["data"]
    assert isinstance(data, dict)
    code = data["code"]
    assert popup["type"] == "popup"
    assert data["body"] == f"Your code: {code}"
    assert data["player_id"] == "84213"
    parsed = message_from_bytes(mail.read_bytes(), policy=policy.default)
    assert parsed["Subject"] == f"Your code {code}"
    assert parsed["To"] == "ann@example.com"


def test_up_stops_within_ten_seconds_and_leaves_no_process_behind(up: Installation) -> None:
    words = [("api",), ("worker", "issue"), ("worker", "deliver"), ("worker", "verify"), ("sweeper",)]
    assert all(up.pid_of(*kind) for kind in words)

    seconds = up.stop()

    assert seconds < 10
    assert not any(up.pid_of(*kind) for kind in words)
    assert "Fatal" not in up.log.read_text()
    assert "Traceback" not in up.log.read_text()


def test_a_process_that_dies_is_started_again(up: Installation) -> None:
    first = up.pid_of("api")
    assert first is not None

    os.kill(first, signal.SIGKILL)

    second = eventually("another API process", lambda: (pid := up.pid_of("api")) != first and pid)
    eventually("a ready API", lambda: _ready(up))
    assert second != first


def test_everything_ends_with_a_supervisor_that_is_killed_and_the_next_one_starts(up: Installation) -> None:
    kinds = (("api",), ("sweeper",), ("worker", "deliver"))

    up.stop(signal.SIGKILL)
    eventually("no process left", lambda: not any(up.pid_of(*kind) for kind in kinds))
    up.start()

    assert all(up.pid_of(*kind) for kind in kinds)
    assert _ready(up)


def test_a_data_folder_has_one_supervisor(up: Installation) -> None:
    done = up.run("up", check=False)

    assert done.returncode == 1
    assert "already up" in done.stderr
    assert _ready(up)


def _ready(up: Installation) -> bool:
    try:
        return httpx.get(f"{up.url}/readyz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_an_api_whose_port_is_taken_says_so_and_what_to_do(up: Installation) -> None:
    second = up.run("api", check=False)

    assert second.returncode == 1
    assert f"The API cannot listen on 127.0.0.1:{up.settings.api.port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_data_folder_is_private_and_the_queue_is_guarded(up: Installation) -> None:
    import redis

    status = json.loads(up.run("status", "--json").stdout)
    client = redis.Redis.from_url(status["queue"]["url"])

    assert up.settings.data_dir.stat().st_mode & 0o077 == 0
    assert client.ping()
    for command in ("CONFIG GET *", "DEBUG SLEEP 0", "MODULE LIST"):
        with pytest.raises(redis.ResponseError):
            client.execute_command(*command.split())  # type: ignore[no-untyped-call]
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=up.settings.queue.port).ping()
    client.close()


def test_the_demo_once_tells_what_the_contract_says(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "promocast", "demo", "--once", "--json"],
        capture_output=True, text=True, check=False, timeout=110, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert set(summary) == {"issued", "sent", "shown", "redeemed", "refused", "unsent", "seconds"}
    assert all(count > 0 for count in summary["sent"].values())
    assert summary["shown"] > 0
    assert summary["redeemed"] > 0
    assert len(summary["refused"]) >= 3
    assert summary["unsent"] == 0
