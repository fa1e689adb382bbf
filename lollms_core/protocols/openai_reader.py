"""Reads the answers of /chat/completions: streams of `chat.completion.chunk` and whole `chat.completion` bodies.

Those of the older /completions differ in one thing, the `text` of a choice, and are read as well.

Both are decoded by one struct, because a chunk's `delta` and a body's `message` have the same fields. Fields that
providers fill with odd things (`content` as a list of parts, `arguments` as an object, `usage` with anything) are
decoded untyped and looked at with care; unknown fields are skipped unseen. All that remains at the end (finish reason,
usage, model, receipt) is one `Done` event, since usage comes behind the finish reason.

A stream is complete when `[DONE]` or a finish reason has come; ended before that, it is truncated. A finish reason
counts only if nothing is said behind it: Open WebUI sends one with every chunk that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import LollmsError, Overloaded, ProtocolError, TruncatedStream, UpstreamFailed
from lollms_core.protocols.base import Limits
from lollms_core.protocols.http_errors import Problem, error_of, problem_of
from lollms_core.protocols.json_limits import check_depth, decode_body, decode_lenient
from lollms_core.protocols.openai_returns import Returned
from lollms_core.protocols.reading import AnswerReader
from lollms_core.protocols.sse import NamedData
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import Done, Event, ReceiptItem, TextDelta, ThoughtDelta, ToolCallDelta, Usage

__all__ = ["ChatReader", "usage_of"]


class _Part(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: str | None = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: str | None = None
    tool_calls: Any = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = 0
    delta: _Part | None = None
    message: _Part | None = None
    text: Any = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    model: str | None = None
    x_groq: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode

_FINISH = {
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
}
"""What some providers say, in the protocol's own words."""


class ChatReader(AnswerReader):
    """The reader of one answer. `secrets` are taken out of the messages of errors that the answer reports.

    `returns` are fields of the message that go back to the provider, as the `Native` turn of `protocol`.
    """

    __slots__ = ("_calls", "_finish", "_model", "_open", "_protocol", "_receipt", "_returned", "_splitter", "_usage")

    def __init__(
        self,
        content_type: str,
        *,
        limits: Limits,
        think_tags: bool = False,
        receipt: tuple[ReceiptItem, ...] = (),
        returns: Sequence[str] = (),
        protocol: str = "",
        name: str = "",
        secrets: Iterable[str] = (),
    ) -> None:
        super().__init__(content_type, limits, name, secrets)
        self._splitter = ThoughtSplitter() if think_tags else None
        self._receipt = receipt
        self._returned = Returned(returns) if returns else None
        self._protocol = protocol
        self._calls = _Calls()
        self._finish = ""
        self._open = True  # no finish reason yet, or more behind it
        self._usage: Any = None
        self._model = ""

    @override
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        depth = self._limits.json_depth
        shallow = 2 * depth + 1
        splitter = self._splitter
        for payload in payloads:
            try:
                if len(payload) > shallow:
                    check_depth(payload, depth)
                chunk = _decode(payload)
            except (ValueError, RecursionError, OverflowError) as error:
                if self._not_json(payload, out, error):
                    return
                continue
            choices = chunk.choices
            if choices and chunk.usage is None and chunk.error is None and self._model:
                choice = choices[0]
                part = choice.delta
                if part is not None and choice.finish_reason is None and not choice.index:
                    text = part.content
                    if (
                        type(text) is str
                        and text
                        and part.tool_calls is None
                        and part.reasoning_content is None
                        and part.reasoning is None
                        and part.refusal is None
                        and part.reasoning_details is None
                    ):
                        self._open = True
                        if splitter is None:
                            out.append(TextDelta(text))
                        else:
                            out += splitter.feed(text)
                        continue
            self._chunk(chunk, payload, out)

    def _not_json(self, payload: bytes, out: list[Event], error: Exception) -> bool:
        """Whether the payload was the end of the stream; blank ones are keep-alives; anything else is a fault."""
        text = payload.strip()
        if text == b"[DONE]":
            self._finished(out)
            return True
        if isinstance(payload, NamedData) and payload.name == "error":
            raise self._reported(Problem(message=text.decode()))
        if text:
            raise ProtocolError(f"{self._who()} sent an event that cannot be read: {error}")
        return False

    @override
    def body(self, body: bytes, out: list[Event]) -> None:
        if b"<" not in body and b"\\u" not in body:
            self._splitter = None  # there is no tag to look for
        self._chunk(decode_body(_decode, body, self._limits.json_depth), body, out, whole=True)
        self._finished(out)

    @override
    def ended(self, out: list[Event]) -> None:
        if self._open:
            raise TruncatedStream(f"{self._who()} closed the connection before its answer was complete.")
        self._finished(out)

    def _chunk(self, chunk: _Chunk, payload: bytes, out: list[Event], *, whole: bool = False) -> None:
        """Everything that a chunk or a body may hold."""
        if chunk.error:
            raise self._reported(problem_of({"error": chunk.error}) or Problem())
        if chunk.choices is None and chunk.usage is None:
            problem = problem_of(decode_lenient(payload))
            if problem is not None or getattr(payload, "name", "") == "error":
                raise self._reported(problem or Problem())
        if whole and not chunk.choices:
            raise ProtocolError(f"{self._who()} sent JSON that is no chat completion. Check the address.")
        if chunk.usage is not None:
            self._usage = chunk.usage
        elif isinstance(chunk.x_groq, dict) and isinstance(chunk.x_groq.get("usage"), dict):
            self._usage = chunk.x_groq["usage"]
        if chunk.model and not self._model:
            self._model = chunk.model
        for choice in chunk.choices or ():
            if choice.index:
                continue  # alternatives, which nobody asked for
            part = choice.delta or choice.message
            said = len(out)
            if part is not None:
                self._part(part, out, whole)
            elif isinstance(choice.text, str):
                self._text(choice.text, out)
            if len(out) > said:
                self._open = True
            if choice.finish_reason:
                self._open = False
                self._finish = _FINISH.get(choice.finish_reason, choice.finish_reason)
        if self._finish == "error":
            raise UpstreamFailed(f"{self._who()} failed while it was answering. Try again later.")
        if self._finish == "insufficient_system_resource":  # DeepSeek
            raise Overloaded(f"{self._who()} gave up in the middle of its answer: it is overloaded. Try again later.")

    def _part(self, part: _Part, out: list[Event], whole: bool) -> None:
        if self._returned is not None:
            self._returned.add(part)
        reasoning = part.reasoning_content or part.reasoning
        if isinstance(reasoning, str) and reasoning:
            out.append(ThoughtDelta(reasoning))
        content = part.content
        if isinstance(content, str):
            self._text(content, out)
        elif isinstance(content, list):
            for item in content:
                self._item(item, out)
        elif content is not None:
            raise ProtocolError(f"{self._who()} sent content that is neither text nor a list of parts.")
        if part.refusal:
            self._text(part.refusal, out)
        if part.tool_calls:
            self._calls.add(part.tool_calls, out, whole)

    def _text(self, text: str, out: list[Event]) -> None:
        if self._splitter is not None:
            out += self._splitter.feed(text)
        elif text:
            out.append(TextDelta(text))

    def _item(self, item: object, out: list[Event]) -> None:
        """A part of a content list: `text`, or `thinking` with a text or a list of text parts in it."""
        if not isinstance(item, dict):
            return
        if isinstance(item.get("text"), str):
            self._text(item["text"], out)
        elif item.get("type") == "thinking":
            inner = item.get("thinking")
            parts = inner if isinstance(inner, list) else [{"text": inner}]
            texts = (part.get("text") for part in parts if isinstance(part, dict))
            thought = "".join(text for text in texts if isinstance(text, str))
            if thought:
                out.append(ThoughtDelta(thought))

    def _finished(self, out: list[Event]) -> None:
        if self._splitter is not None:
            out += self._splitter.close()
        if self._returned is not None and (native := self._returned.native(self._protocol)) is not None:
            out.append(native)
        finish = self._finish
        if self._calls and finish == "stop":
            finish = "tool_calls"
        out.append(Done(finish, usage_of(self._usage), self._model, self._receipt))
        self.finished = True

    def _reported(self, problem: Problem) -> LollmsError:
        return error_of(problem, name=self._name, secrets=self._secrets)

    def _who(self) -> str:
        return self._name or "The backend"


