"""Logs as JSON lines with the trace they belong to."""

import hashlib
import logging
import secrets
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

import structlog
from opentelemetry import trace

QUIET = ("faust", "mode", "aiokafka", "kafka", "grpc", "asyncio", "opentelemetry", "pyiceberg")
PERSONAL = ("user_id", "user_ids", "user")  # keys whose values are told as pseudonyms only
PSEUDONYM_BYTES = 6
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


Event = MutableMapping[str, Any]


def get_logger(name: str) -> Any:
    """A structlog logger; `log.info("words", key=value)`."""
    return structlog.get_logger(logger_name=name)


# Jobs and commands configure nothing, and what they print is their result: logs are kept apart from it.
structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def configure(level: str, service: str, zone: str, stream: Any = None, *, secret: str = "") -> None:
    """Make every logger of this process, ours and the libraries', write JSON lines. Called once, by `run`.

    Users are told by a pseudonym that only who has `secret` can make; without one it is of this process alone.
    """
    out = stream or sys.stderr
    key = hashlib.blake2b(secret.encode()).digest() if secret else secrets.token_bytes(32)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _with(service=service, zone=zone),
        structlog.processors.add_log_level,
        _with_trace,
        _with_pseudonyms(key),
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


def pseudonym(user_id: str, key: bytes) -> str:
    """Tells lines of one user from those of another, and nobody who it is."""
    return "user-" + hashlib.blake2b(user_id.encode(errors="replace"), key=key, digest_size=PSEUDONYM_BYTES).hexdigest()


def _with_pseudonyms(key: bytes) -> Callable[[Any, str, Event], Event]:
    def hide(_logger: Any, _method: str, event: Event) -> Event:
        for name in PERSONAL:
            if (value := event.get(name)) is not None:
                are_many = isinstance(value, list | tuple | set)
                event[name] = [pseudonym(str(one), key) for one in value] if are_many else pseudonym(str(value), key)
        return event

    return hide


def _with_trace(_logger: Any, _method: str, event: Event) -> Event:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
