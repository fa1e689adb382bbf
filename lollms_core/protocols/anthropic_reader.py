"""Reads the answers of /v1/messages: streams of events, and whole `message` bodies.

An answer is a list of content blocks. A stream opens a block, adds to it in deltas and closes it; a body has the blocks
as they are when they are closed, so one code reads both. Blocks of tools that run at Anthropic, and kinds that are not
known here, are no part of the answer; they are kept for one case: an answer with signed thoughts goes back as it came,
with all its blocks, and leaves as a `Native` turn. A turn with a call that is no valid JSON cannot be given back.

Counts of a stream are running totals; tokens that were written to or read from a cache count as part of the prompt. A
stream is complete when `message_stop` or a reason to stop has come; ended before that, it is truncated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import LollmsError, ProtocolError, TruncatedStream
from lollms_core.protocols.anthropic_blocks import Block
from lollms_core.protocols.anthropic_sse import DeltaSseReader
from lollms_core.protocols.anthropic_turns import PROTOCOL
from lollms_core.protocols.base import Limits
from lollms_core.protocols.http_errors import Problem, error_of, problem_of, scrub
from lollms_core.protocols.json_limits import check_depth, decode_body, decode_lenient
from lollms_core.protocols.reading import AnswerReader
from lollms_core.protocols.sse import NamedData
from lollms_core.types import Done, Event, Native, Notice, ReceiptItem, TextDelta, Usage

__all__ = ["MessagesReader"]


class _Delta(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_details: Any = None


class _Message(msgspec.Struct, gc=False):
    model: str | None = None
    usage: Any = None


class _Event(msgspec.Struct, gc=False):
    """An event of a stream; also a whole message, whose fields are the last ones and `type` and `usage`."""

    type: str | None = None
    index: int | None = None
    delta: _Delta | None = None
    content_block: Any = None
    message: _Message | None = None
    usage: Any = None
    error: Any = None
    content: Any = None
    model: str | None = None
    stop_reason: str | None = None
    stop_details: Any = None


_decode = msgspec.json.Decoder(_Event).decode

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Why it stopped, in our words. A paused turn is not finished either: it goes on when it is given back."""

_PROMPT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_LARGEST = 2**53
_MANY = 1024  # pieces of a text that are kept apart


