"""What every reader of answers promises, whatever its protocol: checks for the tests of each, and noise to feed them.

A test module makes one `Promises` from a way to make its reader and a folder of transcripts: streams, and beside
each of them the JSON body of the same name that says the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from lollms_core.errors import LollmsError, TruncatedStream
from lollms_core.protocols.base import Limits, Reader
from lollms_core.types import Event, Reply
from tests.support.feeding import Outcome, cut, each_byte, folded, outcome

FUZZ = settings(max_examples=80, derandomize=True, database=None, deadline=None)
SMALL = Limits(reply_bytes=200_000, event_bytes=20_000)
SECRET = "hush-hush-hush"
ROUGH = f"bad\x1b[31m key {SECRET} " + "x" * 5000
"""A message of a backend that must not be told as it is: it colours, repeats the key and is long."""

_DATA = re.compile(rb"^data: ?\{", re.MULTILINE)
_PIECES = (b"", b"\n", b"\n\n", b"\r", b"\xff", b"\xc3", b'"', b"{", b"[", b"]", b"null", b"\\ud800")


@dataclass(frozen=True, slots=True)
class Promises:
    """The readers of one protocol, made by `make(content_type, limits)`, and what was recorded of its answers.

    `content_type` is that of a stream, `suffix` the end of the names of the files that hold one.
    """

    make: Callable[[str, Limits], Reader]
    folder: Path
    content_type: str = "text/event-stream"
    suffix: str = ".sse"

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob(f"*{self.suffix}"))

    def stream(self, name: str) -> bytes:
        return (self.folder / f"{name}{self.suffix}").read_bytes()

    def body(self, name: str) -> bytes:
        return (self.folder / f"{name}.json").read_bytes()

    def corpus(self) -> list[bytes]:
        """All streams, then all JSON bodies."""
        return [read(name) for read in (self.stream, self.body) for name in self.names()]

    def read(self, chunks: Iterable[bytes], content_type: str | None = None, limits: Limits | None = None) -> Outcome:
        """What a new reader makes of these chunks; without a content type they are a stream."""
        kind = self.content_type if content_type is None else content_type
        return outcome(self.make(kind, limits or Limits()), chunks)

    def reply_of(self, name: str) -> Reply:
        return folded(self.read([self.stream(name)])[0])

    # Of transcripts.

    def every_cut_gives_the_same_events(self, name: str, content_type: str) -> None:
        """Whole and byte by byte; where the content type says that it is a stream, at every cut in two as well.

        An event may also be written over more lines, which end in CR and LF, and be cut between these two.
        """
        data = self.stream(name)
        whole = self.read([data])
        assert whole[0], "no events"
        assert whole[1] is None, whole
        _same(self.read([data], content_type), whole, f"as {content_type!r}")
        _same(self.read(each_byte(data), content_type), whole, f"byte by byte as {content_type!r}")
        if content_type == self.content_type:
            for place in range(1, len(data)):
                _same(self.read([data[:place], data[place:]]), whole, f"cut at {place}")
            more = _DATA.sub(b"data: {\r\ndata: ", data)
            _same(self.read([more]), whole, "over more lines")
            _same(self.read(each_byte(more)), whole, "over more lines, byte by byte")

    def every_truncation_is_an_error(self, name: str, *, or_complete: bool = True) -> None:
        """Nothing is ever invented: what a cut stream gives is a beginning, and an early end is an error.

        With `or_complete` a stream that lacks only what nobody needs may be a complete answer.
        """
        data = self.stream(name)
        whole = self.reply_of(name)
        for place in range(0, len(data) if or_complete else len(data) - 1, 7):
            some, error, _ = self.read([data[:place]])
            part = folded(some)
            assert whole.text.startswith(part.text), place
            assert whole.thoughts.startswith(part.thoughts), place
            assert error is TruncatedStream or (or_complete and part == whole), (place, error, part)

    def the_json_body_folds_to_the_same_reply(self, name: str, content_type: str) -> None:
        body = self.body(name)
        events, error, message = self.read([body], content_type)
        assert error is None, message
        _same(folded(events), self.reply_of(name), "the JSON body")
        _same(self.read(each_byte(body), content_type), (events, None, ""), "byte by byte")

    # Of faults.

    def is_refused(
        self, data: bytes, kind: type[LollmsError], content_type: str | None = None, events: Sequence[Event] = ()
    ) -> None:
        """It is no answer: an error of just this class behind these events, within small limits and byte by byte."""
        found = self.read([data], content_type, SMALL)
        _same(found[:2], (list(events), kind), found[2])
        _same(self.read(each_byte(data), content_type, SMALL), found, "byte by byte")

    def an_error_waits_behind(
        self, events: Sequence[Event], data: bytes, kind: type[LollmsError], says: str | None = None
    ) -> None:
        """The events of a chunk come first; the error behind them is known, and raised by whatever is called next."""
        made = self.make(self.content_type, Limits())
        _same(list(made.feed(data)), list(events), "before the error")
        assert type(made.error) is kind, made.error
        with pytest.raises(kind, match=says):
            made.feed(b"")
        with pytest.raises(kind, match=says):
            made.close()

    def nothing_is_read_behind(self, answer: bytes, rubbish: bytes) -> None:
        """A complete answer stays one, whatever follows it, in the same chunk or later."""
        made = self.make(self.content_type, Limits())
        made.feed(answer + rubbish)
        assert made.finished
        assert made.error is None
        assert made.feed(b"\xff\xff") == ()
        assert made.close() == ()

    # Of noise.

    def agrees(self, content_type: str, data: bytes, places: Iterable[int]) -> None:
        """Any bytes give events or an error of ours, and the same ones however they are cut."""
        whole = self.read([data], content_type, SMALL)
        _same(self.read(cut(data, places), content_type, SMALL), whole, f"{data!r} as {content_type!r}, cut")
        _same(self.read(each_byte(data), content_type, SMALL), whole, f"{data!r} as {content_type!r}, byte by byte")


def no_secret_is_told(reader: Reader, data: bytes, kind: type[LollmsError] = LollmsError) -> None:
    """The reader, named `here` and given `SECRET`, tells the error `ROUGH` that `data` holds without any harm in it."""
    with pytest.raises(kind) as caught:
        reader.feed(data)
    said = str(caught.value)
    assert "bad" in said, said
    assert SECRET[:4] not in said, said
    assert "\x1b" not in said, said
    assert len(said) < 700, said
    assert said.startswith("here "), said


def places(most: int = 3000) -> st.SearchStrategy[list[int]]:
    """Where to cut."""
    return st.lists(st.integers(0, most), max_size=8)


@st.composite
def damaged(draw: st.DrawFn, corpus: Sequence[bytes], pieces: Sequence[bytes] = ()) -> bytes:
    """One of the corpus with up to four places overwritten, by pieces that matter to every protocol or to this one."""
    raw = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        length = draw(st.integers(0, 3))
        raw[at : at + length] = draw(st.sampled_from([*_PIECES, *pieces]) | st.binary(max_size=2))
    return bytes(raw)


def odd_values(fields: st.SearchStrategy[str], *more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """JSON of any shape, whose objects have the fields of a protocol; `more` are values that say something to it."""
    return st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), *more),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
        max_leaves=12,
    )


def _same(found: object, expected: object, how: str) -> None:
    assert found == expected, f"{how}: {found!r} is not {expected!r}"
