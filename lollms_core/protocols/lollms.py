"""The client's side of the native wire: how a lollms server is asked, and how its answers and errors are read.

The server does what this codec cannot know (which binding, which model, which parameters exist), so everything is sent
by its documented name, and what the server drops comes back in its receipt. Errors of the server come back as the same
class here, by their stable code; only a refused key becomes `AuthFailed`, with words for the person who can set it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import (
    AuthFailed,
    InstanceUnavailable,
    InvalidRequest,
    KeyMissing,
    KeyRejected,
    LollmsError,
    ProtocolError,
    TooManyRequests,
    TruncatedStream,
    UpstreamFailed,
    error_for_code,
    meaning,
)
from lollms_core.protocols.base import HttpRequest, HttpResponse, Limits, Reader, Target
from lollms_core.protocols.codec import OneRequestCodec
from lollms_core.protocols.http_errors import http_error, scrub, secrets_of
from lollms_core.protocols.json_limits import check_depth, decode_body, decode_lenient
from lollms_core.protocols.lollms_input import InputItem, decode_base64, items_of
from lollms_core.protocols.lollms_wire import GenerateResponse, OutputItem, StreamChunk
from lollms_core.protocols.openai_reader import usage_of
from lollms_core.protocols.outgoing import encode_json, finite, headers_for
from lollms_core.protocols.reading import AnswerReader
from lollms_core.protocols.retry import RetryPolicy, parse_retry_after
from lollms_core.types import (
    Done,
    Event,
    GenerationCall,
    Item,
    Media,
    Native,
    Notice,
    Output,
    Partial,
    Progress,
    ReceiptItem,
    TextDelta,
    ThoughtDelta,
    ToolCallDelta,
)

__all__ = ["LollmsCodec", "LollmsReader", "lollms_headers"]

_CALL_PATH = "/api/v1/generate"
_WIRE_NAMES = {"ctx_size": "context_size"}
"""Parameters that have another name on the wire than in `Params`."""


class LollmsCodec(OneRequestCodec):
    """Text generation by a lollms server. The target's options may name an `instance` and a `personality`."""

    # A failure of the backend behind that server is final: the server has tried again itself.
    retry = RetryPolicy(not_now=(TooManyRequests, InstanceUnavailable))

    @override
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """The POST whose answer the reader reads.

        Raises `InvalidRequest` for values that cannot be sent, `UnsupportedFeature` for images outside of the user's
        messages, `ConfigError` for a key that cannot be a header.
        """
        headers = lollms_headers(target, "text/event-stream" if call.stream else "application/json")
        headers["content-type"] = "application/json"
        items, receipt = items_of(call.messages)
        body = encode_json(_body(call, items, target))
        url = target.base_url + _CALL_PATH
        return HttpRequest("POST", url, headers, body, target.timeouts, target.verify_tls, receipt)

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        told["name"] = told["name"] or "The lollms server"
        return LollmsReader(content_type, **told)

    @override
    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error for a response whose status is not 2xx: the server's own class, told by the code it sends."""
        body = decode_lenient(response.body)
        kind = error_for_code(str(body.get("code", ""))) if isinstance(body, dict) else None
        unknown_refusal = kind is None and response.status in (401, 403)
        if unknown_refusal or kind in (KeyMissing, KeyRejected):
            error: LollmsError = AuthFailed(_key_words(target), status=response.status)
        elif kind is None or not isinstance(body, dict):
            return http_error(response, target)
        else:
            error = kind(scrub(_detail(body), secrets_of(target)), status=response.status)
        if isinstance(body, dict):
            error.request_id = scrub(str(body.get("request_id") or ""), length=100)
        error.provider = target.provider
        error.retry_after = parse_retry_after(response.headers, time.time())
        return error


def lollms_headers(target: Target, accept: str = "application/json") -> dict[str, str]:
    """The headers of any request to a lollms server. Raises `ConfigError` for a key that cannot be a header."""
    return headers_for(target, accept, "x-api-key")


def _body(call: GenerationCall, items: Sequence[InputItem], target: Target) -> dict[str, Any]:
    parameters = {_WIRE_NAMES.get(name, name): value for name, value in finite(call.params).items()}
    body: dict[str, Any] = {
        "input_data": items,
        "generation_type": "ttt",
        "stream": call.stream,
        "parameters": {**call.params.extra, **parameters},
    }
    named = {
        "model_name": call.model or target.model,
        "binding_name": target.options.get("instance"),
        "personality": target.options.get("personality"),
    }
    body.update((name, value) for name, value in named.items() if value)
    if call.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in call.tools
        ]
    if call.schema is not None:
        body["response_schema"] = call.schema
    return body


