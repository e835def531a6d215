"""Logs as JSON lines with the trace they belong to."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from opentelemetry import trace

QUIET = ("faust", "mode", "aiokafka", "kafka", "grpc", "asyncio", "opentelemetry", "pyiceberg")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


Event = MutableMapping[str, Any]


def get_logger(name: str) -> Any:
    """A structlog logger; `log.info("words", key=value)`."""
    return structlog.get_logger(logger_name=name)


def configure(level: str, service: str, zone: str, stream: Any = None) -> None:
    """Make every logger of this process, ours and the libraries', write JSON lines. Called once, by `run`."""
    out = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _with(service=service, zone=zone),
        structlog.processors.add_log_level,
        _with_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name in QUIET:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(max(logging.WARNING, LEVELS[level]))


def _with(**facts: str) -> Callable[[Any, str, Event], Event]:
    """A processor and no context variables: threads of libraries do not inherit those."""

    def add(_logger: Any, _method: str, event: Event) -> Event:
        for name, fact in facts.items():
            event.setdefault(name, fact)
        return event

    return add


def _with_trace(_logger: Any, _method: str, event: Event) -> Event:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
