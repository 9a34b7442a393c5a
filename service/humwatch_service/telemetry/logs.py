"""Logs: one JSON object a line on stderr (or text for people), uvicorn's own included."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any, Final, Literal, cast

import structlog
from structlog.types import EventDict, Processor

from humwatch_service.telemetry.log_limits import RepeatLimit, bound_values, note_suppressed, on_one_line
from humwatch_service.telemetry.redaction import Redactor

UVICORN_LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access")


def event_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger of events with fields; it takes the request's id from the context.

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


def log_formatter(form: Literal["json", "console"], redactor: Redactor | None = None) -> logging.Formatter:
    """Return the one formatter of all records, which redacts what is secret."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        note_suppressed,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        _Hidden(redactor or Redactor()),
        bound_values,
    ]
    foreign: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    last: list[Processor] = (
        [structlog.processors.JSONRenderer(allow_nan=False)]
        if form == "json"
        else [
            on_one_line,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=foreign, processors=[*shared, *last])


class _Hidden:
    """A processor: secrets are taken out of every value, of tracebacks too."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: Any, _method: str, event: EventDict) -> EventDict:
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = self._redactor.text(value)
            elif isinstance(value, list | tuple | dict):
                event[name] = self._redactor.value(value)
        return event


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what uvicorn says of every WebSocket that is refused with an HTTP answer, as if that were a fault."""
    return record.msg != "ASGI callable returned without completing handshake."


def configure_logging(level: str, form: Literal["json", "console"], secrets: Iterable[str | bytes] = ()) -> None:
    """Send every record of the process through one formatter to stderr; called by commands, never at import.

    Args:
        level: least level that is logged.
        form: JSON, or text for people.
        secrets: secrets that must not be in any record, wherever they come from.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter(form, Redactor(secrets)))
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in UVICORN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = name != "uvicorn.access"
        logger.addFilter(_is_news)
    for noisy in ("matplotlib", "PIL", "asyncio", "httpx", "httpcore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # It tells of every export that fails; `humwatch.tracing` tells when traces stop to arrive, and when they do again.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
