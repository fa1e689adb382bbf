"""Addresses as people type them: `host`, `host:port`, `[::1]:9601` or a URL."""

from __future__ import annotations

import os

from lollms_core.errors import InvalidRequest
from lollms_core.safety import hosts

__all__ = ["base_url", "default_port", "listen_address", "port_number"]

_PORT = 9601
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what a server binds to, not what one calls


def default_port() -> int:
    """The port of `LOLLMS_PORT`, else 9601. Raises `InvalidRequest`."""
    text = os.environ.get("LOLLMS_PORT", "").strip()
    return port_number(text, "LOLLMS_PORT") if text else _PORT


def port_number(text: str, name: str) -> int:
    """The port that a text names, in `name`, an option or a variable. Raises `InvalidRequest`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise InvalidRequest(f"{name} must be a port number from 1 to 65535; it is {text[:50]!r}.")
    return int(text)


def base_url(text: str) -> str:
    """The base URL of an address, without a trailing slash; the port is 9601 unless it is given or follows from https.

    Raises `InvalidRequest` with what is wrong with it.
    """
    address = _parse(text)
    scheme = address.scheme or "http"
    host = _ANY.get(address.host, address.host)
    port = address.port or (443 if scheme == "https" else default_port())
    _, slash, path = text.strip().partition("://")[2].partition("/")
    if any(c in path for c in "?#"):
        raise InvalidRequest(f"{text!r}: the address of a server has no ? and no #.")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{slash}{path}".rstrip("/")


def listen_address(text: str) -> tuple[str, int | None]:
    """Host and port to listen on. Raises `InvalidRequest`."""
    address = _parse(text)
    return address.host, address.port


def _parse(text: str) -> hosts.Address:
    try:
        return hosts.parse_address(text.strip())
    except ValueError as error:
        shown = "The address" if "@" in text else repr(text)  # what stands before an @ may be a password
        raise InvalidRequest(f"{shown} is not an address like host, host:port or http://host:port: {error}.") from error
