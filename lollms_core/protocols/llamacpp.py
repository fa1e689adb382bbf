"""llama.cpp's own server: the OpenAI chat protocol, held so that a request can be stopped at any time.

The server notices that its client has gone only when it writes. So it is always asked for a stream, also when the
caller wants the answer in one piece (the events fold to the same reply), and for a progress report after every batch of
the prompt (`return_progress`), the first of which comes at once. Together with a small batch, which the engine is
started with, this reads a long prompt in stages: a request that is closed stops at the end of the stage it is in or of
the next one, and the engine can let another prompt be read between two stages. Without the reports a closed request is
read to its end, which takes tens of seconds for a long prompt.

Images go the same way, as `data:` URLs: the stage that holds an image takes as long as encoding it does, and a prompt
that made way keeps the images it has read. PNG, JPEG and GIF are read by llama.cpp itself. For WebP it would start
whatever is called ffprobe on this machine and give the bytes to that, or fail where there is no such program; so WebP
is refused here.

The other way to read in stages would be to send the prompt's tokens piece by piece before the request. It costs a
request for each stage and two more, has to know what the slot still remembers or it throws that away, and images, which
have no tokens to send, cannot be staged at all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from typing_extensions import override

from lollms_core.errors import ContextTooLong, InvalidRequest, LollmsError, ProtocolError
from lollms_core.protocols.base import HttpRequest, HttpResponse, Reader, Target
from lollms_core.protocols.dialects import LLAMACPP
from lollms_core.protocols.json_limits import decode_body, decode_lenient
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.openai_reader import ChatReader
from lollms_core.protocols.outgoing import encode_json, headers_for
from lollms_core.types import Event, GenerationCall, ModelInfo, Progress, ReceiptItem

__all__ = [
    "LlamaCppCodec",
    "detokenize_request",
    "parse_props",
    "parse_text",
    "parse_tokens",
    "props_request",
    "tokenize_request",
]


OnReport: TypeAlias = Callable[[int, int], bool]
"""Is told how many tokens of the prompt are read, and how many it has; says whether that is news in any case."""


def _nobody(read: int, total: int) -> bool:
    return False


_READABLE = ("image/png", "image/jpeg", "image/gif")


class LlamaCppCodec(ChatCodec):
    """Text generation by llama.cpp. `target.options["id_slot"]` is the slot to use, if it is there.

    `images` and `tools` say whether the model can be given them; if not, a call with them is refused.
    """

    def __init__(self, *, images: bool = True, tools: bool = True) -> None:
        super().__init__(msgspec.structs.replace(LLAMACPP, images=images, tools=tools))
        self._on_report: OnReport = _nobody

    def reporting(self, on_report: OnReport) -> LlamaCppCodec:
        """The same codec, whose readers also tell how many tokens of the prompt are read, and how many it has.

        They tell it at once when the engine begins with the prompt, and after each stage.
        """
        codec = copy.copy(self)
        codec._on_report = on_report
        return codec

    @override
    def body(
        self, call: GenerationCall, target: Target, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        for image in (image for message in call.messages for image in message.images):
            if image.mime not in _READABLE:
                raise InvalidRequest(
                    f"llama.cpp does not read {image.mime[:100]}. Send the image as one of: {', '.join(_READABLE)}."
                )
        body, receipt = super().body(call, target, params)
        body["return_progress"] = True
        if (slot := target.options.get("id_slot")) is not None:
            body["id_slot"] = slot
        return body, receipt

    @override
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        return super().request(msgspec.structs.replace(call, stream=True), target)

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        return _LlamaCppReader(content_type, think_tags=self.dialect.think_tags, on_report=self._on_report, **told)

    @override
    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        error = super().error(response, target)
        if isinstance(error, ContextTooLong):
            return _with_counts(error, decode_lenient(response.body))
        return error


def _with_counts(error: ContextTooLong, body: object) -> ContextTooLong:
    details = body.get("error") if isinstance(body, dict) else None
    if not isinstance(details, dict):
        return error
    asked, room = details.get("n_prompt_tokens"), details.get("n_ctx")
    if not isinstance(asked, int) or not isinstance(room, int):
        return error
    return ContextTooLong(
        f"The conversation has {asked:,} tokens and the model's context holds {room:,}. Shorten it, or set a larger "
        "context_size if the model allows it.",
        status=error.status,
        upstream_code=error.upstream_code,
        provider=error.provider,
    )


# ---- progress of the prompt ----------------------------------------------------------------------------------------


class _PromptProgress(msgspec.Struct):
    total: int
    processed: int
    cache: int = 0


class _ProgressChunk(msgspec.Struct):
    prompt_progress: _PromptProgress | None = None


_progress_chunk = msgspec.json.Decoder(_ProgressChunk).decode


class _LlamaCppReader(ChatReader):
    """Turns the reports on the prompt into `Progress` events; after the prompt it is just a `ChatReader`."""

    __slots__ = ("_in_prompt", "_on_report")

    def __init__(self, content_type: str, *, on_report: OnReport, **options: Any) -> None:
        super().__init__(content_type, **options)
        self._in_prompt = True
        self._on_report = on_report

    @override
    def payloads(self, payloads: Sequence[bytes], out: list[Event]) -> None:
        if self._in_prompt:
            for place, payload in enumerate(payloads):
                if b'"prompt_progress"' not in payload:
                    self._in_prompt = False
                    payloads = payloads[place:]
                    break
                self._report(payload, out)
            else:
                return
        super().payloads(payloads, out)

    def _report(self, payload: bytes, out: list[Event]) -> None:
        progress = decode_body(_progress_chunk, payload, self._limits.json_depth).prompt_progress
        if progress is None:
            return
        news = self._on_report(progress.processed, progress.total)
        if (news or progress.cache < progress.processed) and progress.processed < progress.total:
            fraction = progress.processed / progress.total
            out.append(Progress("prefill", f"Read {progress.processed:,} of {progress.total:,} tokens.", fraction))


# ---- tokens and facts ----------------------------------------------------------------------------------------------


def _post(target: Target, path: str, body: object) -> HttpRequest:
    headers = headers_for(target, "application/json", LLAMACPP.key_header)
    headers["content-type"] = "application/json"
    return HttpRequest("POST", target.base_url + path, headers, encode_json(body), target.timeouts, target.verify_tls)


def tokenize_request(target: Target, text: str, *, markers: bool = False) -> HttpRequest:
    """Ask for the tokens of a text, without a beginning-of-text token.

    Special tokens are read as plain text, unless the text is one of the model's own `markers`.
    """
    return _post(target, "/tokenize", {"content": text, "add_special": False, "parse_special": markers})


def detokenize_request(target: Target, tokens: Sequence[int]) -> HttpRequest:
    """Ask for the text of tokens."""
    return _post(target, "/detokenize", {"tokens": list(tokens)})


def props_request(target: Target) -> HttpRequest:
    """Ask for what the server says of itself and its model."""
    headers = headers_for(target, "application/json", LLAMACPP.key_header)
    return HttpRequest("GET", target.base_url + "/props", headers, b"", target.timeouts, target.verify_tls)


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Content(msgspec.Struct):
    content: str


_tokens = msgspec.json.Decoder(_Tokens).decode
_content = msgspec.json.Decoder(_Content).decode


def parse_tokens(response: HttpResponse) -> list[int]:
    """The answer to `tokenize_request`. Raises `ProtocolError`."""
    return decode_body(_tokens, response.body).tokens


def parse_text(response: HttpResponse) -> str:
    """The answer to `detokenize_request`. Raises `ProtocolError`."""
    return decode_body(_content, response.body).content


def parse_props(response: HttpResponse, name: str) -> ModelInfo:
    """The answer to `props_request`: facts of the model `name`; its context is that of one slot.

    Raises `ProtocolError`.
    """
    props = decode_lenient(response.body)
    if not isinstance(props, dict):
        raise ProtocolError("The llama.cpp server sent something else than its properties.")
    context = _object(props, "default_generation_settings").get("n_ctx")
    modalities, template = _object(props, "modalities"), _object(props, "chat_template_caps")
    kept = ("total_slots", "model_ftype", "modalities", "chat_template_caps", "bos_token", "eos_token")
    return ModelInfo(
        name=name,
        context_size=context if isinstance(context, int) and context > 0 else None,
        supports_vision=modalities.get("vision") is True,
        supports_audio=modalities.get("audio") is True,
        supports_tools=template.get("supports_tools") is True,
        details={field: props[field] for field in kept if field in props},
    )


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}
