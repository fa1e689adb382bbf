"""HTTP/1.1 over one connection, without the connection: what the bytes that came mean.

`httptools` (the parser of Node.js, in C) knows the protocol; what it leaves to its users is done here. It sets no limit
to a head, or to what stands around the pieces of a body, so both are counted. It does not know that the answer to a
HEAD has no body, nor that a connection has ended, so a body without a length is complete then, and any other is not.

All that has come of a body leaves as one piece, however many HTTP chunks it holds: a model sends one for each token,
and each step up from here costs as much for a small piece as for a large one.

This module imports the HTTP library; it is itself imported when the first request is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import httptools

__all__ = ["Head", "Http11", "NotHttp"]

_AROUND_BODY = 100 * 1024  # bytes of a head, or between two pieces of a body
_SWITCHING = 101
_PLAIN, _CHUNKED = "identity", "chunked"  # codings of a body on its way
_ALL = 1 << 62


class NotHttp(Exception):
    """The bytes of the other side are not HTTP, or end too early."""


class Head(NamedTuple):
    """Status and headers of an answer; names in lower case, repeated ones joined by commas."""

    status: int
    headers: Mapping[str, str]


class Http11:
    """The state of one connection, which carries one request after the other.

    `complete` says that the body of the answer has come to its end, `waiting` how many bytes of it were not taken yet.
    """

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._head: Head | None = None
        self._bodiless = False
        self._until_end = False
        self._pieces: list[bytes] = []
        self._around = 0
        self._fault: NotHttp | None = None
        self._reusable = False
        self.complete = False
        self.waiting = 0

    def asked(self, method: str) -> None:
        """A request by this method is being sent: what comes now is its answer."""
        self._bodiless = method == "HEAD"
        self._headers = {}
        self._head = None
        self._until_end = False
        self._pieces = []
        self._around = 0
        self._reusable = False
        self.complete = False
        self.waiting = 0

    def feed(self, data: bytes) -> None:
        """What has come; b"" for the end of the connection."""
        parser = self._parser
        if parser is None or self._fault is not None:
            return
        if not data:
            self._ended()
            return
        self._around += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reusable = False
        except httptools.HttpParserError as error:  # also for what is raised below
            self._fault = NotHttp(str(error.__context__ or error))
        if self._around > _AROUND_BODY and not self.complete:
            self._fault = NotHttp("There is no end to what stands around the body.")

    def _ended(self) -> None:
        self._reusable = False
        if self._head is not None and self._until_end:
            self.complete = True
        elif not self.complete:
            self._fault = NotHttp("The connection ended before the answer did.")

    def head(self) -> Head | None:
        """The head of the answer; None until it is there. Interim ones are skipped. Raises `NotHttp`."""
        if self._head is None and self._fault is not None:
            raise self._fault
        return self._head

    def body(self, most: int = _ALL) -> bytes:
        """What has come of the body and was not given yet, up to so many bytes.

        Raises `NotHttp`, after what came before the fault.
        """
        pieces = self._pieces
        if not pieces:
            if self._fault is not None and not self.complete:
                raise self._fault
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if len(data) > most:
            pieces.append(data[most:])
            data = data[:most]
        self.waiting -= len(data)
        return data

    @property
    def reusable(self) -> bool:
        """Whether the answer is over and taken, and the connection can have another request."""
        return self.complete and self._reusable and not self.waiting and self._fault is None

    def close(self) -> None:
        """Let go of the parser, which holds this object."""
        self._parser = None
        self._reusable = False
        if self._fault is None:
            self._fault = NotHttp("The connection was closed.")

    # ---- what the parser calls

    def on_message_begin(self) -> None:
        if self.complete:  # nobody asked for that
            raise NotHttp("There is something behind the answer.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is not None:  # it follows the body
            return
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape")  # whatever they are
        headers = self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        status = 0 if self._parser is None else self._parser.get_status_code()
        headers, self._headers = self._headers, {}
        if self._head is not None or (status < 200 and status != _SWITCHING):  # one behind the answer, or before it
            return
        coding = headers.get("transfer-encoding", _PLAIN).lower()
        if coding not in (_PLAIN, _CHUNKED):
            raise NotHttp("The body is coded in a way that was not asked for.")
        self._head = Head(status, headers)
        if self._bodiless or status == _SWITCHING:
            self.complete = True
        else:
            self._until_end = coding == _PLAIN and "content-length" not in headers

    def on_body(self, data: bytes) -> None:
        if self._head is not None and not self.complete:
            self._around = 0
            self._pieces.append(data)
            self.waiting += len(data)

    def on_message_complete(self) -> None:
        if self._head is not None and not self.complete:
            self.complete = True
            self._reusable = self._parser is not None and self._parser.should_keep_alive()
