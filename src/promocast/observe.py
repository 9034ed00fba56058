"""Logging: structured, and without anything that identifies a player or spends money.

Lines carry event words, counts, ids of ours and provider codes. Nothing is masked after the fact where it can be left
out from the start; what libraries log is held to the levels at which they say nothing of a message's content.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

from promocast.settings import LogSettings

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("promocast")

# Below these levels they log URLs with tokens in them, SQL with its parameters, or arguments of jobs.
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
    """Set up logging for this process: JSON lines, or readable ones on a terminal."""
    level = getattr(logging, settings.level.upper())
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))
    structlog.contextvars.bind_contextvars(process=process)
