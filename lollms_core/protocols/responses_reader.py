"""Reads the answers of /responses: streams of typed events and whole `response` objects.

An answer is a list of items: messages, calls of functions, thoughts. In a stream each is announced, comes in deltas,
and is repeated whole when it is done; the end repeats all of them. What has come in deltas is not read again, so that
only servers that leave the deltas out are read from the wholes. An event is one struct of plain fields, and the text
deltas, which are nearly all of them, take a path of their own.

Thoughts are summaries, or the text itself from models that show it; their parts are set apart by an empty line. Where
thoughts came encrypted, the items as they came are the `Native` turn: the provider wants them back in their order.

A stream is complete with `response.completed` or `response.incomplete`; ended before that, it is truncated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import LollmsError, ProtocolError, TruncatedStream
from lollms_core.protocols.base import Limits
from lollms_core.protocols.http_errors import Problem, error_of, problem_of
from lollms_core.protocols.json_limits import check_depth, decode_body, decode_lenient
from lollms_core.protocols.openai_reader import usage_of
from lollms_core.protocols.reading import AnswerReader
from lollms_core.protocols.sse import NamedData
from lollms_core.types import Done, Event, Native, ReceiptItem, TextDelta, ThoughtDelta, ToolCallDelta

__all__ = ["PROTOCOL", "ResponsesReader"]

PROTOCOL = "responses"
"""The name of the `Native` form: a list of output items."""

_BETWEEN = "\n\n"

_TEXT = b"event: response.output_text.delta\ndata: "
_TEXT_SIZE = len(_TEXT)
_NAMES = re.compile(rb"\nevent: response\.[a-z_.]{1,64}\n(?=data: )")


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    delta: Any = None
    output_index: int | None = None
    part_index: int | None = msgspec.field(default=None, name="summary_index")
    content_index: int | None = None
    item: Any = None
    arguments: Any = None
    response: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode
_decode_response = msgspec.json.Decoder(dict[str, Any]).decode

_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter", "max_messages": "length"}

_PROBLEMS = {
    "server_error": "server_error",
    "vector_store_timeout": "timeout_error",
    "too_many_requests": "rate_limit_exceeded",
    "invalid_prompt": "invalid_request_error",
    "data_residency_mismatch": "invalid_request_error",
    "bio_policy": "content_policy_violation",
    "misalignment_policy_violation": "content_policy_violation",
}
"""Codes of this protocol alone, and the types of problems elsewhere that they are. Those about images are many."""


class ResponsesReader(AnswerReader):
    """The reader of one answer. `secrets` are taken out of the messages of errors that the answer reports."""

    __slots__ = ("_begins", "_calls", "_finish", "_items", "_model", "_receipt", "_shown", "_thought", "_usage")

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
        self._receipt = receipt
        self._begins = True  # whether the next bytes begin a line
        self._calls = _Calls()
        self._items: dict[int, dict[str, Any]] = {}  # those that are done, by their place in the output
        self._shown = [False, False]  # whether text and thoughts of the item at hand have come in deltas
        self._thought: tuple[object, ...] | None = None  # the part that the last thought belongs to
        self._finish = ""
        self._usage: Any = None
        self._model = ""

    # ---- streams

    @override
    def _stream(self, data: bytes, out: list[Event]) -> None:
        """Read past the lines that name an event, which the event itself does: so it is split as quickly as any."""
        begins, self._begins = self._begins, data[-1:] == b"\n"
        if begins and data[:_TEXT_SIZE] == _TEXT:
            data = data[_TEXT_SIZE - 6 :]
            if data.count(b"\n") > 2:
                data = _NAMES.sub(b"\n", data)
        super()._stream(data, out)

    @override
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        depth = self._limits.json_depth
        shallow = 2 * depth + 1
        shown = self._shown
        for payload in payloads:
            try:
                if len(payload) > shallow:
                    check_depth(payload, depth)
                event = _decode(payload)
            except (ValueError, RecursionError, OverflowError) as error:
                if self._not_json(payload, out, error):
                    return
                continue
            delta = event.delta
            if event.type == "response.output_text.delta" and type(delta) is str:
                shown[0] = True
                if delta:
                    out.append(TextDelta(delta))
                continue
            self._event(event, payload, out)
            if self.finished:
                return

    def _not_json(self, payload: bytes, out: list[Event], error: Exception) -> bool:
        """Whether the payload was an end of the stream; blank ones are keep-alives; anything else is a fault."""
        text = payload.strip()
        if text == b"[DONE]":  # the protocol has none, but some servers end all their streams so
            self._finished(out)
            return True
        if isinstance(payload, NamedData) and payload.name == "error":
            raise self._reported(Problem(message=text.decode()))
        if text:
            raise ProtocolError(f"{self._who()} sent an event that cannot be read: {error}")
        return False

    def _event(self, event: _Event, payload: bytes, out: list[Event]) -> None:
        """Any event but a piece of text. Unknown ones, of tools that run at the provider, are no part of the answer."""
        kind = event.type or ("error" if isinstance(payload, NamedData) and payload.name == "error" else "")
        if kind.endswith(".delta"):
            self._delta(kind, event, out)
        elif kind == "response.output_item.added":
            self._begun(event, out)
        elif kind == "response.output_item.done":
            if isinstance(event.item, dict):
                self._items[self._place(event)] = event.item
                self._rest_of(event.item, self._place(event), out)
        elif kind == "response.function_call_arguments.done":
            self._calls.whole(self._place(event), "", "", event.arguments, out)
        elif kind in ("response.created", "response.in_progress", "response.queued"):
            if isinstance(event.response, dict):
                self._about(event.response)
        elif kind in ("response.completed", "response.incomplete", "response.failed", "response.cancelled"):
            response = event.response if isinstance(event.response, dict) else {}
            self._response({"status": kind.partition(".")[2], **response}, out)
            self._finished(out)
        elif kind == "error" or event.error:
            raise self._reported(_problem(decode_lenient(payload)))

    def _delta(self, kind: str, event: _Event, out: list[Event]) -> None:
        delta = event.delta
        if kind == "response.function_call_arguments.delta":
            self._calls.piece(self._place(event), delta, out)
            return
        if kind not in _TEXTS and kind not in _THOUGHTS:
            return
        if not isinstance(delta, str):
            raise ProtocolError(f"{self._who()} sent a piece of text that is none.")
        if kind in _TEXTS:
            self._text(delta, out)
            self._shown[0] = True
        else:
            self._think(delta, (kind, event.output_index, event.part_index, event.content_index), out)
            self._shown[1] = True

    def _begun(self, event: _Event, out: list[Event]) -> None:
        item = event.item
        if not isinstance(item, dict):
            return
        if item.get("type") == "function_call":
            self._calls.begin(self._place(event), _string(item.get("call_id")), _string(item.get("name")), out)
        else:
            self._shown[item.get("type") == "reasoning"] = False

    def _place(self, event: _Event) -> int:
        return -1 if event.output_index is None else event.output_index

    @override
    def ended(self, out: list[Event]) -> None:
        raise TruncatedStream(f"{self._who()} closed the connection before its answer was complete.")

    # ---- whole answers, and wholes inside of streams

    @override
    def body(self, body: bytes, out: list[Event]) -> None:
        response = decode_body(_decode_response, body, self._limits.json_depth)
        if not isinstance(response.get("output"), list) and response.get("status") != "failed":
            if problem_of(response) is not None:
                raise self._reported(_problem(response))
            raise ProtocolError(f"{self._who()} sent JSON that is no response of its protocol. Check the address.")
        if response.get("status") in ("queued", "in_progress"):
            raise ProtocolError(f"{self._who()} sent a response that it has not finished.")
        self._response(response, out)
        self._finished(out)

    def _response(self, response: dict[str, Any], out: list[Event]) -> None:
        """The object that ends a stream or is the whole answer: what it says of itself, and items not seen yet."""
        self._about(response)
        status = response.get("status")
        if status == "failed" or response.get("error"):
            raise self._reported(_problem(response))
        if not self._items:
            output = response.get("output")
            for place, item in enumerate(output if isinstance(output, list) else ()):
                if isinstance(item, dict):
                    self._items[place] = item
                    self._rest_of(item, place, out)
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            self._finish = _INCOMPLETE.get(_string(reason), "length")
        elif status == "cancelled":
            self._finish = "cancelled"

    def _about(self, response: dict[str, Any]) -> None:
        self._model = _string(response.get("model")) or self._model
        self._usage = response.get("usage") or self._usage

    def _rest_of(self, item: dict[str, Any], place: int, out: list[Event]) -> None:
        """What of a finished item has not come in deltas."""
        kind = item.get("type")
        if kind == "function_call":
            call_id, name = _string(item.get("call_id")), _string(item.get("name"))
            self._calls.whole(place, call_id, name, item.get("arguments"), out)
        elif kind == "reasoning":
            if not self._shown[1]:
                for field in ("summary", "content"):
                    for number, part in enumerate(_dicts(item.get(field))):
                        self._think(_string(part.get("text")), (field, place, number), out)
            self._shown[1] = False
        elif kind == "message":
            if not self._shown[0]:
                for part in _dicts(item.get("content")):
                    self._text(_string(part.get("text")) or _string(part.get("refusal")), out)
            self._shown[0] = False

    def _text(self, text: str, out: list[Event]) -> None:
        if text:
            out.append(TextDelta(text))

    def _think(self, text: str, part: tuple[object, ...], out: list[Event]) -> None:
        if text:
            apart = self._thought is not None and self._thought != part
            self._thought = part
            out.append(ThoughtDelta(_BETWEEN + text if apart else text))

    def _finished(self, out: list[Event]) -> None:
        items = [item for _, item in sorted(self._items.items())]
        if any(item.get("type") == "reasoning" and item.get("encrypted_content") for item in items):
            out.append(Native(PROTOCOL, items))
        usage = self._usage if isinstance(self._usage, dict) else {}
        named = {"prompt_tokens": usage.get("input_tokens"), "completion_tokens": usage.get("output_tokens")}
        counts = usage_of({**named, "total_tokens": usage.get("total_tokens")})
        finish = self._finish or ("tool_calls" if self._calls else "stop")
        out.append(Done(finish, counts, self._model, self._receipt))
        self.finished = True

    def _reported(self, problem: Problem) -> LollmsError:
        return error_of(problem, name=self._name, secrets=self._secrets)

    def _who(self) -> str:
        return self._name or "The backend"


_TEXTS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THOUGHTS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})


class _Calls:
    """Calls of functions while their pieces arrive: gives each its place, and says its id, name and arguments once."""

    __slots__ = ("_named", "_places", "_whole")

    def __init__(self) -> None:
        self._places: dict[int, int] = {}  # the place in the output -> the place among the calls
        self._named: set[int] = set()
        self._whole: set[int] = set()  # those whose arguments have come, in pieces or not

    def __bool__(self) -> bool:
        return bool(self._places)

    def begin(self, at: int, call_id: str, name: str, out: list[Event]) -> int:
        """A call is announced. Its place among the calls."""
        place = self._places.setdefault(at, len(self._places))
        if (call_id or name) and place not in self._named:
            self._named.add(place)
            out.append(ToolCallDelta(place, call_id, name))
        return place

    def piece(self, at: int, arguments: object, out: list[Event]) -> None:
        """A piece of the arguments."""
        place = self.begin(at, "", "", out)
        if isinstance(arguments, str) and arguments:
            self._whole.add(place)
            out.append(ToolCallDelta(place, arguments=arguments))

    def whole(self, at: int, call_id: str, name: str, arguments: object, out: list[Event]) -> None:
        """All of a call, or all of its arguments."""
        place = self.begin(at, call_id, name, out)
        if place in self._whole or arguments is None:
            return
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        if text:
            self._whole.add(place)
            out.append(ToolCallDelta(place, arguments=text))


def _problem(said: object) -> Problem:
    """What an event or a failed response says is wrong: in `error`, or beside its type."""
    problem = problem_of(said) or Problem(type="server_error")
    kind = _PROBLEMS.get(problem.code) or ("invalid_request_error" if "image" in problem.code else "")
    return msgspec.structs.replace(problem, type=kind) if kind else problem


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
