"""Reads the answers of the text-generation task: streams of tokens, and whole bodies.

An event of a stream holds one token; the last one holds the whole text again, why the model stopped, and how many
tokens it wrote. Tokens that are special (the end of a text) are no text. A body is an object with the text, or a list
of one. Text that a stop sequence ended has that sequence at its end, which is taken out, as it is with all others.

A stream is complete with the event that has `generated_text` or `details`; ended before that, it is truncated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import ProtocolError, TruncatedStream
from lollms_core.protocols.base import Limits
from lollms_core.protocols.http_errors import not_the_protocol
from lollms_core.protocols.huggingface_errors import task_error
from lollms_core.protocols.json_limits import check_depth, decode_body, decode_lenient
from lollms_core.protocols.reading import AnswerReader
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import Done, Event, ReceiptItem, Usage

__all__ = ["TextTaskReader"]

_BOM = b"\xef\xbb\xbf"
_SNIPPET = 1024


class _Token(msgspec.Struct, gc=False):
    text: str = ""
    special: bool | None = False


class _Details(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    generated_tokens: Any = None
    input_length: Any = None
    prefill: Any = None


class _Answer(msgspec.Struct, gc=False):
    token: _Token | None = None
    generated_text: str | None = None
    details: _Details | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Answer).decode
_body = msgspec.json.Decoder(_Answer | list[_Answer]).decode

_FINISH = {"eos_token": "stop", "stop_sequence": "stop", "length": "length"}


class TextTaskReader(AnswerReader):
    """The reader of one answer of the model `model`, which was to end at one of `stops`.

    `secrets` are taken out of the messages of errors that the answer reports.
    """

    __slots__ = ("_held", "_longest", "_model", "_receipt", "_splitter", "_stops")

    def __init__(
        self,
        content_type: str,
        *,
        limits: Limits,
        receipt: tuple[ReceiptItem, ...] = (),
        model: str = "",
        stops: Sequence[str] = (),
        name: str = "",
        secrets: Iterable[str] = (),
    ) -> None:
        super().__init__(content_type, limits, name, secrets)
        self._splitter = ThoughtSplitter()
        self._receipt = receipt
        self._model = model
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""  # the end of the text, while it may be a stop sequence

    @override
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        depth = self._limits.json_depth
        shallow = 2 * depth + 1
        feed = self._splitter.feed if not self._stops else self._hold
        for payload in payloads:
            try:
                if len(payload) > shallow:
                    check_depth(payload, depth)
                event = _event(payload)
            except (ValueError, RecursionError, OverflowError) as error:
                if payload.strip() in (b"", b"[DONE]"):
                    continue
                raise ProtocolError(f"{self._who()} sent an event that cannot be read: {error}") from None
            if event.error is not None:
                raise self._reported(payload)
            token = event.token
            if token is not None and token.text and not token.special:
                out += feed(token.text)
            if event.details is not None or event.generated_text is not None:
                self._end(event, out)
                return
            if token is None:
                raise self._reported(payload) if b'"error' in payload else self._odd()

    @override
    def body(self, body: bytes, out: list[Event]) -> None:
        answer = decode_body(_body, body, self._limits.json_depth)
        first = answer if isinstance(answer, _Answer) else next(iter(answer), _Answer())
        if first.error is not None:
            raise self._reported(body)
        if first.generated_text is None:
            raise self._odd()
        out += self._hold(first.generated_text)
        self._end(first, out)

    @override
    def ended(self, out: list[Event]) -> None:
        raise TruncatedStream(f"{self._who()} closed the connection before its answer was complete.")

    # A body may be a list, which none of the other protocols has.

    @override
    def _decide(self, buffer: bytearray, out: list[Event], *, last: bool) -> None:
        if bytes(buffer[:_SNIPPET]).removeprefix(_BOM).lstrip().startswith(b"["):
            self._form = "json"
        else:
            super()._decide(buffer, out, last=last)

    @override
    def _whole_body(self, body: bytes, out: list[Event]) -> None:
        begin = body[:_SNIPPET].removeprefix(_BOM).strip()
        if self._form == "other" or not begin.startswith(b"["):
            super()._whole_body(body, out)
        elif not body.rstrip().endswith(b"]"):
            raise TruncatedStream(f"{self._who()} closed the connection before its answer was complete.")
        else:
            self.body(body, out)

    def _hold(self, text: str) -> list[Any]:
        """The events of more text, but for an end that may be a stop sequence."""
        text = self._held + text
        at = max(0, len(text) - self._longest)
        while at < len(text) and not any(stop.startswith(text[at:]) for stop in self._stops):
            at += 1
        self._held = text[at:]
        return list(self._splitter.feed(text[:at])) if at else []

    def _end(self, event: _Answer, out: list[Event]) -> None:
        details = event.details or _Details()
        finish = details.finish_reason or "stop"
        if finish == "stop_sequence":
            said = [stop for stop in self._stops if self._held.endswith(stop)]
            self._held = self._held[: len(self._held) - len(max(said, key=len, default=""))]
        out += self._splitter.feed(self._held)
        self._held = ""
        out += self._splitter.close()
        out.append(Done(_FINISH.get(finish, finish), _usage(details), self._model, self._receipt))
        self.finished = True

    def _reported(self, payload: bytes) -> Exception:
        said = decode_lenient(payload)
        first = said[0] if isinstance(said, list) and said else said
        return task_error(first if isinstance(first, dict) else {}, self._name, self._secrets)

    def _odd(self) -> ProtocolError:
        return not_the_protocol(self._content_type, b"", self._name, self._secrets)

    def _who(self) -> str:
        return self._name or "The backend"


def _usage(details: _Details) -> Usage | None:
    """Token counts; None for counts that are missing or make no sense."""
    prompt = _count(details.input_length)
    if prompt is None and isinstance(details.prefill, list) and details.prefill:
        prompt = len(details.prefill)
    written = _count(details.generated_tokens)
    if prompt is None and written is None:
        return None
    return Usage(prompt, written, None if prompt is None or written is None else prompt + written)


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**62 else None
