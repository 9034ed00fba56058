"""The processes: each kind by itself for deployments, or all of them under one supervisor."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Literal

import typer

from promocast.cli import context
from promocast.cli.watching import monitored
from promocast.errors import ConfigError
from promocast.monitor import listen
from promocast.runtime import Runtime

Kind = Literal["issue", "deliver", "verify"]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True, help="Stop when standard input ends.")]
Listener = Annotated[int | None, typer.Option("--monitor", hidden=True, help="A listening socket's number.")]


def up() -> None:
    """Run API, workers and sweeper on this machine, and the embedded queue where no queue.url is set."""
    from promocast import observe
    from promocast.cli.supervisor import Supervisor

    settings = context.settings()
    observe.configure(settings.log, "up")
    supervisor = Supervisor(settings, context.config_path)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: supervisor.stopping.set())
    supervisor.start()
    context.out.print(f"promocast is up at {supervisor.api_url}")
    raise SystemExit(supervisor.watch())


def api(supervised: Supervised = False, monitor: Listener = None) -> None:
    """Run the HTTP API."""
    import gc

    import uvicorn

    from promocast.api.app import create

    with context.open_runtime("api") as runtime, monitored(runtime, "api", monitor):
        listener = _listening(runtime.settings.api.host, runtime.settings.api.port)
        config = uvicorn.Config(
            create(runtime),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            server_header=False,
            proxy_headers=False,
        )
        server = uvicorn.Server(config)
        if supervised:
            _at_end_of_input(lambda: setattr(server, "should_exit", True))
        # What start-up has made lives as long as the process: out of the collector's way, the slowest requests take a
        # quarter of the time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000)
        server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """By ourselves, and first: of an address that cannot be had uvicorn says so in its own log only.

    Raises:
        ConfigError: it is taken, or none of this machine.
    """
    try:
        return listen(host, port)
    except OSError as exc:
        raise ConfigError(f"The API cannot listen on {host}:{port} ({exc.strerror}); set [api] host and port.") from exc


def worker(
    kind: Annotated[Kind | None, typer.Argument(help="Only this kind of work; all of it by default.")] = None,
    supervised: Supervised = False,
    monitor: Listener = None,
) -> None:
    """Run a worker: issue, deliver or verify, or all three."""
    from promocast import workers

    process = f"worker-{kind or 'all'}"
    with context.open_runtime(process) as runtime, monitored(runtime, process, monitor):
        _stop_on_signals(runtime, supervised)
        workers.run(runtime, [kind] if kind else workers.KINDS)


def sweeper(supervised: Supervised = False, monitor: Listener = None) -> None:
    """Run the sweeper, which rings again for all that is due."""
    from promocast.workers import sweep

    with context.open_runtime("sweeper") as runtime, monitored(runtime, "sweeper", monitor, book=True):
        _stop_on_signals(runtime, supervised)
        sweep.run(runtime)


def _stop_on_signals(runtime: Runtime, supervised: bool) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        runtime.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if supervised:
        _at_end_of_input(runtime.stopping.set)


def _at_end_of_input(stop: Callable[[], object]) -> None:
    """The supervisor holds the other end of our standard input: when it ends, however it dies, we end too."""

    def wait() -> None:
        # Not through sys.stdin: its lock, held by a thread that never ends, is fatal to an interpreter that does.
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=wait, name="supervisor", daemon=True).start()
