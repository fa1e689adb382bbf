"""Reads the answers of Ollama's /api/chat: streams of JSON lines, and whole bodies, which have the same form.

A line holds more of the message, or, with `done`, the end: why the model stopped, and its token counts. A line with
`error` ends a stream that began well. Tool calls come whole, their arguments as an object; most have no id, so each
gets one from its place. Thoughts stand in `message.thinking`, with models that Ollama does not know to think in the
text, between tags.

A stream is complete with the line that says `done`; ended before that, it is truncated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, LollmsError, ProtocolError, ReplyTooLarge, TruncatedStream
from lollms_core.protocols.base import Limits
from lollms_core.protocols.http_errors import Problem, error_of, problem_of
from lollms_core.protocols.json_limits import check_depth, decode_body
from lollms_core.protocols.ndjson import LineReader
from lollms_core.protocols.reading import AnswerReader
from lollms_core.text.binary import decode_base64, sniff
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import Done, Event, Media, ReceiptItem, ThoughtDelta, ToolCallDelta, Usage

__all__ = ["OllamaReader", "code_of", "counts"]


class _Part(msgspec.Struct, gc=False):
    content: Any = None
    thinking: Any = None
    tool_calls: Any = None
    images: Any = None


class _Line(msgspec.Struct, gc=False):
    model: str | None = None
    message: _Part | None = None
    done: bool | None = False
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode

_BOM = b"\xef\xbb\xbf"
_SNIPPET = 1024

_FINISH = {"load": "stop", "unload": "stop"}
"""Answers to requests without messages, which only load or unload a model."""

_SAID = (
    ("does not support", "not_supported_error"),
    ("context length", "context_length_exceeded"),
    ("not found, try pulling it first", "model_not_found"),
)


def code_of(message: str) -> str:
    """The code of an error that Ollama describes in words only; "" for all others.

    Ollama sends a sentence and nothing else, so this is the one place where an error is told by its text. The phrases
    are few, old, and only look for what has another meaning than the HTTP status alone.
    """
    said = message.lower()
    return next((code for words, code in _SAID if words in said), "")


class OllamaReader(AnswerReader):
    """The reader of one answer. `secrets` are taken out of the messages of errors that the answer reports."""

    __slots__ = ("_calls", "_lines", "_model", "_receipt", "_splitter")

    def __init__(
        self,
        content_type: str,
        *,
        limits: Limits,
        receipt: tuple[ReceiptItem, ...] = (),
        name: str = "",
        secrets: Iterable[str] = (),
    ) -> None:
        super().__init__(content_type, limits, name, secrets)
        self._lines = LineReader(limits)
        self._splitter = ThoughtSplitter()
        self._receipt = receipt
        self._calls = 0
        self._model = ""
        if "ndjson" in content_type or "jsonl" in content_type:
            self._form = "stream"

    # Lines instead of server-sent events. A body of one line is read the same way, so any `{` begins a stream.

    @override
    def _stream(self, data: bytes, out: list[Event]) -> None:
        self.payloads(self._lines.feed(data), out)
        if not self.finished:
            self.error = self._lines.error

    @override
    def _decide(self, buffer: bytearray, out: list[Event], *, last: bool) -> None:
        begin = bytes(buffer[:_SNIPPET]).removeprefix(_BOM).lstrip()
        if begin.startswith(b"{"):
            self._form = "stream"
            data = bytes(buffer)
            buffer.clear()
            self._stream(data, out)
        elif last or len(buffer) >= _SNIPPET or (begin and not _BOM.startswith(begin)):
            self._form = "other"

    @override
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        depth = self._limits.json_depth
        shallow = 2 * depth + 1
        feed = self._splitter.feed
        for payload in payloads:
            try:
                if len(payload) > shallow:
                    check_depth(payload, depth)
                line = _decode(payload)
            except (ValueError, RecursionError, OverflowError) as error:
                raise ProtocolError(f"{self._who()} sent a line that cannot be read: {error}") from None
            part = line.message
            if part is not None and not line.done and line.error is None and self._model:
                text = part.content
                if type(text) is str and part.thinking is None and part.tool_calls is None and part.images is None:
                    if text:
                        out += feed(text)
                    continue
            self._line(line, out)
            if self.finished:
                return

    @override
    def body(self, body: bytes, out: list[Event]) -> None:
        line = decode_body(_decode, body, self._limits.json_depth)
        if line.message is None and not line.error:
            raise ProtocolError(f"{self._who()} sent JSON that is no answer of /api/chat. Check the address.")
        self._line(line, out)
        if not self.finished:
            raise TruncatedStream(f"{self._who()} sent an answer that is not complete.")

    @override
    def ended(self, out: list[Event]) -> None:
        last: list[bytes] = []
        try:
            last = self._lines.close()
            self.payloads(last, out)
        except ReplyTooLarge:
            raise
        except ProtocolError:
            if last and not last[0].lstrip().startswith(b"{"):
                raise
            raise self._truncated() from None  # a line that was cut, perhaps inside of a character
        if not self.finished:
            raise self._truncated()

    def _truncated(self) -> TruncatedStream:
        return TruncatedStream(f"{self._who()} closed the connection before its answer was complete.")

    def _line(self, line: _Line, out: list[Event]) -> None:
        """Everything that a line may hold."""
        if line.error:
            raise self._reported(line.error)
        if line.model and not self._model:
            self._model = line.model
        if line.message is not None:
            self._part(line.message, out)
        if line.done:
            out += self._splitter.close()
            finish = line.done_reason or "stop"
            finish = _FINISH.get(finish, finish)
            if self._calls and finish == "stop":
                finish = "tool_calls"
            usage = counts(line.prompt_eval_count, line.eval_count)
            out.append(Done(finish, usage, self._model, self._receipt))
            self.finished = True

    def _part(self, part: _Part, out: list[Event]) -> None:
        if isinstance(part.thinking, str) and part.thinking:
            out.append(ThoughtDelta(part.thinking))
        if isinstance(part.content, str):
            out += self._splitter.feed(part.content)
        elif part.content is not None:
            raise ProtocolError(f"{self._who()} sent content that is no text.")
        for call in part.tool_calls if isinstance(part.tool_calls, list) else ():
            if isinstance(call, dict):
                self._call(call, out)
        for image in part.images if isinstance(part.images, list) else ():
            out.append(self._image(image))

    def _call(self, call: dict[str, Any], out: list[Event]) -> None:
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ProtocolError(f"{self._who()} sent a tool call without a name.")
        raw = function.get("arguments")
        arguments = raw if isinstance(raw, str) else "" if raw is None else msgspec.json.encode(raw).decode()
        given = call.get("id")
        name = given if isinstance(given, str) and given else f"call_{self._calls}"
        out.append(ToolCallDelta(self._calls, name, function["name"], arguments))
        self._calls += 1

    def _image(self, image: object) -> Media:
        try:
            data = decode_base64(image if isinstance(image, str) else "\0", "image")
        except InvalidRequest:
            raise ProtocolError(f"{self._who()} sent an image that is not valid base64.") from None
        shown = sniff(data)
        return Media(data, shown if shown.startswith("image/") else "image/png")

    def _reported(self, error: object) -> LollmsError:
        problem = problem_of({"error": error}) or Problem()  # a proxy may answer in another form
        if not problem.code:
            problem = msgspec.structs.replace(problem, code=code_of(problem.message))
        return error_of(problem, name=self._name, secrets=self._secrets)

    def _who(self) -> str:
        return self._name or "The backend"


def counts(prompt: object, answer: object = None) -> Usage | None:
    """Token counts of an answer; None for counts that are missing or make no sense."""
    read, written = _count(prompt), _count(answer)
    if read is None and written is None:
        return None
    return Usage(read, written, None if read is None or written is None else read + written)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 else None
