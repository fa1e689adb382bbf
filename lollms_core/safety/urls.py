"""A URL that somebody else wrote: read in one strict way, and where its address may lead.

Requests to "internal" services are smuggled through differences: one parser checks the host, another one connects, and
they disagree about a backslash, a user part, a number that is an address in octal, or a letter that another alphabet
has too. So there is one reading, `parse_url`, and its result is all that is used afterwards; what could be read in two
ways is refused, not repaired. Nothing is resolved here: who resolves a name asks `reach` about every address that came
back, and then connects to that address and to no other.

Addresses are judged by what the registries of special addresses say (IANA, RFC 6890 and its successors), written out
below, because the answer of Python's `ipaddress` changes between its versions. In IPv6 only the part that is given out
for global use counts at all, and of that not what carries an IPv4 address inside (6to4, Teredo, NAT64, ISATAP): a
translator on the way could make anything of it.
"""

from __future__ import annotations

import ipaddress
import re
from enum import IntEnum
from typing import NamedTuple
from urllib.parse import quote, urljoin

from lollms_core.errors import InvalidRequest
from lollms_core.safety.hosts import split_host_port

__all__ = ["Reach", "Url", "follow", "is_global", "parse_url", "reach"]

_LONGEST = 8192  # characters of a URL
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"^`{|}\u2028\u2029]")
_ODD = re.compile(r"[\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_PORTS = {"http": 80, "https": 443}
_WRITABLE = "!#$%&'()*+,/:;=?@[]~"  # what stays as it is in a path or query


class Url(NamedTuple):
    """A URL that has been read: host in lower case without brackets, port always given, `target` the path and query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """`scheme://host`, with the port where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    @property
    def path(self) -> str:
        """The path without the query, as it travels."""
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        return self.origin + self.target


def parse_url(text: str) -> Url:
    """Read an http or https URL. Raises `InvalidRequest` for anything that is not one, or could be read in two ways.

    A fragment is dropped; letters outside ASCII in path and query are written as the bytes of their UTF-8.
    """
    text = text.strip(" \t\r\n")
    if not text or len(text) > _LONGEST:
        raise _refused("it is empty" if not text else f"it is longer than {_LONGEST} characters")
    if _FORBIDDEN.search(text) or _ODD.search(text):
        raise _refused("it holds a space, a backslash, a control character or another one that URLs cannot hold")
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _PORTS:
        raise _refused("it does not begin with http:// or https://")
    authority, target = _divided(rest)
    if "@" in authority:
        raise _refused("it holds a user name or password; keys go into the settings")
    if not authority.isascii():
        raise _refused("its host has letters outside ASCII; write the ASCII form of the name, which begins with xn--")
    if "%" in authority:
        raise _refused("its host holds a percent sign")
    if authority.count(":") > 1 and not authority.startswith("["):
        raise _refused("an IPv6 address stands in brackets: http://[::1]/")
    try:
        host, port = split_host_port(authority)
    except ValueError as error:
        raise _refused(f"its host {authority[:100]!r} cannot be used: {error}") from error
    if ":" in host:
        host = str(ipaddress.IPv6Address(host))
    return Url(scheme, host, port or _PORTS[scheme], quote(target, safe=_WRITABLE))


def follow(url: Url, location: str) -> Url:
    """Where a redirect leads. Raises `InvalidRequest` for a location that `parse_url` refuses."""
    if _FORBIDDEN.search(location) or _ODD.search(location):
        raise _refused("it redirects to something that is not a URL")
    return parse_url(urljoin(str(url), location))


def _divided(rest: str) -> tuple[str, str]:
    """What comes after `://` as host with port, and path with query."""
    found = re.search(r"[/?#]", rest)
    authority = rest[: found.start()] if found else rest
    target = (rest[found.start() :] if found else "").partition("#")[0]
    return authority, target if target.startswith("/") else "/" + target


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"This URL cannot be used: {reason}.", param="url")


# ---- where an address leads


class Reach(IntEnum):
    """How far outside an address lies. `NEVER` is no place for a request at all, whatever the user allows."""

    NEVER = 0
    THIS_MACHINE = 1
    PRIVATE = 2
    GLOBAL = 3


def _networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in text.split())


_LOOPBACK = _networks("127.0.0.0/8 ::1/128")

_PRIVATE = _networks("10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 fc00::/7 fe80::/10")
"""The networks of homes and companies, of carriers and tunnels (100.64), and of a cable (169.254, fe80)."""

_METADATA = _networks(
    "169.254.169.254 169.254.169.253 169.254.169.123 169.254.170.2 169.254.170.23 169.254.42.42 168.63.129.16 "
    "100.100.100.200 192.0.0.192 fd00:ec2::254 fd00:ec2::253 fd00:ec2::23 fd20:ce::254 fd00:42::42 fe80::a9fe:a9fe"
)
"""Where clouds give a machine its credentials. Asked for it, they tell whoever can make the machine ask."""

_RESERVED = _networks(
    "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.175.48.0/24 198.18.0.0/15 "
    "198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 "
    "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3ffe::/16 3fff::/20"
)
"""This network, protocols, documentation, measurement, relays, multicast and the rest; in IPv6 within `_GIVEN_OUT`."""

_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # the middle 32 bits of an address that ends in an IPv4 address (RFC 5214)


def reach(ip: str | ipaddress.IPv4Address | ipaddress.IPv6Address) -> Reach:
    """Where an address leads. Text that is not an address, as any other doubt, is `NEVER`."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return Reach.NEVER
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        address = ipaddress.IPv6Address(int(address))
    if _within(address, _METADATA) or (isinstance(address, ipaddress.IPv6Address) and _hides_an_address(address)):
        return Reach.NEVER
    if _within(address, _LOOPBACK):
        return Reach.THIS_MACHINE
    if _within(address, _PRIVATE):
        return Reach.PRIVATE
    if _within(address, _RESERVED) or (address.version == 6 and address not in _GIVEN_OUT):
        return Reach.NEVER
    return Reach.GLOBAL


def is_global(ip: str | ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is one of the public internet and of nothing else."""
    return reach(ip) is Reach.GLOBAL


def _within(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _hides_an_address(address: ipaddress.IPv6Address) -> bool:
    """Whether the last 32 bits are an IPv4 address that is not a public one.

    Known are the middle bits of ISATAP. A network may translate under a prefix of its own, which nobody outside can
    know: an address that ends in one of `_METADATA` has no other reason to look like that.
    """
    inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if _within(inner, _METADATA):
        return True
    return (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP and not is_global(inner)
