"""Who is behind an address: parsing hosts the same strict way for keys, for the Host header and for binding.

A key goes out automatically only to this machine, and a Host header is trusted only by what it says, so an address
that two parsers could read differently must never count as "this machine". Everything unusual (a user part, a
backslash, spaces, numbers that are not four decimal bytes, names that merely end in `localhost`) is simply not
loopback. Nothing is resolved here.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

__all__ = ["Address", "is_ip_literal", "is_loopback", "parse_address", "split_host_port"]

_SCHEMES = ("http", "https")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
_NUMERIC_END = re.compile(r"(?:^|\.)(?:\d+|0x[0-9a-f]*)\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")


class Address(NamedTuple):
    """A parsed address: scheme ("" when none was written), host in lower case without brackets, port or None."""

    scheme: str
    host: str
    port: int | None


def is_ip_literal(host: str) -> bool:
    """True for an IPv4 or IPv6 address in its usual written form (no brackets, no zone)."""
    if "%" in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True when a host (no port, no brackets) surely means this machine: `localhost`, 127.0.0.0/8 or ::1."""
    lowered = host.lower()
    if lowered == "localhost":
        return True
    return is_ip_literal(lowered) and ipaddress.ip_address(lowered).is_loopback


def _port(text: str) -> int | None:
    if not _PORT.match(text) or not 0 < int(text) < 65536:
        raise ValueError("the port must be a number from 1 to 65535")
    return int(text)


def split_host_port(text: str) -> tuple[str, int | None]:
    """Split `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address; the host comes back in lower case.

    Raises ValueError for anything else.
    """
    lowered = text.lower()
    if lowered.startswith("["):
        inside, closed, rest = lowered[1:].partition("]")
        if not closed or ":" not in inside or not is_ip_literal(inside) or (rest and not rest.startswith(":")):
            raise ValueError("an IPv6 address in brackets is malformed")
        return inside, _port(rest[1:]) if rest else None
    if lowered.count(":") > 1:
        if not is_ip_literal(lowered):
            raise ValueError("more than one colon, and not an IPv6 address")
        return lowered, None
    host, colon, port = lowered.partition(":")
    if not is_ip_literal(host) and (not _NAME.match(host) or _NUMERIC_END.search(host)):
        raise ValueError("neither a host name nor an IP address")
    return host, _port(port) if colon else None


def parse_address(text: str) -> Address:
    """Parse `host`, `host:port` or an http(s) URL. Raises ValueError when it is none of them or could mislead."""
    if any(character in "\\@" or character <= " " or character == "\x7f" for character in text):
        raise ValueError("an address has no spaces, backslashes or user names")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    elif scheme.lower() not in _SCHEMES:
        raise ValueError("the scheme must be http or https")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host, port = split_host_port(authority)
    return Address(scheme.lower(), host, port)
