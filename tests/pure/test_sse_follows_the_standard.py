"""Server-sent events are parsed as the WHATWG standard says, however they are cut."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lollms_core.errors import LollmsError, ProtocolError, ReplyTooLarge
from lollms_core.protocols.base import Limits
from lollms_core.protocols.sse import NamedData, SseReader
from tests.support.feeding import cut, each_byte

SMALL = Limits(event_bytes=20)


def read(chunks: Iterable[bytes], limits: Limits | None = None) -> list[bytes | str | type[LollmsError]]:
    """The data of all events (a name stands before them), then the class of the error, if there was one."""
    reader = SseReader(limits)
    out: list[bytes | str | type[LollmsError]] = []
    try:
        for chunk in chunks:
            for data in reader.feed(chunk):
                if isinstance(data, NamedData):
                    out.append(data.name)
                out.append(bytes(data))
        if reader.error is not None:
            out.append(type(reader.error))
    except LollmsError as error:
        out.append(type(error))
    return out


EXAMPLES: list[tuple[bytes, list[bytes | str | type[LollmsError]]]] = [
    (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
    (b"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n", [b"a", b"b", b"c"]),
    (b"data: one\ndata: two\ndata\ndata:\n\n", [b"one\ntwo\n\n"]),
    (b"data\n\ndata:\n\n", [b"", b""]),
    (b": comment\n\n:\n\ndata: a\n: inside\n\n", [b"a"]),
    (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [b"b"]),
    (b"id: 1\nretry: 5\nevent: ping\ndata: a\n\ndata: b\n\n", ["ping", b"a", b"b"]),
    (b"event: lost\n\ndata: a\n\n", [b"a"]),
    (b"nonsense\n\ndata: a\nfoo: bar\n\n", [b"a"]),
    (b"\n\n\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"]),
    (b"data: never ended", []),
    (b"data: never ended\n", []),
    ("data: \u2028\u2029\u0085\x0b\x0c|\n\n".encode(), ["\u2028\u2029\u0085\x0b\x0c|".encode()]),
    ("data: é日😀\n\n".encode(), ["é日😀".encode()]),
    (b"data: a\n\ndata: \xff\n\ndata: b\n\n", [b"a", ProtocolError]),
    (b"data: a\n\n: \xed\xa0\x80\n\ndata: b\n\n", [b"a", ProtocolError]),
    (b"data: \xe6\x97\n\n", [ProtocolError]),
    (b"Data: a\n\n data: b\n\n", []),
]


@pytest.mark.parametrize(("stream", "events"), EXAMPLES)
def test_events_are_those_of_the_standard(stream: bytes, events: list[bytes]) -> None:
    assert read([stream]) == events


@pytest.mark.parametrize("stream", [stream for stream, _ in EXAMPLES])
def test_cuts_change_nothing(stream: bytes) -> None:
    whole = read([stream])
    assert read(each_byte(stream)) == whole
    for place in range(len(stream) + 1):
        assert read([stream[:place], b"", stream[place:]]) == whole, place


SCRAPS = st.lists(
    st.sampled_from(
        [
            b"data: ",
            b"data:",
            b"data",
            b"event: x",
            b"\n",
            b"\n\n",
            b"\r",
            b"\r\n",
            b": c",
            b"\xff",
            b"\xef\xbb\xbf",
            b"x",
            b"data: abc\n\n",
            "é".encode(),
            b"\xc3",
            b"y" * 21,
        ]
    ),
    max_size=24,
)


@settings(max_examples=250, derandomize=True, database=None, deadline=None)
@given(SCRAPS, st.lists(st.integers(0, 120), max_size=6))
def test_any_bytes_are_the_same_events_however_cut(scraps: list[bytes], places: list[int]) -> None:
    stream = b"".join(scraps)
    whole = read([stream], SMALL)
    assert read(each_byte(stream), SMALL) == whole
    assert read(cut(stream, places), SMALL) == whole


def test_the_limit_is_one_event_not_one_chunk() -> None:
    assert read([b"data: 0123456789abcd\n\n" * 100], SMALL) == [b"0123456789abcd"] * 100
    assert read([b"data: 0123456789abcde\n\n"], SMALL) == [ReplyTooLarge]
    assert read([b"data: 0123456789\ndata: 0123456789\n\n"], SMALL) == [b"0123456789\n0123456789"]
    assert read([b"data: 0123456789\ndata: 0123456789\ndata: 0\n\n"], SMALL) == [ReplyTooLarge]


def test_an_error_stays_an_error() -> None:
    reader = SseReader()
    assert reader.feed(b"data: a\n\n\xff\n") == [b"a"]
    for _ in range(2):
        with pytest.raises(ProtocolError):
            reader.feed(b"data: b\n\n")


def refuses(reader: SseReader, data: bytes) -> bool:
    try:
        reader.feed(data)
    except ReplyTooLarge:
        return True
    return False


def test_an_endless_line_ends_at_eight_megabytes_with_flat_memory() -> None:
    """In small pieces; if each cost the length of what came before, this would take hours."""
    piece, limit = b"x" * 128, Limits().event_bytes
    reader = SseReader()
    reader.feed(b"data: ")
    tracemalloc.start()
    try:
        fed = 0
        while fed < 2 * limit and not refuses(reader, piece):
            fed += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert limit - 256 <= fed <= limit
    assert peak < 3 * limit


def test_a_long_event_of_many_lines_costs_linear_time() -> None:
    line = b"data: 0123456789\n"
    reader = SseReader()
    for _ in range(50_000):
        assert reader.feed(line[:9]) == []
        assert reader.feed(line[9:]) == []
    assert len(reader.feed(b"\n")[0]) == 50_000 * 11 - 1
