"""The Host check: the defence against DNS rebinding.

A web page can make a name of its own point at this machine, and the browser then sends that name as Host. Only a name
gives such a page away, so loopback names and configured names are accepted, and IP literals when the server listens
beyond loopback: nobody can make an IP address point elsewhere. The port is not looked at; it may be forwarded.
"""

from __future__ import annotations

from collections.abc import Iterable

from lollms_core.safety.hosts import is_ip_literal, is_loopback, split_host_port

__all__ = ["HostPolicy"]

_MAX_REMEMBERED = 256


class HostPolicy:
    """Decides which Host headers are ours; `listens_on` is an IP address, `names` are host names without a port."""

    def __init__(self, listens_on: str, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._any_literal = not is_loopback(listens_on)
        self._accepted: set[bytes] = set()

    def allows(self, host: bytes | None) -> bool:
        """True when the request is meant for this server; an absent or repeated header never is."""
        if host in self._accepted:
            return True
        if host is None or not self._judge(host):
            return False
        if len(self._accepted) < _MAX_REMEMBERED:
            self._accepted.add(host)
        return True

    def _judge(self, header: bytes) -> bool:
        try:
            host, _ = split_host_port(header.decode("ascii"))
        except ValueError:
            return False
        return is_loopback(host) or host in self._names or (self._any_literal and is_ip_literal(host))
