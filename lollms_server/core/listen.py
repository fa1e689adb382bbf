"""The sockets that the server listens on, opened before anything else starts: a port in use is said in one line."""

from __future__ import annotations

import errno
import socket

from lollms_core.errors import LollmsError

__all__ = ["CannotListen", "listen_on"]

_BACKLOG = 2048


class CannotListen(LollmsError):
    """The address or port cannot be had."""


def listen_on(address: str, port: int) -> socket.socket:
    """A listening socket on an IP address; port 0 takes any free one. Raises `CannotListen`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise CannotListen(_sentence(error, address, port)) from error
    return sock


def _sentence(error: OSError, address: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {address} is in use, perhaps by another lollms server. Stop that program, or choose "
            "another port with --port."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} is reserved for the system. Choose one above 1023 with --port."
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"This machine does not have the address {address}. Choose another with --host, for example 127.0.0.1."
    return f"Cannot listen on {address} port {port}: {error.strerror or error}."
