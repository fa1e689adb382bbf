"""An address or port that cannot be had is said in one line that says what to do."""

from __future__ import annotations

import errno
import socket

import pytest

from lollms_core.errors import LollmsError, meaning
from lollms_server.core.listen import listen_on


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "address", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))]
)
def test_a_port_that_is_taken_is_named_with_what_to_do(address: str) -> None:
    with listen_on(address, 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LollmsError) as caught:
            listen_on(address, port).close()
    assert str(port) in caught.value.message and "--port" in caught.value.message
    assert "\n" not in caught.value.message
    assert meaning(caught.value).exit_code == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_port_of_the_system_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(number, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(LollmsError, match=r"Port 80 is reserved.*--port"):
        listen_on("127.0.0.1", 80).close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(LollmsError, match=r"192\.0\.2\.1.*--host"):
        listen_on("192.0.2.1", 0).close()
