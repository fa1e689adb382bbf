"""A request as all transports put it on the wire: checked, with the headers that every request of ours carries."""

from __future__ import annotations

import logging
import os
import re
import ssl
import sys
import threading
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport import failures

__all__ = [
    "Place",
    "Route",
    "Routes",
    "TlsContexts",
    "header_lines",
    "length_line",
    "split",
    "tls_context",
]

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"([!-~]([\t -~]*[!-~])?)?")

_CERTIFICATES = (  # where systems keep those they trust
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_REMEMBERED = 100  # routes of one transport

_OURS = frozenset({"accept-encoding", "connection", "content-length", "expect", "transfer-encoding", "upgrade"})


def header_lines(host: str, given: Mapping[str, str], ours: Mapping[str, str] | None = None) -> str:
    """The lines of all headers but the length. Raises `InvalidRequest` for a value that would break out of its line.

    How the bytes travel is not the caller's to say: replies are unpacked by us, under our limits, and the body is
    complete, so its length is known. `ours`, with names in lower case, take the place of given ones.
    """
    headers = {"host": host, "accept-encoding": "identity, gzip", "user-agent": "lollms"}
    for name, value in given.items():
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise failures.bad_header(name)
        name = name.lower()  # else one that is ours could stand beside ours
        if name not in _OURS:
            headers[name] = value
    headers.update(ours or {})
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def length_line(request: HttpRequest) -> str:
    """The line that tells the length of a request's body, if it must."""
    if request.body or request.method in _WITH_BODY:
        return f"content-length: {len(request.body)}\r\n"
    return ""


def split(url: str) -> SplitResult:
    """The parts of an address. Raises `InvalidRequest` if it is not a plain http or https address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise failures.bad_address(url)
    except ValueError as error:
        raise failures.bad_address(url) from error
    return parts


class Place(NamedTuple):
    """Where connections lead to, and whether the certificate there was looked at."""

    scheme: str
    host: str
    port: int
    verified: bool


class Route:
    """Where a request goes. `head` is what stands at its beginning.

    The lines of the last request's headers are kept: nearly always the next one has the same.
    """

    __slots__ = ("_host", "_last", "_target", "place")

    def __init__(self, url: str, verify: bool) -> None:
        parts = split(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self.place = Place(parts.scheme, parts.hostname or "", port, verify or parts.scheme == "http")
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._host = parts.netloc
        self._last: tuple[Mapping[str, str], str] | None = None  # one object, since threads share a route

    def head(self, request: HttpRequest) -> bytes:
        """The head of a request, the empty line included. Raises `InvalidRequest` for a header that cannot be sent."""
        last = self._last
        if last is None or last[0] != request.headers:
            last = self._last = (dict(request.headers), header_lines(self._host, request.headers))
        return f"{request.method} {self._target} HTTP/1.1\r\n{last[1]}{length_line(request)}\r\n".encode("ascii")


class Routes:
    """The routes of addresses that are asked again and again, so that each is taken apart once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bool], Route] = {}

    def get(self, request: HttpRequest) -> Route:
        """The route of a request. Raises `InvalidRequest` for an address that cannot be used."""
        key = (request.url, request.verify_tls)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = Route(*key)
        return known


class TlsContexts:
    """The TLS contexts of a transport, made when they are first needed. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[bool, ssl.SSLContext] = {}

    def get(self, verify: bool, url: str) -> ssl.SSLContext:
        """The context for connections to `url`; the first one without verification is a warning in the log."""
        with self._lock:
            if verify not in self._made:
                if not verify:
                    _log.warning("TLS certificates are not verified for %s.", failures.origin(url))
                self._made[verify] = tls_context(verify)
            return self._made[verify]


def tls_context(verify: bool) -> ssl.SSLContext:
    """Certificates as this machine trusts them; without `verify`, none is looked at."""
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    named = any(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    if sys.platform in ("win32", "darwin") and not named:
        import truststore  # the system's own verifier

        system: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return system
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()  # those of them that exist
    if not named and not paths.cafile and not paths.capath:  # an OpenSSL that was built for another system
        for file in filter(os.path.isfile, _CERTIFICATES):
            context.load_verify_locations(file)
            break
    return context
