"""The sockets that the server listens on, opened before anything else starts: a port in use is said in one line.

What one caller may cost begins here. The system would take megabytes of a stream for a caller who never reads, and
allows many programs only a thousand open connections, which a crowd of idle ones uses up.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys

from lollms_core.errors import LollmsError

__all__ = ["CannotListen", "allow_many_connections", "listen_on"]

_BACKLOG = 2048
_UNSENT = 128 * 1024  # bytes that the system takes from us before they can travel; the accepted connections inherit it
_DESCRIPTORS = 65_536


class CannotListen(LollmsError):
    """The address or port cannot be had."""


def listen_on(address: str, port: int) -> socket.socket:
    """A listening socket on an IP address; port 0 takes any free one. Raises `CannotListen`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):  # Python knows it, but not every kernel it runs on
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
        sock.bind((address, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise CannotListen(_sentence(error, address, port)) from error
    return sock


def allow_many_connections() -> None:
    """Use as many descriptors as the system allows this process, up to 65,536; by default it may have far fewer."""
    if sys.platform == "win32":  # which has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # some systems refuse what they say they allow
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
