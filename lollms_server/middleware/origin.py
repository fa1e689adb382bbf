"""The Origin check, and CORS for the pages that may use the server.

A browser tells where a request comes from in `Origin` and `Sec-Fetch-Site`; other programs send neither and are not
affected. A page of another origin is refused before anything runs, not only kept from reading the answer. Allowed are
the server's own pages and the configured origins; `null` never, since every sandboxed frame and local file has it.
Credentials are never allowed, as no cookie means anything here.
"""

from __future__ import annotations

from collections.abc import Iterable

from lollms_server.core.responses import Header

__all__ = ["OriginPolicy"]

_OWN_SITES = (None, b"same-origin", b"none")
_VARY: Header = (b"vary", b"Origin")


class OriginPolicy:
    """Decides which web pages may use the server; `origins` are written as `scheme://host[:port]`."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._allowed = frozenset(origin.encode() for origin in origins if origin not in ("null", "*"))

    def allows(
        self, origin: bytes | None, host: bytes | None, fetch_site: bytes | None, *, opening_page: bool = False
    ) -> bool:
        """True when the request comes from no page, from our own, or from an allowed one.

        `opening_page` is true for following a link to a public page, which any site may do.
        """
        if origin is None:
            return fetch_site in _OWN_SITES or opening_page
        if origin in self._allowed:
            return True
        return host is not None and origin in (b"http://" + host, b"https://" + host)

    def reply_headers(self, origin: bytes | None) -> list[Header]:
        """What lets a page read the reply; nothing for a request without Origin or from our own page."""
        if origin is None:
            return []
        if origin not in self._allowed:
            return [_VARY]
        expose = (b"access-control-expose-headers", b"X-Request-ID, Retry-After")
        return [_VARY, (b"access-control-allow-origin", origin), expose]

    def preflight_headers(self) -> list[Header]:
        """What answers the browser's question before a request, besides `reply_headers`."""
        return [
            (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
            (b"access-control-allow-headers", b"X-API-Key, Content-Type, X-Request-ID"),
            (b"access-control-max-age", b"600"),
        ]
