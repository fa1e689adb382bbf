"""Takes the tool calls out of an answer's text: see `prompt_tools` for the format.

Models write the format more or less. Taken as calls are

* `<tool_call>` blocks, also with a code fence around the block or inside of it, and without the closing tag,
* fenced blocks named `tool_call`,
* fenced JSON blocks that are `{"tool_call": ...}`, or a `name` and `arguments` with the name of a tool that is offered,

and in them one call or a list of calls, with `parameters` for `arguments`, with the call inside of a `function`, with
the arguments as a string of JSON. A tag right behind a backtick is talk about the format, and a tag that is not
followed by an object or a list is text.

Behind a call some models go on with a `<tool_response>` of their own. That and all behind it is left out: it was made
up, and the real result comes with the next turn.

Only what may be the beginning of a call is held back: a few characters, and the line breaks before them, which vanish
together with a call. So the text is exact where there is no call, and its pieces joined up are the same however they
were cut. Each character is looked at a bounded number of times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence

import msgspec

from lollms_core.protocols.prompt_tools_calls import calls_of, first_value, is_broken
from lollms_core.types import TextDelta

__all__ = ["CallSplitter"]

_OPEN, _CLOSE, _FENCE = "<tool_call>", "</tool_call>", "```"
_RESULT = "<tool_response>"
_MAY_BEGIN = re.compile(r"<(?=t|\Z)|`{3}|`{1,2}\Z")
_NAMED = ("tool_call", "tool_calls")
_INFOS = (*_NAMED, "json", "xml", "")
_BLANKS = 64  # white space that may stand in a beginning, or before it
_INNER = 64  # ends in strings of JSON that are believed to be no ends
_MOST = 1000  # beginnings of calls in one answer; what comes behind them is text
_AT_ONCE = 4096  # characters that are looked at together, so that nothing long is copied for each call in it

_TOKENS = {
    _CLOSE: re.compile(rf'\\.|"|{_CLOSE}|{_OPEN}', re.DOTALL),
    _FENCE: re.compile(rf'\\.|"|{_FENCE}', re.DOTALL),
}


class _MoreNeeded(Exception):
    """The text ends before it is clear what it begins."""


class _Beginning(msgspec.Struct):
    """A call has begun: its JSON is to come, until `close`. `fenced` if a fence is around the tags.

    `sure` says that nothing but a call begins like this.
    """

    end: int
    close: str
    fenced: bool = False
    sure: bool = True


class CallSplitter:
    """Splits a streamed text into text and calls; a call is its name and the raw text of its arguments."""

    __slots__ = ("_after", "_before", "_begun", "_body", "_call", "_held", "_invents", "_names")

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = tuple(names)
        self._held = ""  # text that may begin a call
        self._before = "\n"  # the last character before what is held
        self._after = ""  # what may vanish behind a call: white space ("b"), and a fence before it ("f")
        self._invents = False  # the model writes what it thinks that a tool would return
        self._call: _Beginning | None = None
        self._begun = 0
        self._body = _Body(_CLOSE)

    def feed(self, text: str) -> list[TextDelta | tuple[str, str]]:
        """What is clear with the next piece of text."""
        if self._invents:
            return []
        if self._call is None and not (self._held or self._after) and "<" not in text and "`" not in text and text:
            last = text[-1]
            if not last.isspace():
                self._before = last
                return [TextDelta(text)]
        out: list[TextDelta | tuple[str, str]] = []
        self._run(text, out, last=False)
        return out

    def close(self) -> list[TextDelta | tuple[str, str]]:
        """The text has ended: what was held back."""
        out: list[TextDelta | tuple[str, str]] = []
        self._run("", out, last=True)
        return out

    def _run(self, text: str, out: list[TextDelta | tuple[str, str]], *, last: bool) -> None:
        left = [(text, 0)]  # what is to be read, the next of it at the end
        while left and not self._invents:
            text, at = left.pop()
            if at + _AT_ONCE < len(text):
                left.append((text, at + _AT_ONCE))
            piece = text[at : at + _AT_ONCE]
            ending = last and not left
            call = self._call
            if call is None:
                piece, self._held = self._held + piece, ""
                rest = self._in_text(piece, out, last=ending)
            else:
                rest = self._in_call(call, piece, out, last=ending)
            if rest is not None:
                left.append((rest, 0))

    # ---- outside of calls

    def _in_text(self, text: str, out: list[TextDelta | tuple[str, str]], *, last: bool) -> str | None:
        """Deliver text up to the next call, and hold back what may be one; returns what is behind its beginning."""
        if self._begun >= _MOST:
            if text:
                out.append(TextDelta(text))
            return None
        if self._after:
            left = self._behind_call(text, last=last)
            if left is None:
                return None
            text = left
        began: _Beginning | None = None
        at = len(text)
        for found in _MAY_BEGIN.finditer(text):
            place = found.start()
            try:
                began = self._begins(text, place)
            except _MoreNeeded:
                at = place
                break
            if began is not None:
                at = place
                break
        kept = at - _vanishing(text[max(0, at - _BLANKS) : at])
        if began is None and last:
            kept = len(text)
        if kept:
            out.append(TextDelta(text[:kept]))
            self._before = text[kept - 1]
        if began is None:
            self._held = text[kept:]
            return None
        self._begun += 1
        self._call, self._body = began, _Body(began.close, text[kept : began.end])
        return text[began.end :]

    def _behind_call(self, text: str, *, last: bool) -> str | None:
        """The text without what vanishes behind a call; None as long as that is not clear."""
        blanks = len(text) - len(text.lstrip())
        if "f" in self._after and blanks <= _BLANKS:
            rest = text[blanks:]
            if rest.startswith(_FENCE):
                self._after = "b"
                return self._behind_call(rest[len(_FENCE) :], last=last)
            if _FENCE.startswith(rest) and not last:
                self._held = text
                return None
        if blanks <= _BLANKS and text.startswith(_RESULT, blanks):
            self._invents = True
            return None
        if blanks <= _BLANKS and _RESULT.startswith(text[blanks:]):
            if last and blanks == len(text):
                self._after = ""
                return ""
            if not last:
                self._held = text
                return None
        self._after = ""
        self._before = "\n"
        try:
            began = blanks <= _BLANKS and self._begins(text, blanks) is not None
        except _MoreNeeded:
            if not last:
                self._after, self._held = "b", text
                return None
            began = False
        return text[blanks:] if began else text

    def _begins(self, text: str, at: int) -> _Beginning | None:
        """The call that begins at a place, if one does. Raises `_MoreNeeded`."""
        before = text[at - 1] if at else self._before
        if text[at] == "<":
            return None if before == "`" else _tag(text, at)
        if before != "\n":
            return None
        return self._fence(text, at)

    def _fence(self, text: str, at: int) -> _Beginning | None:
        if _one_of(text, at, (_FENCE,)) is None:
            return None
        at += len(_FENCE)
        info = _one_of(text, at, _INFOS)
        at = _blanks(text, at + len(info or ""))
        if text[at] == "<":
            tag = _tag(text, at)
            return None if tag is None else msgspec.structs.replace(tag, fenced=True)
        if info in _NAMED:
            return _Beginning(at, _FENCE) if text[at] in "{[" else None
        if info == "xml" or text[at] != "{":
            return None
        start, at = at, _blanks(text, at + 1)
        key = _one_of(text, at, tuple(f'"{key}"' for key in (*_NAMED, "name")))
        if key is None:
            return None
        at = _blanks(text, at + len(key))
        if text[at] != ":":
            return None
        if key == '"name"' and not self._goes_on(text, _blanks(text, at + 1)):
            return None
        return _Beginning(start, _FENCE, sure=key != '"name"')

    def _goes_on(self, text: str, at: int) -> bool:
        """Whether the value of a name is that of a tool, and arguments follow."""
        name = _one_of(text, at, tuple(json.dumps(each, ensure_ascii=False) for each in self._names))
        if name is None:
            return False
        at = _blanks(text, at + len(name))
        return text[at] == "," and _one_of(text, _blanks(text, at + 1), ('"arguments"', '"parameters"')) is not None

    # ---- inside of calls

    def _in_call(
        self, call: _Beginning, text: str, out: list[TextDelta | tuple[str, str]], *, last: bool
    ) -> str | None:
        """Read on in a call; returns what is behind it, None as long as it goes on."""
        body = self._body
        rest = body.feed(text)
        if rest is None:
            if not last:
                return None
            rest = body.rest()
        content, close = body.content(), body.end
        calls = calls_of(content, broken=False, named=call.sure)
        if calls is None and not close and (cut := first_value(content)) is not None:
            calls = calls_of(cut[0], broken=False, named=call.sure)
            if calls is not None and not call.close.startswith(cut[1].strip()):
                rest = cut[1] + rest
        if calls is None and body.inner and is_broken(content):  # a string before the first end has none of its own
            content, behind = body.until_first_end()
            rest, close = behind + close + rest, call.close
            calls = calls_of(content, broken=False, named=call.sure)
        if calls is None:
            calls = calls_of(content, broken=True, named=call.sure)
        self._call = None
        if calls is None:
            self._before = (content + close)[-1:]
            out.append(TextDelta(body.opening + content + close))
        else:
            out += calls
            self._after = "f" if call.fenced else "b"
        return rest


class _Body:
    """The JSON of a call while it comes, with its strings, so that an end inside of one is told from the real one.

    `end` is what it ended with: nothing where another call begins, or the text ends. `inner` are the places of ends in
    strings, `opening` is what vanishes before the JSON.
    """

    __slots__ = ("_close", "_in_string", "_pieces", "_size", "_tail", "end", "inner", "opening")

    def __init__(self, close: str, opening: str = "") -> None:
        self.opening = opening
        self.inner: list[int] = []
        self.end = ""
        self._close = close
        self._in_string = False
        self._pieces: list[str] = []
        self._size = 0
        self._tail = ""  # not looked at yet

    def feed(self, text: str) -> str | None:
        """Read on; returns what is behind the end, None as long as there is none."""
        text = self._tail + text
        seen = 0
        for token in _TOKENS[self._close].finditer(text):
            seen = token.end()
            said = token[0]
            if said == '"':
                self._in_string = not self._in_string
            elif said == self._close:
                if not self._in_string or len(self.inner) == _INNER:
                    self._add(text[: token.start()])
                    self.end = said
                    return text[seen:]
                self.inner.append(self._size + token.start())
            elif said == _OPEN and not self._in_string:
                self._add(text[: token.start()])
                return text[token.start() :]
        kept = _overlap(text, seen, (self._close, _OPEN))
        self._add(text[:kept])
        self._tail = text[kept:]
        return None

    def rest(self) -> str:
        """There is no end, and what looked like the beginning of one is part of it; nothing is behind it."""
        self._add(self._tail)
        return ""

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self._size += len(text)

    def content(self) -> str:
        """What is before the end."""
        return "".join(self._pieces)

    def until_first_end(self) -> tuple[str, str]:
        """What is before the first end in a string, and what is behind it."""
        whole, at = self.content(), self.inner[0]
        return whole[:at], whole[at + len(self._close) :]


# ---- beginnings ----------------------------------------------------------------------------------------------------


def _tag(text: str, at: int) -> _Beginning | None:
    """An opening tag with an object or a list behind it, perhaps in a fence."""
    if _one_of(text, at, (_OPEN,)) is None:
        return None
    at = start = _blanks(text, at + len(_OPEN))
    if _one_of(text, at, (_FENCE,)) is not None:
        at += len(_FENCE)
        at = _blanks(text, at + len(_one_of(text, at, _INFOS) or ""))
    return _Beginning(start, _CLOSE) if text[at] in "{[" else None


def _one_of(text: str, at: int, words: Sequence[str]) -> str | None:
    """The longest of the words that stands at a place. Raises `_MoreNeeded` where the text ends in one of them."""
    rest = text[at : at + 1 + max(map(len, words), default=0)]
    if any(len(rest) < len(word) and word.startswith(rest) for word in words):
        raise _MoreNeeded
    return max((word for word in words if rest.startswith(word)), key=len, default=None)


def _blanks(text: str, at: int) -> int:
    """The place behind some white space, where something else stands. Raises `_MoreNeeded`."""
    end = min(len(text), at + _BLANKS)
    while at < end and text[at].isspace():
        at += 1
    if at == len(text):
        raise _MoreNeeded
    return at


def _vanishing(text: str) -> int:
    """How many of the last characters go away with a call behind them: white space from a line break on."""
    blanks = text[len(text.rstrip()) :]
    return len(blanks) - blanks.find("\n") if "\n" in blanks else 0


def _overlap(text: str, seen: int, ends: Sequence[str]) -> int:
    """Where the last piece of a text begins that may be the beginning of a token."""
    if text.endswith("\\") and len(text) > seen:
        return len(text) - 1
    for at in range(max(seen, len(text) - max(map(len, ends)) + 1), len(text)):
        if any(end.startswith(text[at:]) for end in ends):
            return at
    return len(text)
