"""A request as both transports put it on the wire: checked, with the headers that every request of ours carries."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit

from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport import failures

__all__ = ["headers_to_send", "joined", "split", "tls_context"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"([!-~]([\t -~]*[!-~])?)?")

_OURS = frozenset({"accept-encoding", "connection", "content-length", "expect", "transfer-encoding", "upgrade"})


def headers_to_send(request: HttpRequest) -> dict[str, str]:
    """The request's headers and ours. Raises `InvalidRequest` for a value that would break out of its line.

    How the bytes travel is not the caller's to say: replies are unpacked by us, under our limits, and `body` is
    complete, so its length is known.
    """
    headers = {"accept-encoding": "identity, gzip", "user-agent": "lollms"}
    for name, value in request.headers.items():
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise failures.bad_header(name)
        if name not in _OURS:
            headers[name] = value
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        headers["content-length"] = str(len(request.body))
    return headers


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


def joined(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Headers with lower-case names; repeated ones become one, separated by commas."""
    result: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        result[key] = f"{result[key]}, {value}" if key in result else value
    return result


def tls_context(verify: bool) -> ssl.SSLContext:
    """Certificates as this machine trusts them; without `verify`, none is looked at."""
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    # httpx2 finds the system's certificates where OpenSSL's own paths do not, and uses the system's verifier on
    # Windows and macOS.
    from httpcore2 import default_ssl_context

    return default_ssl_context()
