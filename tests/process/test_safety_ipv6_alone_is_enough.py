"""A server that listens on an IPv6 address only says so, answers there, and nowhere else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.guard_server import read_all
from tests.support.server import write_config
from tests.support.server_process import server_process


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_it_answers_on_the_address_it_prints(tmp_path: Path) -> None:
    write_config(tmp_path)
    with server_process(tmp_path, "--host", "::1", port=0) as server:
        port = int(server.wait_line(r"is at http://\[::1\]:(\d+) ").group(1))
        for host, status in ((f"[::1]:{port}", 200), ("localhost", 200), ("[::2]", 421), ("::1.evil.example", 421)):
            with socket.create_connection(("::1", port), timeout=10) as client:
                client.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                assert read_all(client).startswith(b"HTTP/1.1 %d " % status), host
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