def _key_words(target: Target) -> str:
    if target.key:
        return (
            f"The lollms server at {target.base_url} rejected the key. Pass the right one as service_key, or set the "
            "environment variable LOLLMS_API_KEY to it."
        )
    return (
        f"The lollms server at {target.base_url} needs a key. Pass it as service_key, or set the environment variable "
        "LOLLMS_API_KEY to it; the server showed the key at its first start."
    )


def _detail(body: Mapping[str, Any]) -> str:
    """The server's sentence, with the places that a 422 names."""
    errors = body.get("errors")
    places = [
        f"{'.'.join(str(step) for step in error.get('loc') or ())}: {error.get('msg', '')}"
        for error in (errors if isinstance(errors, list) else [])[:3]
        if isinstance(error, dict)
    ]
    return " ".join([str(body.get("detail") or "The lollms server reported an error."), *places])


# ---- answers -------------------------------------------------------------------------------------------------------

_decode_chunk = msgspec.json.Decoder(StreamChunk).decode
_decode_response = msgspec.json.Decoder(GenerateResponse).decode


class LollmsReader(AnswerReader):
    """The reader of one answer. What came in chunks is not taken again from `final`; what did not, is."""

    __slots__ = ("_calls", "_failure", "_receipt", "_text", "_thoughts")

    def __init__(
        self,
        content_type: str,
        *,
        limits: Limits,
        receipt: tuple[ReceiptItem, ...] = (),
        name: str = "The lollms server",
        secrets: Sequence[str] = (),
    ) -> None:
        super().__init__(content_type, limits, name, secrets)
        self._receipt = receipt
        self._text = False  # whether any came in chunks
        self._thoughts = False
        self._calls = 0
        self._failure: LollmsError | None = None

    @override
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        depth = self._limits.json_depth
        shallow = 2 * depth + 1
        for payload in payloads:
            try:
                if len(payload) > shallow:
                    check_depth(payload, depth)
                chunk = _decode_chunk(payload)
            except (ValueError, RecursionError, OverflowError) as error:
                if payload.strip():
                    raise ProtocolError(f"{self._name} sent an event that cannot be read: {error}") from None
                continue
            text = chunk.content
            if chunk.type == "chunk" and type(text) is str and chunk.thoughts is None:
                if text:
                    self._text = True
                    out.append(TextDelta(text))
                continue
            self._chunk(chunk, out)
            if self.finished:
                return

    def _chunk(self, chunk: StreamChunk, out: list[Event]) -> None:
        if chunk.type == "chunk":
            if chunk.thoughts:
                self._thoughts = True
                out.append(ThoughtDelta(chunk.thoughts))
            if isinstance(chunk.content, str) and chunk.content:
                self._text = True
                out.append(TextDelta(chunk.content))
        elif chunk.type == "info":
            out.append(_info(chunk))
        elif chunk.type == "function_call":
            out.append(self._call(chunk.content))
        elif chunk.type == "error":
            self._failure = self._failure or self._typed(chunk.content, chunk.metadata or {})
        elif chunk.type == "final":
            self._final(chunk, out)

    def _final(self, chunk: StreamChunk, out: list[Event]) -> None:
        metadata = chunk.metadata or {}
        try:
            items = msgspec.convert(chunk.content or [], list[OutputItem])
        except msgspec.ValidationError as error:
            raise ProtocolError(f"{self._name} sent an output that cannot be read: {error}") from None
        self._items(items, out)
        if self._failure is None and metadata.get("status") == "failed":
            self._failure = UpstreamFailed(f"{self._name} failed without saying why. Look into its log.")
        self._end(items, out)

    def _end(self, items: Sequence[OutputItem], out: list[Event]) -> None:
        if self._failure is not None:
            raise self._failure
        about = _about(items)
        if (native := _native(about.get("native"))) is not None:
            out.append(native)
        out.append(_done(about, self._receipt))
        self.finished = True

    @override
    def body(self, body: bytes, out: list[Event]) -> None:
        response = decode_body(_decode_response, body, self._limits.json_depth)
        if not response.output:
            raise ProtocolError(f"{self._name} sent JSON that is no answer of /generate. Check the address.")
        self._items(response.output, out)
        self._end(response.output, out)

    @override
    def ended(self, out: list[Event]) -> None:
        raise self._failure or TruncatedStream(f"{self._name} closed the connection before its answer was complete.")

    def _items(self, items: Sequence[OutputItem], out: list[Event]) -> None:
        """The events of an output, without those that came in chunks."""
        calls, pieces = 0, []
        for item in items:
            if item.type == "error":
                self._failure = self._failure or self._typed(item.data, item.metadata or {})
            elif _is_call(item):
                calls += 1
                if calls > self._calls or (item.metadata or {}).get("kind") == "broken_tool_call":
                    out.append(self._call(item.data))
            else:
                pieces.append(item)
        if all(piece.type in ("image", "audio", "video") for piece in pieces[1:]) and (
            not pieces or pieces[0].type in ("text", "image", "audio", "video")
        ):
            self._plain(pieces, out)
        else:
            out.append(Output(tuple(map(_piece, pieces)), replaces=self._text or self._thoughts))

    def _plain(self, pieces: Sequence[OutputItem], out: list[Event]) -> None:
        """An answer of one text and media, as nearly all are."""
        for piece in pieces:
            if piece.thoughts and not self._thoughts:
                out.append(ThoughtDelta(piece.thoughts))
            if piece.type != "text":
                out.append(_media(piece))
            elif not self._text and isinstance(piece.data, str) and piece.data:
                out.append(TextDelta(piece.data))

    def _call(self, data: object) -> ToolCallDelta:
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            raise ProtocolError(f"{self._name} sent a tool call without a name.")
        raw = data.get("arguments")
        arguments = raw if isinstance(raw, str) else encode_json(raw or {}).decode()
        place = self._calls
        self._calls += 1
        return ToolCallDelta(place, str(data.get("id") or ""), data["name"], arguments)

    def _typed(self, message: object, metadata: Mapping[str, Any]) -> LollmsError:
        kind = error_for_code(str(metadata.get("code", ""))) or UpstreamFailed
        if kind in (KeyMissing, KeyRejected):  # the key was revoked while it was used
            kind = AuthFailed
        return kind(
            scrub(message if isinstance(message, str) else "", self._secrets) or f"{self._name} reported an error.",
            status=meaning(kind).http_status,  # as if it had come before the stream
            upstream_code=scrub(str(metadata.get("upstream_code") or ""), self._secrets, 100),
            param=scrub(str(metadata.get("param") or ""), self._secrets, 100),
            retry_after=_number(metadata.get("retry_after")),
        )


