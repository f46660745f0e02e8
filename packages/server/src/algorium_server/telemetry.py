"""
Logs: structured lines on standard error, in one shape for our code and for libraries.

Standard output belongs to the contract (`ready http://HOST:PORT`), so nothing is logged there.
What is logged never holds a secret: members with telling names are hidden, and anything that
looks like an API key is cut from texts.

Hot path: what is logged for every call is logged at level *debug*. Below the configured level a
log method only returns, so at the default *info* a call pays one or two microseconds for its line;
with `--log-level debug` it is formatted and written.
"""

import logging
import re
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, TextIO

import structlog

_HIDDEN: Final = "[hidden]"
_SECRET_NAMES: Final = frozenset(
    {"admin_api_key", "api_key", "authorization", "cookie", "key", "password", "secret", "token"}
)
_API_KEY: Final = re.compile(r"\bsim[0-9A-Za-z]{25}\b")
# HTTP clients write whole addresses at debug; signed ones open what they lead to for everybody.
_SIGNATURE: Final = re.compile(r"(\b(?:sig|signature)=)[^&\s\"'<>]+", re.IGNORECASE)


def configure(
    level: str,
    format: str,  # noqa: A002
    *,
    file: TextIO | None = None,
    gateway: int | None = None,
) -> None:
    """
    Set up logging for the process; the last call counts.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        format: `json`, `logfmt` or `console`; `auto` is console on a terminal, else logfmt.
        file: Where lines go, standard error if not given.
        gateway: Which of several gateways this process is; lines then say so.
    """
    stream = file or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if gateway is not None:
        shared.append(partial(_name_gateway, gateway))
    # Twice: tracebacks become text in between, and they may quote what must not be seen.
    ending: list[structlog.typing.Processor] = [
        hide_secrets,
        structlog.processors.format_exc_info,
        hide_secrets,
        _renderer(format, stream),
    ]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        # Loggers are module constants; each would otherwise be assembled anew for every line.
        cache_logger_on_first_use=file is None,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_module, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries are chatty below warnings; the operator who asks for debug gets all of it, but for
    # the line per statement of the SQLite driver, which would bury the rest.
    root.setLevel(number if level == "debug" else max(number, logging.WARNING))
    logging.getLogger("aiosqlite").setLevel(max(number, logging.INFO))


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a module; it may be made before `configure` and used after it."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return bound


def hide_secrets(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> Mapping[str, Any]:
    """Hide what must not be in a log; a last step before a line is written."""
    for name, value in event.items():
        if name.lower() in _SECRET_NAMES:
            event[name] = _HIDDEN
        elif isinstance(value, str):
            event[name] = _without_secrets(value)
    return event


def _without_secrets(text: str) -> str:
    # Almost every line has neither, and to look for these is much cheaper.
    if "sim" in text:
        text = _API_KEY.sub(_HIDDEN, text)
    if "=" in text:
        text = _SIGNATURE.sub(rf"\1{_HIDDEN}", text)
    return text


def _name_gateway(
    gateway: int, _logger: object, _method: str, event: structlog.typing.EventDict
) -> Mapping[str, Any]:
    event["gateway"] = gateway
    return event


def _name_module(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> Mapping[str, Any]:
    event["module"] = event["_record"].name
    return event


def _renderer(format: str, stream: TextIO) -> structlog.typing.Processor:  # noqa: A002
    chosen = ("console" if stream.isatty() else "logfmt") if format == "auto" else format
    match chosen:
        case "console":
            plain = structlog.dev.plain_traceback  # the pretty one shows local variables
            return structlog.dev.ConsoleRenderer(exception_formatter=plain)
        case "json":
            return structlog.processors.JSONRenderer()
        case _:
            order = ["timestamp", "level", "event"]
            return structlog.processors.LogfmtRenderer(key_order=order, drop_missing=True)
