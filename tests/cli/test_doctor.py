"""What the doctor finds beyond what keeps a setup from starting. (The rest: test_operate.py.)"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from promocast.broker import make_client
from promocast.cli.diagnosis import places, stores
from promocast.ledger import Ledger, server
from promocast.ledger.server import Server
from promocast.model import SECOND
from promocast.settings import Settings
from promocast.standins.smtp import write_certificate
from tests.cli.conftest import CAMPAIGN, Done, Installation
from tests.conftest import NOW


def told(done: Done, level: str) -> list[str]:
    return [diagnosis["what"] for diagnosis in done.json if diagnosis["level"] == level]


def one_about(done: Done, words: str) -> dict[str, str]:
    """The only finding whose text has `words` in it."""
    [found] = [diagnosis for diagnosis in done.json if words in diagnosis["what"]]
    return dict(found)


# Files.


def test_a_configuration_with_secrets_that_everybody_may_read(promocast: Installation) -> None:
    promocast.configure('[channels.telegram]\ntoken = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"\n')
    promocast.config.chmod(0o644)

    done = promocast("doctor", "--json")

    assert done.status == 1
    found = one_about(done, "has secrets in it")
    assert found["level"] == "error"
    assert str(promocast.config) in found["advice"]
    assert "AAHdq" not in done.out + done.err
    promocast.config.chmod(0o640)
    assert "has secrets in it" not in promocast("doctor", "--json").out


@pytest.mark.parametrize(
    "more", ["", '[ledger]\nurl = "postgresql://promocast@127.0.0.1:1/promocast"\n'], ids=["nothing", "no password"]
)
def test_a_configuration_without_secrets_may_be_read_by_everybody(promocast: Installation, more: str) -> None:
    promocast.configure(more)
    promocast.config.chmod(0o644)

    assert "has secrets in it" not in promocast("doctor", "--json").out


def test_a_secret_from_the_environment_is_not_in_the_file(
    promocast: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMOCAST_CHANNELS__TELEGRAM__TOKEN", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw")
    promocast.config.chmod(0o644)

    assert "has secrets in it" not in promocast("doctor", "--json").out


@pytest.mark.parametrize(("kind", "level"), [("nfs4", "error"), ("cifs", "error"), ("ext4", "ok"), ("overlay", "ok")])
def test_sqlite_on_a_network_file_system(tmp_path: Path, kind: str, level: str) -> None:
    data = tmp_path / "da ta"
    data.mkdir(mode=0o700)
    mounts = tmp_path / "mounts"
    where = str(data.resolve()).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nstore:/x {where} {kind} rw 0 0\nproc /proc proc rw 0 0\n")

    found = list(places.data_folder(Settings(data_dir=data), mounts))

    assert found[-1].level == level
    assert places.filesystem(data, mounts) == kind
    assert places.filesystem(data, tmp_path / "none") is None


# Targets.


@pytest.mark.parametrize("section", ["endpoints.crm", "channels.popup", "exclusion"])
def test_credentials_in_an_address_halt_it_and_are_not_told(promocast: Installation, section: str) -> None:
    promocast.configure(f'[{section}]\nurl = "https://ann:tiger@crm.example.com/"\n')

    done = promocast("doctor", "--json")

    assert done.status == 1
    assert f"[{section}] url has credentials in it" in told(done, "error")
    assert "tiger" not in done.out + done.err


@pytest.mark.parametrize(
    ("url", "level", "words"),
    [
        ("ftp://crm.example.com/", "error", "is no address of a web server"),
        ("https://", "error", "is no address of a web server"),
        ("http://crm.example.com/", "warning", "codes travel in the clear"),
    ],
)
def test_an_address_that_is_none_or_is_open_to_all(promocast: Installation, url: str, level: str, words: str) -> None:
    promocast.configure(f'[endpoints.crm]\nurl = "{url}"\n')

    assert one_about(promocast("doctor", "--json"), words)["level"] == level


@contextmanager
def listening(greeting: bytes | None = None, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Somebody who takes connections, greets, and writes down what is sent to them: nothing must be."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with plain:
                    try:
                        connection = tls.wrap_socket(plain, server_side=True) if tls else plain
                        if greeting is not None:
                            connection.sendall(greeting)
                        heard.append(connection.recv(1024))
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not any(heard), "something was sent"


def test_what_can_be_reached_is_reached_and_sent_nothing(promocast: Installation) -> None:
    with listening() as web, listening(b"220 mail.example.com ESMTP\r\n") as mail:
        promocast.configure(
            f'[endpoints.crm]\nurl = "http://127.0.0.1:{web}/"\n'
            f'[channels.email]\nhost = "127.0.0.1"\nport = {mail}\nsender = "a@example.com"\n'
        )
        done = promocast("doctor", "--json")

    assert one_about(done, f"[endpoints.crm] 127.0.0.1:{web}")["level"] == "ok"
    assert one_about(done, f"[channels.email] 127.0.0.1:{mail}")["level"] == "ok"


def test_what_is_away_may_come_back(promocast: Installation) -> None:
    promocast.configure(
        '[endpoints.crm]\nurl = "http://127.0.0.1:1/"\n[endpoints.bonus]\nurl = "https://nowhere.invalid/"\n'
    )

    done = promocast("doctor", "--json")

    assert one_about(done, "127.0.0.1:1 cannot be reached")["level"] == "warning"
    assert one_about(done, "nowhere.invalid:443")["level"] == "warning"
    assert done.status == 0


def test_a_name_that_leads_to_private_addresses_needs_its_network_listed(
    promocast: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with listening() as port:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        promocast.configure(f'[endpoints.crm]\nurl = "http://crm.internal:{port}/"\n')
        refused = promocast("doctor", "--json")
        promocast.configure(f'[endpoints.crm]\nurl = "http://crm.internal:{port}/"\nallow_private = ["127.0.0.0/8"]\n')
        allowed = promocast("doctor", "--json")

    assert one_about(refused, "leads to private addresses only")["level"] == "error"
    assert "allow_private" in one_about(refused, "leads to private addresses only")["advice"]
    assert one_about(allowed, f"crm.internal:{port} can be reached")["level"] == "ok"


def test_a_certificate_that_nobody_trusts(promocast: Installation, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with listening(tls=context) as port:
        promocast.configure(f'[endpoints.crm]\nurl = "https://localhost:{port}/"\n')
        done = promocast("doctor", "--json")

    assert one_about(done, "its certificate is not trusted")["level"] == "error"


def test_mails_and_sms_need_a_way_back(promocast: Installation) -> None:
    outboxes = "".join(f'[channels.{name}]\nuse = "outbox"\n' for name in ("email", "sms"))
    channels = outboxes + '[channels.telegram]\ncallback_secret = "s3"\n'
    promocast.configure(channels)
    without = told(promocast("doctor", "--json"), "warning")
    promocast.configure(channels + '[api]\npublic_url = "https://promo.example.com"\n')
    with_one = promocast("doctor", "--json")

    assert len([what for what in without if "api.public_url is not set" in what]) == 3
    assert "public_url" not in with_one.out


# The database.


def well(**changes: Any) -> Server:
    facts: dict[str, Any] = {
        "version": 17,
        "isolation": "read committed",
        "fsync": "on",
        "synchronous_commit": "on",
        "standby": False,
        "now": NOW,
    }
    return Server(**facts | changes)


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (well(version=12), "error", "PostgreSQL 12 is too old"),
        (well(isolation="repeatable read"), "error", "'repeatable read' by default"),
        (well(standby=True), "error", "is a standby"),
        (well(fsync="off"), "error", "fsync is off"),
        (well(synchronous_commit="off"), "warning", "synchronous_commit is off"),
        (well(now=NOW - 3 * SECOND), "warning", "3 s apart"),
        (well(now=NOW + 31 * SECOND), "error", "31 s apart"),
    ],
)
def test_a_postgresql_that_is_set_up_otherwise(facts: Server, level: str, words: str) -> None:
    [found] = stores.of_postgresql(facts, NOW)

    assert (found.level, words in found.what, bool(found.advice)) == (level, True, True)


def test_a_postgresql_that_is_set_up_well() -> None:
    assert list(stores.of_postgresql(well(), NOW)) == []


def test_the_facts_are_those_of_the_database(ledger: Ledger, postgres_url: str) -> None:
    with ledger.read() as conn:
        found = server.facts(conn)

    if ledger.dialect == "sqlite":
        assert found is None
        return
    with psycopg.connect(postgres_url) as conn2:
        assert found is not None
        assert found.version == conn2.info.server_version // 10_000
    assert (found.isolation, found.standby) == ("read committed", False)


# The queue.


@pytest.mark.parametrize(
    ("info", "level", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "error", "allkeys-lru"),
        ({"aof_enabled": 0}, "warning", "appendonly no"),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, "error", "cannot write"),
        ({"redis_version": "6.0.16"}, "error", "6.0.16 is too old"),
        ({"role": "slave"}, "error", "is a replica"),
    ],
)
def test_a_queue_that_is_set_up_otherwise(info: dict[str, Any], level: str, words: str) -> None:
    good = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": 1, "role": "master"}

    assert list(stores.of_queue(good)) == []
    [found] = stores.of_queue(good | info)
    assert (found.level, words in found.what, bool(found.advice)) == (level, True, True)


def test_a_real_queue_is_asked(promocast: Installation, queue_url: str) -> None:
    promocast.configure(f'[queue]\nurl = "{queue_url}"\n')
    client = make_client(queue_url)
    client.execute_command("CLIENT", "NO-EVICT", "OFF")  # type: ignore[no-untyped-call]
    client.close()

    done = promocast("doctor", "--json")

    assert done.status == 0
    assert "the queue answers" in told(done, "ok")
    assert [what for what in told(done, "warning") + told(done, "error") if "queue" in what] == []


def test_a_password_that_the_queue_refuses(promocast: Installation, queue_url: str) -> None:
    wrong = queue_url.replace("://:", "://:no")
    promocast.configure(f'[queue]\nurl = "{wrong}"\n')

    done = promocast("doctor", "--json")

    assert told(done, "error") == ["the queue refuses the password"]
    assert wrong.split(":")[2].partition("@")[0] not in done.out + done.err


# Campaigns.


def test_a_campaign_in_force_that_names_what_is_not_here(promocast: Installation) -> None:
    calling = CAMPAIGN + '\n[[journey]]\non = "code.redeemed"\ncall = "bonus"\n'
    path = promocast.write_campaign(calling)
    promocast("campaign", "apply", path)
    path.unlink()

    warned = told(promocast("doctor", "--json"), "warning")

    assert [what for what in warned if "campaign welcome version 1" in what and "[endpoints.bonus]" in what]
    assert [what for what in warned if "campaign welcome version 1" in what and "popup is not configured" in what]


def test_what_is_said_of_a_file_is_not_said_again_of_what_is_in_force(promocast: Installation) -> None:
    promocast("campaign", "apply", promocast.write_campaign())

    assert len([what for what in told(promocast("doctor", "--json"), "warning") if "will be skipped" in what]) == 1
