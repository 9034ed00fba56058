"""Logging: structured, and without anything that identifies a player or spends money.

Lines carry event words, counts, ids of ours and provider codes. What could be left out is left out where the line is
written; what must be left out is left out by `masking.py`, through which every line of every library passes. Libraries
are held to levels at which they have something to say to an operator.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict

from promocast import masking
from promocast.settings import LogSettings

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("promocast")

_QUIET: Final = {
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "telegram": logging.CRITICAL,
    "twilio": logging.WARNING,
    "aiohttp": logging.WARNING,
    "aiosmtplib": logging.WARNING,
    "mail": logging.ERROR,  # aiosmtpd, in the demo
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "google": logging.WARNING,
    "asyncio": logging.ERROR,
    "dramatiq": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
}


def configure(settings: LogSettings, process: str) -> None:
    """Set up logging for this process: JSON lines, or readable ones on a terminal. What nobody catches is told."""
    level = getattr(logging, settings.level.upper())
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())

    def of_process(_logger: Any, _method: str, line: EventDict) -> EventDict:
        return {**line, "process": process}  # in threads as well, to which no context comes by itself

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[of_process, masking.mask, renderer],
            use_get_message=False,  # arguments are not even put into their template
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    warnings.showwarning = _warned


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """The standard library would print the line's arguments. Where nothing can be written, on a full disk, the
        line is lost in silence: whoever logs has more important work to do."""
        error = sys.exception()
        with suppress(OSError, ValueError):  # the latter is a closed stream's
            self.stream.write(f"a log line was lost: {type(error).__name__}\n")


def _uncaught(_kind: type[BaseException], error: BaseException | None, _traceback: TracebackType | None = None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        log.critical("uncaught_exception", exc_info=error)


def _warned(
    message: Warning | str,  # noqa: ARG001 - it may quote a value
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    log.warning("python_warning", category=category, where=Path(filename), line=lineno)