class MessagesReader(AnswerReader):
    """The reader of one answer. `secrets` are taken out of the messages of errors that the answer reports."""

    __slots__ = ("_at", "_blocks", "_counts", "_finish", "_model", "_open", "_pieces", "_receipt", "_remark", "_tools")

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
        self._sse = DeltaSseReader(limits)
        self._receipt = receipt
        self._blocks: list[Block] = []  # all, in order
        self._open: dict[int | None, Block] = {}
        self._at: int | None = None  # the text that is open now, and what has come of it
        self._pieces: list[str] | None = None
        self._tools = 0
        self._counts: dict[str, int] = {}
        self._finish = ""
        self._remark: Notice | None = None
        self._model = ""

    @override
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        depth = self._limits.json_depth
        shallow = 2 * depth + 1
        for payload in payloads:
            try:
                if len(payload) > shallow:
                    check_depth(payload, depth)
                event = _decode(payload)
            except (ValueError, RecursionError, OverflowError) as error:
                self._not_json(payload, error)
                continue
            delta = event.delta
            if (
                delta is not None
                and (text := delta.text)
                and (pieces := self._pieces) is not None
                and event.index == self._at
                and delta.type == "text_delta"
                and event.type == "content_block_delta"
                and event.error is None
            ):
                pieces.append(text)
                out.append(TextDelta(text))
                continue
            self._event(event, payload, out)
            if self.finished:
                return
        if self._pieces is not None and len(self._pieces) > _MANY:
            self._pieces[:] = ["".join(self._pieces)]

    def _not_json(self, payload: bytes, error: Exception) -> None:
        """Blank events are keep-alives; anything else is a fault, or an error that is told in plain text."""
        text = payload.strip()
        if isinstance(payload, NamedData) and payload.name == "error":
            raise self._reported(Problem(message=text.decode()))
        if isinstance(error, msgspec.ValidationError) and _is_of_the_future(payload):
            return
        if text and text != b"[DONE]":  # which some who imitate the protocol send at the end
            raise ProtocolError(f"{self._who()} sent an event that cannot be read: {error}")

    @override
    def body(self, body: bytes, out: list[Event]) -> None:
        message = decode_body(_decode, body, self._limits.json_depth)
        self._raise_error(message, body)
        if message.type != "message" or not isinstance(message.content, list):
            raise ProtocolError(f"{self._who()} sent JSON that is no message. Check the address.")
        self._model = message.model or ""
        self._count(message.usage)
        for index, block in enumerate(message.content):
            self._start(index, block, out)
            self._stop(index, out)
        self._stopped(message.stop_reason, message.stop_details)
        self._finished(out)

    @override
    def ended(self, out: list[Event]) -> None:
        if not self._finish:
            raise TruncatedStream(f"{self._who()} closed the connection before its answer was complete.")
        self._finished(out)

    # ---- events

    def _event(self, event: _Event, payload: bytes, out: list[Event]) -> None:
        kind = event.type
        if event.error:
            self._raise_error(event, payload)
        if kind == "content_block_delta":
            if event.delta is not None:
                self._block(event.index, event.delta, out).add(event.delta, out)
        elif kind == "content_block_start":
            self._start(event.index, event.content_block, out)
        elif kind == "content_block_stop":
            self._stop(event.index, out)
        elif kind == "message_start":
            if event.message is not None:
                self._model = self._model or event.message.model or ""
                self._count(event.message.usage)
        elif kind == "message_delta":
            self._count(event.usage)
            if event.delta is not None:
                self._stopped(event.delta.stop_reason, event.delta.stop_details)
        elif kind == "message_stop":
            self._finished(out)
        elif kind != "ping":  # kinds may be added, which are passed over
            self._raise_error(event, payload)
            if kind is None:
                raise ProtocolError(f"{self._who()} sent an event that is none of its protocol. Check the address.")

    def _raise_error(self, event: _Event, payload: bytes) -> None:
        """Raise what an event or a body reports."""
        named = getattr(payload, "name", "") == "error"
        if event.error or event.type == "error" or named:
            raise self._reported(problem_of({"error": event.error}) or Problem())
        if event.type is None and (problem := problem_of(decode_lenient(payload))) is not None:
            raise self._reported(problem)

    def _start(self, index: int | None, start: object, out: list[Event]) -> None:
        """A block opens, with what it has from the beginning: in a body that is all."""
        if not isinstance(start, Mapping):
            raise ProtocolError(f"{self._who()} sent a part of an answer that cannot be read.")
        self._opened(index, Block(start, self._tools), out)

    def _block(self, index: int | None, delta: _Delta, out: list[Event]) -> Block:
        """The block that a delta belongs to; one that nobody opened is opened by the delta."""
        block = self._open.get(index)
        return block or self._opened(index, Block({"type": _KINDS.get(delta.type or "", "")}, self._tools), out)

    def _opened(self, index: int | None, block: Block, out: list[Event]) -> Block:
        self._tools += block.kind == "tool_use"
        self._blocks.append(block)
        self._open[index] = block
        if block.kind == "text":
            self._at, self._pieces = index, block.pieces
        elif index == self._at:
            self._pieces = None
        block.begin(out)
        return block

    def _stop(self, index: int | None, out: list[Event]) -> None:
        if index == self._at:
            self._pieces = None
        if (block := self._open.pop(index, None)) is not None:
            block.end(out)

    def _stopped(self, reason: str | None, details: object) -> None:
        if reason:
            self._finish = _FINISH.get(reason, reason)
        said = details.get("explanation") if isinstance(details, Mapping) else None
        if isinstance(said, str) and said and isinstance(details, Mapping):
            category = details.get("category")
            told = {"category": category} if isinstance(category, str) else {}
            self._remark = Notice("warning", scrub(said, self._secrets), told)

    def _finished(self, out: list[Event]) -> None:
        for block in self._open.values():
            block.end(out)
        if self._remark is not None:
            out.append(self._remark)
        if any(block.is_signed for block in self._blocks):
            turn = [block.as_sent() for block in self._blocks]
            if not any(block.is_broken for block in self._blocks):
                out.append(Native(PROTOCOL, [block for block in turn if block is not None]))
        finish = "tool_calls" if self._tools and self._finish == "stop" else self._finish
        out.append(Done(finish, self._usage(), self._model, self._receipt))
        self.finished = True

    # ---- counts

    def _count(self, usage: object) -> None:
        """Remember the counts, each of which replaces what was said before of the same."""
        if not isinstance(usage, Mapping):
            return
        for name in (*_PROMPT, "output_tokens"):
            count = usage.get(name)
            if type(count) is int and 0 <= count < _LARGEST:  # True is no count
                self._counts[name] = count

    def _usage(self) -> Usage | None:
        prompts = [self._counts[name] for name in _PROMPT if name in self._counts]
        prompt = sum(prompts) if prompts else None
        written = self._counts.get("output_tokens")
        if prompt is None and written is None:
            return None
        return Usage(prompt, written, None if prompt is None or written is None else prompt + written)

    # ---- words

    def _reported(self, problem: Problem) -> LollmsError:
        return error_of(problem, name=self._name, secrets=self._secrets)

    def _who(self) -> str:
        return self._name or "The backend"


def _is_of_the_future(payload: bytes) -> bool:
    """Whether an event that does not fit is of a kind that is not known here, so that its fields may be anything."""
    said = decode_lenient(payload)
    kind = said.get("type") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(kind, str) or kind == "error":
        return False
    if kind != "content_block_delta":
        return kind not in _EVENTS
    delta = said.get("delta")
    what = delta.get("type") if isinstance(delta, dict) else None
    return isinstance(what, str) and what not in (*_KINDS, "citations_delta")


_EVENTS = frozenset(
    {"message_start", "message_delta", "message_stop", "content_block_start", "content_block_stop", "ping"}
)

_KINDS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}
"""The kind of block that a delta belongs to."""
