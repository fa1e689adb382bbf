"""Reads the answers of Gemini's generateContent: streams of `GenerateContentResponse` and one such object as a body.

A response has candidates, of which one is asked for, and its content is a list of parts: text, text that is a thought,
a whole call of a function, a picture. Usage stands in each response, the last one counts. A prompt that is blocked
gives no candidate but `promptFeedback`.

A part may carry a signature, which the provider wants back unaltered with the part it came on and in its place. So the
parts are kept while the answer comes: those with anything but text as they are, text without a signature joined. They
become the `Native` turn of the answer if one was signed.

Most events of a stream are one part of text; they are decoded by typed structs, usage is only looked at in the end, and
the rest of an event is decoded when there is more in it. A stream is complete when a candidate has a finish reason. A
stream that fails half way may end with an error that is no event, but JSON on lines of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, ProtocolError, TruncatedStream, UpstreamFailed
from lollms_core.protocols.base import Limits
from lollms_core.protocols.gemini_errors import problem_in, reported
from lollms_core.protocols.gemini_sse import whole_events
from lollms_core.protocols.http_errors import scrub
from lollms_core.protocols.json_limits import check_depth, decode, decode_body, decode_lenient
from lollms_core.protocols.reading import AnswerReader
from lollms_core.protocols.sse import NamedData, SseReader
from lollms_core.text.binary import decode_base64, sniff
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import Done, Event, Media, Native, ReceiptItem, ThoughtDelta, ToolCallDelta, Usage

__all__ = ["PROTOCOL", "GeminiReader", "usage_of"]

PROTOCOL = "gemini"
"""The name of the form in which turns of the model go back."""


_NOTHING = msgspec.Raw()


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: Any = None
    function_call: Any = None
    inline_data: Any = None


class _Content(msgspec.Struct, gc=False, rename="camel"):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = 0


class _Response(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: Any = None
    usage_metadata: msgspec.Raw = _NOTHING
    model_version: str | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Response).decode
_raw = msgspec.json.Decoder().decode

_FINISH = {
    "STOP": "stop",
    "NO_IMAGE": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
}
_BROKEN = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"})
_FAILED = frozenset({"OTHER", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"})

_TAIL = 64 * 1024
_OBJECT = re.compile(rb"[\r\n]\{")
_MOST_OBJECTS = 4  # each is looked through to the end, so that many would cost the square of their size
_MANY = 1024  # pieces of a text that are kept apart


class GeminiReader(AnswerReader):
    """The reader of one answer. `secrets` are taken out of the messages of errors that the answer reports.

    `taken` are the ids of calls of tools in the conversation: a call that comes without an id gets another one.
    """

    __slots__ = (
        "_between",
        "_blocked",
        "_calls",
        "_finish",
        "_model",
        "_number",
        "_parts",
        "_pending",
        "_receipt",
        "_signed",
        "_splitter",
        "_tail",
        "_taken",
        "_thought",
        "_usage",
    )

    def __init__(
        self,
        content_type: str,
        *,
        limits: Limits,
        receipt: tuple[ReceiptItem, ...] = (),
        taken: Collection[str] = (),
        name: str = "",
        secrets: Iterable[str] = (),
    ) -> None:
        super().__init__(content_type, limits, name, secrets)
        self._splitter: ThoughtSplitter | None = ThoughtSplitter()
        self._receipt = receipt
        self._taken = set(taken)
        self._calls = 0
        self._number = 0  # of the next id that is given here
        self._finish = ""
        self._blocked = False
        self._usage = _NOTHING
        self._model = ""
        self._parts: list[dict[str, Any]] = []  # as they go back
        self._pending: list[str] = []  # text of the part that is still growing
        self._thought = False  # whether that is a thought
        self._signed = False
        self._tail = b"\n"  # what came since the last event
        self._between = False  # two events: nothing of the next one has come

    # ---- the forms of an answer

    @override
    def _stream(self, data: bytes, out: list[Event]) -> None:
        sse = self._sse
        if sse is None:
            sse = self._sse = SseReader(self._limits)
        ends = data[-4:] == b"\r\n\r\n"
        if ends and self._between and (found := whole_events(data, self._limits.event_bytes)):
            self._tail = b"\n"
            self.payloads(found, out)
            return
        self._between = ends
        found = sse.feed(data)
        if found:
            self._tail = data
            self.payloads(found, out)
        elif len(self._tail) < _TAIL:
            self._tail += data
        if not self.finished:
            self.error = sse.error

    @override
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        depth = self._limits.json_depth
        shallow = 2 * depth + 1
        splitter = self._splitter
        for payload in payloads:
            try:
                if len(payload) > shallow:
                    check_depth(payload, depth)
                response = _decode(payload)
            except (ValueError, RecursionError, OverflowError) as error:
                self._not_json(payload, error)
                continue
            candidates = response.candidates
            if candidates and len(candidates) == 1 and self._model:
                candidate = candidates[0]
                content = candidate.content
                if content is not None and candidate.finish_reason is None and not candidate.index:
                    parts = content.parts
                    if parts and len(parts) == 1:
                        part = parts[0]
                        text = part.text
                        if (
                            text
                            and part.thought_signature is None
                            and part.function_call is None
                            and part.inline_data is None
                            and response.error is None
                            and response.prompt_feedback is None
                        ):
                            if response.usage_metadata:
                                self._usage = response.usage_metadata
                            if (part.thought is True) is not self._thought:
                                self._grown(not self._thought)
                            self._pending.append(text)
                            if self._thought:
                                out.append(ThoughtDelta(text))
                            else:
                                out += splitter.feed(text)  # type: ignore[union-attr]
                            continue
            self._response(response, payload, out)
        if len(self._pending) > _MANY:
            self._pending[:] = ["".join(self._pending)]

    def _not_json(self, payload: bytes, error: Exception) -> None:
        """Blank events are keep-alives, `[DONE]` is what some proxies end with; anything else is a fault."""
        text = payload.strip()
        if isinstance(payload, NamedData) and payload.name == "error":
            raise reported({"error": {"message": text.decode()}}, self._name, self._secrets)
        if text and text != b"[DONE]":
            raise ProtocolError(f"{self._who()} sent an event that cannot be read: {error}")

    @override
    def _whole_body(self, body: bytes, out: list[Event]) -> None:
        if body[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            found = decode_lenient(body)
            if isinstance(found, list) and problem_in(found) is not None:
                raise reported(found, self._name, self._secrets)
            raise ProtocolError(
                f"{self._who()} sent its answer as one list, which is how it streams without alt=sse in the address. "
                "Check whether a proxy takes the query away."
            )
        super()._whole_body(body, out)

    @override
    def body(self, body: bytes, out: list[Event]) -> None:
        response = decode_body(_decode, body, self._limits.json_depth)
        if not response.candidates and response.prompt_feedback is None and response.error is None:
            if response.usage_metadata and response.model_version:
                raise UpstreamFailed(
                    f"{self._who()} sent neither an answer nor a reason why there is none. Try again.",
                    provider=self._name,
                )
            raise ProtocolError(f"{self._who()} sent JSON that is no answer of generateContent. Check the address.")
        self._response(response, body.removeprefix(b"\xef\xbb\xbf"), out)
        self._finished(out)

    @override
    def ended(self, out: list[Event]) -> None:
        if not (self._finish or self._blocked):
            for found in islice(_OBJECT.finditer(self._tail), _MOST_OBJECTS):
                said = decode_lenient(self._tail[found.start() + 1 :])
                if isinstance(said, dict) and said.get("error"):
                    raise reported(said, self._name, self._secrets)
            raise TruncatedStream(f"{self._who()} closed the connection before its answer was complete.")
        self._finished(out)

    # ---- what a response holds

    def _response(self, response: _Response, payload: bytes, out: list[Event]) -> None:
        """Everything that an event or a body may hold."""
        if response.error:
            raise reported({"error": response.error}, self._name, self._secrets)
        if response.usage_metadata:
            self._usage = response.usage_metadata
        if response.model_version and not self._model:
            self._model = response.model_version
        feedback = response.prompt_feedback
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._blocked = True
        for place, candidate in enumerate(response.candidates or ()):
            if candidate.index:
                continue  # alternatives, which nobody asked for
            parts = candidate.content.parts if candidate.content is not None else None
            if parts:
                found = _parts_of(decode(_raw, payload, self._limits.json_depth), place)
                for part, verbatim in zip(parts, found, strict=True):
                    self._part(part, verbatim, out)
            if candidate.finish_reason and candidate.finish_reason != "FINISH_REASON_UNSPECIFIED":
                self._end(candidate.finish_reason, candidate.finish_message or "", out)
            break  # there is one of each index; the parts of many would be decoded as often

    def _part(self, part: _Part, verbatim: dict[str, Any], out: list[Event]) -> None:
        signed = isinstance(part.thought_signature, str) and bool(part.thought_signature)
        thought = part.thought is True
        if part.text is not None and not signed and part.function_call is None and part.inline_data is None:
            if thought is not self._thought:
                self._grown(thought)
            self._pending.append(part.text)
        else:
            self._grown(self._thought)
            self._parts.append(verbatim)
            self._signed = self._signed or signed
        if part.text:
            if thought:
                out.append(ThoughtDelta(part.text))
            else:
                out += self._splitter.feed(part.text)  # type: ignore[union-attr]
        if part.function_call is not None:
            self._call(part.function_call, out)
        if part.inline_data is not None and not thought:  # a thought in pictures is a draft
            out.append(self._media(part.inline_data))

    def _grown(self, thought: bool) -> None:
        """The part of text that was growing is complete; the next one is a thought or not."""
        if text := "".join(self._pending):
            self._parts.append({"text": text, "thought": True} if self._thought else {"text": text})
        self._pending.clear()
        self._thought = thought

    def _call(self, call: Any, out: list[Event]) -> None:
        name = call.get("name") if isinstance(call, dict) else None
        if not isinstance(name, str) or not name:
            raise ProtocolError(f"{self._who()} sent a tool call without a name.")
        arguments = call.get("args")
        self._called(call.get("id"), name, msgspec.json.encode({} if arguments is None else arguments).decode(), out)

    def _called(self, given: object, name: str, arguments: str, out: list[Event]) -> None:
        call_id = given if isinstance(given, str) else ""
        self._number = max(self._number, self._calls)
        while not call_id or (call_id in self._taken and call_id != given):
            call_id = f"call_{self._number}"
            self._number += 1
        self._taken.add(call_id)
        out.append(ToolCallDelta(self._calls, call_id, name, arguments))
        self._calls += 1

    def _media(self, data: Any) -> Media:
        encoded, kind = (data.get("data"), data.get("mimeType")) if isinstance(data, dict) else (None, None)
        try:
            content = decode_base64(encoded if isinstance(encoded, str) else "\0", "image")
        except InvalidRequest:
            raise ProtocolError(f"{self._who()} sent an image that is not valid base64.") from None
        return Media(content, kind if isinstance(kind, str) and kind else sniff(content))

    # ---- the end

    def _end(self, reason: str, message: str, out: list[Event]) -> None:
        if reason in _BROKEN and message:
            self._called(None, "", scrub(message, self._secrets), out)  # no JSON, so it goes back as an error
            reason = "STOP"
        if reason in _BROKEN or reason in _FAILED:
            said = f": {scrub(message, self._secrets)}" if message else "."
            raise UpstreamFailed(
                f"{self._who()} ended its answer with {reason}. Try again, or ask in other words{said}",
                upstream_code=reason.lower(),
                provider=self._name,
            )
        self._finish = _FINISH.get(reason, reason.lower())

    def _finished(self, out: list[Event]) -> None:
        out += self._splitter.close()  # type: ignore[union-attr]
        if self._signed:
            self._grown(False)
            out.append(Native(PROTOCOL, self._parts))
        finish = self._finish or ("content_filter" if self._blocked else "")
        if self._calls and finish == "stop":
            finish = "tool_calls"
        out.append(Done(finish, usage_of(self._usage), self._model, self._receipt))
        self.finished = True

    def _who(self) -> str:
        return self._name or "The backend"


def _parts_of(body: Any, place: int) -> list[dict[str, Any]]:
    """The parts of a candidate as they came."""
    parts: list[dict[str, Any]] = body["candidates"][place]["content"]["parts"]
    return parts


def usage_of(raw: msgspec.Raw) -> Usage | None:
    """Token counts of a `usageMetadata`, None for what is missing or senseless. Thoughts belong to the answer."""
    counts = decode_lenient(bytes(raw))
    if not isinstance(counts, dict):
        return None
    read = _sum(counts.get("promptTokenCount"), counts.get("toolUsePromptTokenCount"))
    written = _sum(counts.get("candidatesTokenCount"), counts.get("thoughtsTokenCount"))
    total = _sum(counts.get("totalTokenCount"))
    return None if read is written is total is None else Usage(read, written, total)


def _sum(*counts: object) -> int | None:
    known = [count for count in counts if type(count) is int and 0 <= count < 2**62]  # True is no count
    return sum(known) if known else None
