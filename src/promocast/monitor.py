"""Where a process can be watched: GET /metrics and GET /healthz, without a key, on an address of their own.

It is served from threads of its own, so that it answers, and says so, when what it reports on has stopped.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST

from promocast.observe import log

RETRY_EVERY: Final = 5.0
# Seconds that a client may take over its request, so that none holds a thread for good.
PATIENCE: Final = 10


@dataclass(frozen=True, slots=True)
class Views:
    """`metrics` is Prometheus' text format; `health` what /healthz answers, 200 if it is `alive`, else 503."""

    metrics: Callable[[], bytes]
    health: Callable[[], dict[str, Any]]


class Monitor:
    """Serves `views` on `listener` until closed."""

    def __init__(self, listener: socket.socket, views: Views) -> None:
        self._server = _Server(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._server.views = views
        self._thread = threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def listen(host: str, port: int) -> socket.socket:
    """
    Raises:
        OSError: the address is taken, or is none of this machine.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=16)


class Persistent:
    """A monitor on `host` and `port`, begun as soon as they are free: a taken port is told, and stops nobody's codes.

    Port 0 serves nothing.
    """

    def __init__(self, host: str, port: int, views: Views) -> None:
        self._stopping = threading.Event()
        self._monitor: Monitor | None = None
        self._thread = threading.Thread(target=self._open, args=(host, port, views), name="monitor-opener", daemon=True)
        if port:
            self._thread.start()

    def _open(self, host: str, port: int, views: Views) -> None:
        told = False
        while not self._stopping.is_set():
            try:
                self._monitor = Monitor(listen(host, port), views)
            except OSError as exc:
                if not told:
                    log.error("metrics_not_served", port=port, error=exc, advice="set metrics.port to a free one")
                told = True
                self._stopping.wait(RETRY_EVERY)
            else:
                return

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._monitor is not None:
            self._monitor.close()


class _Server(ThreadingHTTPServer):
    views: Views

    def handle_error(self, *_: Any) -> None:
        log.warning("monitor_request_failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, self.server.views.metrics())
            case "/healthz":
                found = self.server.views.health()
                self._answer(200 if found["alive"] else 503, "application/json", json.dumps(found).encode() + b"\n")
            case _:
                self._answer(404, "text/plain; charset=utf-8", b"There is /metrics, and /healthz.\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return None
