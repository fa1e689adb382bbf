"""The protocol of the older lollms web UI: calls to requests for /lollms_generate, and its plain-text answers back.

The server continues a text (see `prompt_text`). Images go beside the prompt, as base64 in a list, to a route of their
own.

The answer is the text and nothing else: no end mark, no reason why it ended, no counts. The content type tells its
form. `text/plain` is text, and so is `text/event-stream`, which that server writes over its streams although no event
is in them. `application/json` is an error (with status 200), or a text in quotes from early versions. In a text nothing
is taken for an error, whatever it looks like, because a model may have been asked for just that. An answer is complete
when its body is; a cut connection is found by the transport, and a cut character here.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import (
    LollmsError,
    ProtocolError,
    ReplyTooLarge,
    TruncatedStream,
    UnsupportedFeature,
    UpstreamFailed,
)
from lollms_core.protocols.base import HttpRequest, Limits, Reader, Target
from lollms_core.protocols.codec import OneRequestCodec
from lollms_core.protocols.http_errors import error_of, not_the_protocol, problem_of
from lollms_core.protocols.json_limits import decode_body
from lollms_core.protocols.outgoing import encode_json, finite, headers_for
from lollms_core.protocols.prompt_text import continuation
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import Batch, Done, Event, GenerationCall, Params, ReceiptItem

__all__ = ["LollmsWebuiCodec", "LollmsWebuiReader", "reported", "webui_request"]

_FIELDS: Mapping[str, str] = {
    "max_tokens": "n_predict",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "seed": "seed",
    "n_threads": "n_threads",
}
"""The names of `Params`, and what the web UI calls them."""

_NAME = "The lollms web UI"
_SNIPPET = 1024
_TEXT = ("text/plain", "text/event-stream", "application/octet-stream", "")

_anything = msgspec.json.Decoder().decode


class LollmsWebuiCodec(OneRequestCodec):
    """Text generation by a lollms web UI. The target's option `personality` is the number of a mounted personality."""

    @override
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """The POST whose answer the reader reads.

        Raises `UnsupportedFeature` for tools, schemas, and images outside of the user's messages, `InvalidRequest` for
        values that cannot be sent, `ConfigError` for a key that cannot be a header.
        """
        if call.tools:
            raise UnsupportedFeature("A lollms web UI cannot call tools. Ask without them, or use another backend.")
        if call.schema is not None:
            raise UnsupportedFeature("A lollms web UI cannot be held to a JSON Schema. Use another backend.")
        fields, receipt = self.plan(call.params)
        body: dict[str, Any] = {"prompt": continuation(call.messages, _NAME), "stream": call.stream, **fields}
        if model := call.model or target.model:
            body["model_name"] = model
        if (personality := target.options.get("personality")) is not None:
            body["personality"] = personality
        if images := [image for message in call.messages for image in message.images]:
            body["images"] = [base64.b64encode(image.data).decode("ascii") for image in images]
            return webui_request(target, "/lollms_generate_with_images", body, "text/plain", receipt)
        return webui_request(target, "/lollms_generate", body, "text/plain", receipt)

    def plan(self, params: Params) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """The parameters as the web UI names them, and what was not done as asked."""
        given = finite(params)
        dropped = [*(name for name in given if name not in _FIELDS), *params.extra]
        reason = "a lollms web UI has no such parameter"
        return (
            {_FIELDS[name]: value for name, value in given.items() if name in _FIELDS},
            tuple(ReceiptItem(name, "dropped", reason) for name in dropped),
        )

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        return LollmsWebuiReader(content_type, **told)


