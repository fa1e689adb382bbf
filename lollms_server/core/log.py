"""The server's log: one handler on standard error, one line per event, no secret and no control character in it.

Every record of the process passes here, also those of the HTTP server and of third-party code. A message is one line
whatever it contains; the lines of a traceback are indented, so that text in an exception cannot pass for a record.
The access log of the HTTP server stays off: it would print query strings.
"""

from __future__ import annotations

import logging
import sys
import time
from contextvars import ContextVar
from typing import Final, TextIO

from typing_extensions import override

from lollms_runtime.secrets import Scrubber, escape_controls

__all__ = ["REQUEST_ID", "SafeFormatter", "setup_logging"]

REQUEST_ID: Final[ContextVar[str]] = ContextVar("lollms_request_id", default="-")
"""The id of the request that the current task works on."""

_QUIET = ("uvicorn.access",)
_ABSORBED = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "fastapi", "aiohttp", "asyncio")
_INDENT = "    | "
_MAX_MESSAGE = 8000


class SafeFormatter(logging.Formatter):
    """Formats a record as `time LEVEL logger [request id] message`, scrubbed and escaped."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self.converter = time.gmtime
        self._scrubber = scrubber

    @override
    def format(self, record: logging.LogRecord) -> str:
        message = self._scrubber.clean(record.getMessage())
        if len(message) > _MAX_MESSAGE:
            message = f"{message[:_MAX_MESSAGE]}… ({len(message)} characters)"
        request = REQUEST_ID.get()
        mark = "" if request == "-" else f" [{request}]"
        head = f"{self.formatTime(record)} {record.levelname} {record.name}{mark}"
        line = f"{head} {escape_controls(message)}"
        for text in self._more(record):
            line += "\n" + "\n".join(_INDENT + escape_controls(part) for part in text.split("\n"))
        return line

    def _more(self, record: logging.LogRecord) -> list[str]:
        texts = []
        if record.exc_info:
            texts.append(self.formatException(record.exc_info))
        elif record.exc_text:
            texts.append(record.exc_text)
        if record.stack_info:
            texts.append(record.stack_info)
        return [self._scrubber.clean(text) for text in texts]


def setup_logging(level: str, scrubber: Scrubber, stream: TextIO | None = None) -> logging.Handler:
    """Send all records of the process from `level` up to one handler on standard error, and return the handler.

    The HTTP server must be started without a logging configuration of its own (`log_config=None`).
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(SafeFormatter(scrubber))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in (*_ABSORBED, *_QUIET):
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
        logger.propagate = name not in _QUIET
        logger.disabled = name in _QUIET
    return handler
