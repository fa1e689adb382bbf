"""Whatever a caller gives, no header of a request stands twice, and those of the transport are its own."""

from __future__ import annotations

import pytest

from lollms_core.errors import InvalidRequest
from lollms_core.protocols.base import HttpRequest
from lollms_runtime.transport.wire import Route

URL = "http://127.0.0.1:1/path"


def lines(**headers: str) -> list[str]:
    route = Route(URL, True)
    data = route.head(HttpRequest("POST", URL, {name.replace("_", "-"): value for name, value in headers.items()}))
    return data.decode().split("\r\n")[1:-2]


@pytest.mark.parametrize("name", ["Content_Length", "TRANSFER_ENCODING", "Connection", "expect", "Upgrade"])
def test_framing_is_not_the_callers(name: str) -> None:
    assert lines(**{name: "7"}) == lines()


@pytest.mark.parametrize("name", ["Host", "User_Agent"])
def test_a_name_in_capitals_is_the_same_name(name: str) -> None:
    names = [line.partition(":")[0] for line in lines(**{name: "other"})]
    assert len(names) == len(set(names))


def test_each_request_has_its_own_headers() -> None:
    route = Route(URL, True)
    for key in ("one", "two", "one"):
        assert f"x-api-key: {key}\r\n" in route.head(HttpRequest("GET", URL, {"x-api-key": key})).decode()
    assert "x-api-key" not in route.head(HttpRequest("GET", URL)).decode()


def test_a_dict_that_is_changed_afterwards_is_no_memory() -> None:
    route, headers = Route(URL, True), {"x-api-key": "one"}
    route.head(HttpRequest("GET", URL, headers))
    headers["x-api-key"] = "two"
    assert "x-api-key: two" in route.head(HttpRequest("GET", URL, headers)).decode()


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0", " a", "a ", "é", "\x7f"])
def test_nothing_breaks_out_of_its_line(value: str) -> None:
    with pytest.raises(InvalidRequest):
        lines(x=value)
