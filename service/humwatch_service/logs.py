"""Logs: one JSON object a line on stderr (or text for people), uvicorn's own included."""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal, cast

import structlog
from structlog.types import Processor

UVICORN_LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access")


def event_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of events with fields; it takes the request's id from the context.

    It does not depend on structlog's global configuration: a record goes to the standard library's ``logging``
    and is rendered by the handler that :func:`configure_logging` installs.
    """
    processors: list[Processor] = [
        structlog.stdlib.filter_by_level,
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ]
    logger = structlog.wrap_logger(
        logging.getLogger(name), wrapper_class=structlog.stdlib.BoundLogger, processors=processors
    )
    return cast("structlog.stdlib.BoundLogger", logger)


def log_formatter(form: Literal["json", "console"]) -> logging.Formatter:
    """The one formatter of all records."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    foreign: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processors=[*shared, remove, *last])


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what uvicorn says of every WebSocket that is refused with an HTTP answer, as if that were a fault."""
    return record.msg != "ASGI callable returned without completing handshake."


def configure_logging(level: str, form: Literal["json", "console"]) -> None:
    """Send every record of the process through one formatter to stderr; called by commands, never at import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter(form))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in UVICORN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = name != "uvicorn.access"
        logger.addFilter(_is_news)
    for noisy in ("matplotlib", "PIL", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