class LollmsWebuiReader:
    """The reader of one answer (see the module). `secrets` are taken out of the messages of errors.

    Attributes: `error` is the fault behind the events last returned, `finished` is true once nothing more can come.
    """

    __slots__ = (
        "_buffer",
        "_decoder",
        "_form",
        "_kind",
        "_limits",
        "_name",
        "_receipt",
        "_secrets",
        "_splitter",
        "error",
        "finished",
    )

    def __init__(
        self,
        content_type: str,
        *,
        limits: Limits,
        receipt: tuple[ReceiptItem, ...] = (),
        name: str = "",
        secrets: Iterable[str] = (),
    ) -> None:
        self._kind = content_type
        self._form = _form_of(content_type)
        self._limits = limits
        self._receipt = receipt
        self._name = name or _NAME
        self._secrets = tuple(secrets)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._splitter = ThoughtSplitter()
        self._buffer = bytearray()  # of an answer that is no text
        self.error: LollmsError | None = None
        self.finished = False

    def feed(self, data: bytes) -> Batch:
        """Events that are complete with this data; raises what `error` held, or a fault at the head of `data`."""
        if self.error is not None:
            raise self.error
        if self.finished or not data:
            return ()
        out: list[Event] = []
        try:
            if self._form == "text":
                self._text(data, out)
            else:
                self._collect(data)
        except LollmsError as error:
            self.error = error
        if self.error is not None and not out:
            raise self.error
        return out

    def close(self) -> Batch:
        """The body has ended: the remaining events. Raises `TruncatedStream` and what `error` held."""
        if self.error is not None:
            raise self.error
        if self.finished:
            return ()
        out: list[Event] = []
        try:
            if self._form == "text":
                if self._decoder.getstate()[0]:
                    raise TruncatedStream(f"{self._name} closed the connection in the middle of a character.")
            else:
                out += self._splitter.feed(self._whole(bytes(self._buffer)))
        except LollmsError as error:
            self.error = error
            raise
        out += self._splitter.close()
        out.append(Done(receipt=self._receipt))
        self.finished = True
        return out

    def _text(self, data: bytes, out: list[Event]) -> None:
        try:
            out += self._splitter.feed(self._decoder.decode(data))
        except UnicodeDecodeError as error:
            good: bytes = error.object[: error.start]
            out += self._splitter.feed(good.decode())
            raise ProtocolError(f"{self._name} sent bytes that are not UTF-8 text.") from None

    def _collect(self, data: bytes) -> None:
        if len(self._buffer) + len(data) > self._limits.reply_bytes:
            self._buffer.clear()
            raise ReplyTooLarge(f"{self._name} sent an answer of more than {self._limits.reply_bytes:,} bytes.")
        self._buffer += data
        if self._form == "other" and len(self._buffer) >= _SNIPPET:
            raise self._foreign(bytes(self._buffer))

    def _whole(self, body: bytes) -> str:
        """The text of a JSON body; raises the error that it is."""
        said = body.removeprefix(b"\xef\xbb\xbf").strip()
        if self._form == "other" or not said.startswith((b'"', b"{", b"n")):
            raise self._foreign(body) if said or self._form == "other" else self._cut()
        if said.startswith(b"{") and not said.endswith(b"}"):
            raise self._cut()
        value = decode_body(_anything, said, self._limits.json_depth)
        if isinstance(value, str):
            return value
        if value is None:
            raise UpstreamFailed(f"{self._name} has no model loaded. Choose a model there first.")
        raise reported(value, self._name, self._secrets) or self._foreign(body)

    def _cut(self) -> TruncatedStream:
        return TruncatedStream(f"{self._name} closed the connection before its answer was complete.")

    def _foreign(self, body: bytes) -> ProtocolError:
        return not_the_protocol(self._kind, body[:_SNIPPET], self._name, self._secrets)


def webui_request(
    target: Target,
    path: str,
    body: object = None,
    accept: str = "application/json",
    receipt: tuple[ReceiptItem, ...] = (),
) -> HttpRequest:
    """A request to a lollms web UI: a POST of `body` as JSON, a GET without one.

    Raises `InvalidRequest` for values that cannot be sent, `ConfigError` for a key that cannot be a header.
    """
    headers = headers_for(target, accept, "authorization")
    if body is not None:
        headers["content-type"] = "application/json"
    return HttpRequest(
        "GET" if body is None else "POST",
        target.base_url + path,
        headers,
        b"" if body is None else encode_json(body),
        target.timeouts,
        target.verify_tls,
        receipt,
    )


def reported(value: object, name: str, secrets: Iterable[str] = ()) -> LollmsError | None:
    """The error that a JSON answer with status 200 is; None if it is none."""
    failed = isinstance(value, dict) and (value.get("status") is False or "error" in value or "detail" in value)
    problem = problem_of(value) if failed else None
    if failed and problem is None:
        return UpstreamFailed(f"{name} reported an error and did not say which. Look into its log.")
    return error_of(problem, name=name, secrets=secrets) if problem is not None else None


def _form_of(content_type: str) -> str:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _TEXT:
        return "text"
    return "json" if kind == "application/json" or kind.endswith("+json") else "other"
