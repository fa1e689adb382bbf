"""The server's log: one handler on standard error, one line per event, no secret and no control character in it.

Every record of the process passes here, also those of the HTTP server and of third-party code. A message is one line
whatever it contains; the lines of a traceback are indented, so that text in an exception cannot pass for a record.
The access log of the HTTP server stays off: it would print query strings.

Third-party code may bring handlers of its own, clear the handlers of others, or print. So the records themselves are
made safe when they are made, and a handler that somebody else adds gets nothing that ours would not; ours stays where
it is; and what is printed becomes a record (see `printed.py`).
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, TextIO

from typing_extensions import override

from lollms_runtime.secrets import Scrubber, escape_controls

__all__ = ["REQUEST_ID", "SafeFormatter", "setup_logging"]

REQUEST_ID: Final[ContextVar[str]] = ContextVar("lollms_request_id", default="-")
"""The id of the request that the current task works on."""

_QUIET = ("uvicorn.access",)
_ABSORBED = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "fastapi", "aiohttp", "asyncio")
_OURS = ("lollms_core", "lollms_runtime", "lollms_server")
_INDENT = "    | "
_MAX_MESSAGE = 8000
_MAX_TRACEBACK = 64_000


class _SafeRecord(logging.LogRecord):
    """A record whose message and traceback can be given to any handler. It knows the request it was made in."""

    def __init__(self, scrubber: Scrubber, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.scrubber = scrubber
        self.lollms_request = REQUEST_ID.get()
        if self.exc_info and self.exc_info[1] is not None:
            self.exc_text = _indented("".join(traceback.format_exception(*self.exc_info)), scrubber)
        if self.stack_info:
            self.stack_info = _indented(self.stack_info, scrubber)

    @override
    def getMessage(self) -> str:
        try:
            message = super().getMessage()
        except Exception as error:  # arguments that do not fit, or that cannot be shown
            said = self.msg if isinstance(self.msg, str) else type(self.msg).__name__
            message = f"{said} (cannot be formatted: {type(error).__name__})"
        return _in_one_line(message, self.scrubber)


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
        message = _in_one_line(record.getMessage(), self._scrubber)
        request = getattr(record, "lollms_request", None) or REQUEST_ID.get()
        mark = "" if request == "-" else f" [{request}]"
        head = _in_one_line(f"{self.formatTime(record)} {record.levelname} {record.name}{mark}", self._scrubber)
        return "\n".join([f"{head} {message}", *self._more(record)])

    def _more(self, record: logging.LogRecord) -> list[str]:
        """The traceback and the stack; those of records of our own making are safe already."""
        text = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        texts = [each for each in (text, record.stack_info) if each]
        if isinstance(record, _SafeRecord) and record.scrubber is self._scrubber:
            return texts
        return [_indented(each, self._scrubber) for each in texts]


def _in_one_line(text: str, scrubber: Scrubber) -> str:
    text = scrubber.clean(text)
    if len(text) > _MAX_MESSAGE:
        text = f"{text[:_MAX_MESSAGE]}… ({len(text)} characters)"
    return escape_controls(text)


def _indented(text: str, scrubber: Scrubber) -> str:
    """Several lines that cannot be taken for records; the middle of a very long text is left out."""
    text = scrubber.clean(text.rstrip("\n"))
    if len(text) > _MAX_TRACEBACK:
        half = _MAX_TRACEBACK // 2
        text = f"{text[:half]}\n… ({len(text) - 2 * half} characters)\n{text[-half:]}"
    return "\n".join(_INDENT + escape_controls(line) for line in text.split("\n"))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to one stream. When that fails there is nobody to tell, and no request may fail for it."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        return


class _Handlers(list[logging.Handler]):
    """The handlers of the root logger; `logging.basicConfig(force=True)` and its like do not get rid of ours."""

    def __init__(self, ours: logging.Handler) -> None:
        super().__init__([ours])
        self._ours = ours

    @override
    def remove(self, handler: logging.Handler) -> None:
        if handler is not self._ours:
            super().remove(handler)

    @override
    def copy(self) -> _Handlers:
        """Python 3.14 and later put a copy in the place of the list, without what they remove."""
        copied = _Handlers(self._ours)
        copied[:] = self
        return copied


def setup_logging(level: str, scrubber: Scrubber, stream: TextIO | None = None) -> logging.Handler:
    """Send all records of the process from `level` up to one handler on standard error, and return the handler.

    Without a `stream` of one's own, what third-party code prints becomes records too. The HTTP server must be started
    without a logging configuration of its own (`log_config=None`).
    """
    handler = _Handler(stream if stream is not None else sys.stderr)
    handler.setFormatter(SafeFormatter(scrubber))
    handler.setLevel(level)
    logging.setLogRecordFactory(_factory(scrubber))
    root = logging.getLogger()
    root.handlers = _Handlers(handler)
    root.setLevel(level)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)  # whatever others do to the root
    for name in (*_ABSORBED, *_QUIET):
        logger = logging.getLogger(name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
        logger.propagate = name not in _QUIET
        logger.disabled = name in _QUIET
    if stream is None:
        from lollms_server.core.printed import Printed

        sys.stdout = Printed("stdout", logging.INFO, sys.stdout, _in_a_request)
        sys.stderr = Printed("stderr", logging.WARNING, sys.stderr, lambda: True)
    return handler


def _factory(scrubber: Scrubber) -> Callable[..., logging.LogRecord]:
    def record(*given: Any, **named: Any) -> logging.LogRecord:
        return _SafeRecord(scrubber, *given, **named)

    return record


def _in_a_request() -> bool:
    """Standard output belongs to whoever started the server, except for what is printed while a request runs."""
    return REQUEST_ID.get() != "-"
