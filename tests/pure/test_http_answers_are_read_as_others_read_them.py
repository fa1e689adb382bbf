"""What the bytes of an answer mean does not depend on how they were cut, and another reader of HTTP agrees.

Where one of them refuses, there is nothing to mistake. Ours also takes empty lines between an interim answer and the
next, and any version; it refuses a length that stands twice, control characters and folded lines. And it keeps a
connection of HTTP/1.0 that says `keep-alive`.
"""

from __future__ import annotations

import gc
import weakref

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lollms_runtime.transport.http11 import Http11, NotHttp

Answer = tuple[int, bytes, bool] | None
"""Status, body, and whether the connection can be used again; None where it is refused."""


def ours(pieces: list[bytes], method: str = "GET", *, ends: bool = True) -> Answer:
    http = Http11()
    http.asked(method)
    body = b""
    try:
        for piece in pieces:
            http.feed(piece)
            http.head()
            body += http.body()
        reusable = http.reusable
        if ends:
            http.feed(b"")
        head = http.head()
        body += http.body()
        if head is None or not http.complete or head.status < 200:
            return None
        return head.status, body, reusable
    except NotHttp:
        return None
    finally:
        http.close()


def theirs(data: bytes, method: str = "GET") -> Answer:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    status, body, fed_end = 0, b"", False
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if fed_end:
                    return None
                fed_end = True
                connection.receive_data(b"")
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                left = connection.trailing_data[0].strip(b"\r\n")
                kept = connection.their_state is h11.DONE and connection.our_state is h11.DONE
                return status, body, kept and not left and not fed_end
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


SIZES = st.integers(0, 4)
BODIES = st.sampled_from([b"", b"a", b"abc", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"\r\n", b"0\r\n\r\n"])
STATUSES = st.sampled_from([100, 102, 103, 200, 200, 200, 201, 204, 304, 404, 500])
LINES = st.lists(
    st.sampled_from(
        [
            *[b"a: b", b"c: d", b"accept-ranges: none", b"e: f", b"server: g", b"vary: h", b"etag: i", b"age: 0"] * 2,
            b"connection: close", b"connection: keep-alive", b"content-type: text/plain", b"x: ", b"x: a b",
            b"content-length: 0", b"content-length: 3", b"content-length: 03", b"content-length: +3",
            b"content-length: 3, 3", b"content-length: -1", b"content-length: 99999999999999999999999",
            b"transfer-encoding: chunked", b"Transfer-Encoding: Chunked", b"transfer-encoding: gzip, chunked",
            b"transfer-encoding: xchunked", b"transfer-encoding : chunked", b" folded", b"no colon", b"a\0b: c",
            b"x: \x01", b"upgrade: websocket", b"connection: upgrade", b"trailer: y", b"x: \xff\xfe",
        ]
    ),
    max_size=3,
)  # fmt: skip


def chunked(body: bytes, extension: bytes, end: bytes) -> bytes:
    return (b"%x%b\r\n%b\r\n" % (len(body), extension, body) if body else b"") + end


CHUNKED = st.builds(
    chunked,
    BODIES,
    st.sampled_from([b"", b";a=b", b" ", b";", b"x", b"\n"]),
    st.sampled_from([b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"00\r\n\r\n", b"0\n\n", b"-1\r\n", b"", b"0\r\n"]),
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    parts: list[bytes] = []
    for _ in range(draw(st.integers(1, 3))):
        status = draw(STATUSES)
        lines = draw(LINES)
        version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
        if draw(st.booleans()):
            body = draw(CHUNKED)
            lines = [*lines, b"transfer-encoding: chunked"]
        else:
            body = draw(BODIES)
            if draw(st.booleans()):
                lines = [*lines, b"content-length: %d" % (len(body) + draw(st.sampled_from([0, 0, 0, 1, -1])))]
        head = b"\r\n".join([b"HTTP/%b %d X" % (version, status), *lines, b"", b""])
        parts.append(head + body + draw(st.sampled_from([b"", b"", b"", b"\r\n", b"junk"])))
    return b"".join(parts)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(answers(), st.sampled_from(["GET", "POST", "HEAD"]), st.booleans(), st.data())
def test_no_cut_changes_the_meaning(data: bytes, method: str, ends: bool, draw: st.DataObject) -> None:
    whole = ours([data], method, ends=ends)
    assert ours([data[at : at + 1] for at in range(len(data))], method, ends=ends) == whole
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=3)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert ours([piece for piece in pieces if piece], method, ends=ends) == whole


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(answers(), st.sampled_from(["GET", "POST", "HEAD"]))
def test_another_reader_agrees(data: bytes, method: str) -> None:
    mine, other = ours([data], method), theirs(data, method)
    if mine is None or other is None:  # one of them is stricter, and what is refused cannot be mistaken
        return
    assert mine[:2] == other[:2]
    if b"HTTP/1.0" not in data:
        assert other[2] or not mine[2], "we would keep a connection that is not in order"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_second_answer_is_no_part_of_the_first(method: str) -> None:
    first, second = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"
    if method == "HEAD":
        first = first[:-1]
    http = Http11()
    http.asked(method)
    http.feed(first + second)
    head = http.head()
    assert head is not None
    assert (head.status, head.headers) == (200, {"content-length": "1"})
    assert http.body() == (b"a" if method == "GET" else b"")
    assert http.complete
    assert not http.reusable


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "chunked, gzip", "xchunked", "chunked, chunked"])
def test_other_codings_are_refused(coding: str) -> None:
    assert ours([f"HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n".encode()]) is None


@pytest.mark.parametrize(
    "lines",
    [
        "content-length: 1\r\ncontent-length: 1",
        "content-length: 1\r\ncontent-length: 2",
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 1",
        "transfer-encoding : chunked",
        "content-length: 1,1",
        "content-length: 0x1",
        "content-length:",
    ],
)
def test_lengths_that_can_be_read_in_two_ways_are_refused(lines: str) -> None:
    assert ours([f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n1\r\na\r\n0\r\n\r\n".encode()]) is None


def test_a_closed_one_leaves_nothing_for_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        http = Http11()
        http.asked("GET")
        http.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na")
        http.close()
        gone = weakref.ref(http)
        del http
        assert gone() is None
    finally:
        gc.enable()