def _info(chunk: StreamChunk) -> Progress | Partial | Notice:
    metadata = chunk.metadata or {}
    text = chunk.content if isinstance(chunk.content, str) else ""
    kind, data = metadata.get("kind"), metadata.get("data")
    if kind == "partial":
        return Partial(data)
    if isinstance(kind, str) and kind and kind != "notice":
        position, fraction = metadata.get("position"), metadata.get("fraction")
        return Progress(
            kind,
            text,
            _number(fraction),
            position if isinstance(position, int) else None,
            data if isinstance(data, dict) else {},
        )
    return Notice(str(metadata.get("level") or "info"), text, data if isinstance(data, dict) else {})


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e18 else None


def _is_call(item: OutputItem) -> bool:
    return item.type == "json" and (item.metadata or {}).get("kind") in ("tool_call", "broken_tool_call")


def _piece(item: OutputItem) -> Item:
    own = {name: value for name, value in (item.metadata or {}).items() if name not in _ABOUT}
    return Item(item.type, item.data, item.mime_type, item.thoughts, own)


_ABOUT = ("model_used", "finish_reason", "usage", "receipt", "native")


def _media(item: OutputItem) -> Media:
    mime = item.mime_type or {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}[item.type]
    try:
        return Media(decode_base64(str(item.data or ""), "output"), mime)
    except InvalidRequest:
        raise ProtocolError("The lollms server sent media that is not valid base64.") from None


def _about(items: Sequence[OutputItem]) -> Mapping[str, Any]:
    """What the metadata say of the whole; the first item that knows a finish reason speaks, else the first."""
    known = [item.metadata or {} for item in items]
    return next((metadata for metadata in known if metadata.get("finish_reason")), known[0] if known else {})


def _native(given: object) -> Native | None:
    """The turn in its provider's own form; None where there is none that can be given back."""
    try:
        return msgspec.convert(given, Native) if given is not None else None
    except msgspec.ValidationError:
        return None


def _done(about: Mapping[str, Any], receipt: tuple[ReceiptItem, ...]) -> Done:
    dropped = about.get("receipt")
    try:
        theirs = tuple(msgspec.convert(dropped or [], list[ReceiptItem]))
    except msgspec.ValidationError:
        theirs = ()
    finish, model = about.get("finish_reason"), about.get("model_used")
    return Done(
        finish if isinstance(finish, str) else "",
        usage_of(about.get("usage")),
        model if isinstance(model, str) else "",
        theirs + receipt,
    )