class _Calls:
    """Tool calls while their pieces arrive: gives each call its place, and says its id and name once.

    A piece belongs to the call with its `index`. Providers that put several calls at one index give them different ids;
    those that leave the index out send whole calls, or go on with the last one. In a body every piece with a name is a
    call, whatever its index: LocalAI's is always 0 there. Calls that share an id, as all of one answer of LocalAI do,
    get ids of their own, because the results are told apart by them.
    """

    __slots__ = ("_ids", "_named", "_places", "_told")

    def __init__(self) -> None:
        self._places: dict[int, int] = {}  # the provider's index -> the place of the call it stands for now
        self._ids: list[str] = []  # by place, as the provider said them
        self._named: list[bool] = []
        self._told: set[str] = set()  # ids, as they went out

    def __bool__(self) -> bool:
        return bool(self._ids)

    def add(self, pieces: object, out: list[Event], whole: bool) -> None:
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                self._piece(piece, out, whole)

    def _piece(self, piece: dict[str, Any], out: list[Event], whole: bool) -> None:
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        call_id, name = _string(piece.get("id")), _string(function.get("name"))
        place, new = self._begun(-1, call_id) if whole and name else self._place(piece.get("index"), call_id, name)
        raw = function.get("arguments")
        arguments = raw if isinstance(raw, str) else "" if raw is None else msgspec.json.encode(raw).decode()
        if new:
            call_id = self._ids[place]
            if call_id in self._told:
                call_id = f"{call_id}_{place}"
            self._told.add(call_id)
            out.append(ToolCallDelta(place, call_id, name, arguments))
            self._named[place] = bool(name)
            return
        if self._named[place]:
            name = ""
        self._named[place] = self._named[place] or bool(name)
        if name or arguments:
            out.append(ToolCallDelta(place, "", name, arguments))

    def _place(self, index: object, call_id: str, name: str) -> tuple[int, bool]:
        """The place of the call that a piece belongs to, and whether it begins there."""
        if not isinstance(index, int):
            index = -1
        place = self._places.get(index)
        if place is None and index == -1 and self._ids and not (call_id or name):
            place = len(self._ids) - 1
        if place is not None and not (name and self._another(place, index, call_id)):
            return place, False
        return self._begun(index, call_id)

    def _begun(self, index: int, call_id: str) -> tuple[int, bool]:
        place = len(self._ids)
        self._places[index] = place
        self._ids.append(call_id or f"call_{place}")
        self._named.append(False)
        return place, True

    def _another(self, place: int, index: int, call_id: str) -> bool:
        """Whether a named piece at a known index begins another call: it has another id, or neither id nor index."""
        return (bool(call_id) and call_id != self._ids[place]) or (index == -1 and not call_id)


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def usage_of(value: object) -> Usage | None:
    """Token counts from whatever a provider calls `usage`; None for counts that are missing or make no sense."""
    if not isinstance(value, dict):
        return None
    counts: list[int | None] = []
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        count = value.get(name)
        counts.append(count if type(count) is int and 0 <= count < 2**63 else None)  # True is no count
    return None if counts == [None, None, None] else Usage(*counts)
