"""Hugging Face: Inference Providers behind their router, and Inference Endpoints of one's own.

Models that chat are asked over an OpenAI-compatible route, `HUGGING_FACE` being its row; `model:provider` chooses who
answers, and `:fastest` or `:cheapest` how that is chosen. Models that only continue a text are asked with the
text-generation task, as `TextTaskCodec` does: `inputs` and `parameters` in, tokens out. Both were written from
https://huggingface.co/docs/inference-providers and https://huggingface.co/docs/text-generation-inference.

An address is one of three: that of the router (which may end in `/v1`); one that ends in `/hf-inference` or `/models`,
where each model has a path of its own; or that of an endpoint, which serves one model at its root, with or without
`/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, LollmsError, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Limits, Reader, Target
from lollms_core.protocols.codec import OneRequestCodec
from lollms_core.protocols.dialect import COMMON, Dialect
from lollms_core.protocols.huggingface_errors import huggingface_error
from lollms_core.protocols.huggingface_reader import TextTaskReader
from lollms_core.protocols.lessons import Lesson, heeded
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.outgoing import encode_json, finite, headers_for
from lollms_core.protocols.prompt_text import continuation
from lollms_core.types import GenerationCall, Params, ReceiptItem

__all__ = ["HUGGING_FACE", "HuggingFaceCodec", "TextTaskCodec", "chat_base", "is_router", "task_post", "task_url"]

HUGGING_FACE = Dialect(
    name="huggingface",
    address="https://router.huggingface.co/v1",
    key_variable="HUGGING_FACE_HUB_TOKEN",
    docs="https://huggingface.co/docs/inference-providers/tasks/chat-completion",
    params=COMMON,
    extras=frozenset({"reasoning_effort", "tool_prompt"}),
    max_stops=4,
)
"""The router, and the chat route of endpoints."""

_ROUTER = "router.huggingface.co"
_TASKS = ("/hf-inference", "/models")  # how an address ends where each model has its path
_HF_INFERENCE = "/hf-inference/models"

_PARAMETERS: Mapping[str, str] = {
    "max_tokens": "max_new_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "repeat_penalty": "repetition_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
}
"""The names of `Params`, and what the text-generation task calls them."""

_MORE = frozenset({"typical_p", "truncate", "watermark", "adapter_id", "do_sample"})
_SAMPLING = ("temperature", "top_p", "top_k")


# ---- addresses -----------------------------------------------------------------------------------------------------


def is_router(base_url: str) -> bool:
    """Whether an address is that of the router, which has many models and a list of them."""
    try:
        host = urlsplit(base_url).hostname
    except ValueError:  # whoever sends to it says what is wrong
        return False
    return host == _ROUTER and not base_url.endswith(_TASKS)


def chat_base(base_url: str, model: str) -> str:
    """What `/chat/completions` and `/models` are appended to; it ends in `/v1`."""
    if base_url.endswith("/v1"):
        return base_url
    if base_url.endswith(_TASKS):
        return task_url(base_url, model) + "/v1"
    return f"{base_url}/v1"


def task_url(base_url: str, model: str, task: str = "") -> str:
    """Where a task is posted to; `task` is named only where a model has several.

    Raises `InvalidRequest` without a model where the address does not say which one is asked.
    """
    root = base_url.removesuffix("/v1")
    if is_router(base_url):
        root += _HF_INFERENCE
    elif root.endswith("/hf-inference"):
        root += "/models"
    elif not root.endswith("/models"):
        return root + "/"
    if not model.strip("./"):
        raise InvalidRequest("Name a model: Hugging Face has it in the address.", param="model_name")
    path = "/".join(quote(part, safe="") for part in model.split("/"))
    if any(part in ("", ".", "..") for part in model.split("/")):
        raise InvalidRequest(f"{model[:200]!r} is no name of a model.", param="model_name")
    return f"{root}/{path}/pipeline/{task}" if task else f"{root}/{path}"


def task_post(target: Target, url: str, body: object, accept: str = "application/json", **more: Any) -> HttpRequest:
    """POST a task as JSON; `more` are further fields of the request. Raises as `ChatCodec.request` does."""
    headers = headers_for(target, accept, "authorization")
    headers["content-type"] = "application/json"
    return HttpRequest("POST", url, headers, encode_json(body), target.timeouts, target.verify_tls, **more)


# ---- chat ----------------------------------------------------------------------------------------------------------


class HuggingFaceCodec(ChatCodec):
    """Chat over the router, or over an endpoint that serves a model which chats."""

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(HUGGING_FACE, limits)

    @override
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """As `ChatCodec.request`, at the address of the chat route."""
        model = call.model or target.model
        there = msgspec.structs.replace(target, base_url=chat_base(target.base_url, model))
        return super().request(call, there)

    @override
    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error for a response whose status is not 2xx; see `huggingface_error`."""
        return huggingface_error(response, target)


# ---- text generation -----------------------------------------------------------------------------------------------


class TextTaskCodec(OneRequestCodec):
    """Text generation with the task of that name: a conversation becomes one text, which the model continues."""

    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """The POST whose answer the reader reads.

        Raises `UnsupportedFeature` for tools and images, `InvalidRequest` for values that cannot be sent and without a
        model where one is needed, `ConfigError` for a key that cannot be a header.
        """
        asked = {"tools": bool(call.tools), "images": any(message.images for message in call.messages)}
        if lacking := [what for what, wanted in asked.items() if wanted]:
            raise UnsupportedFeature(
                f"Text generation (completion format Instruct) cannot have {' or '.join(lacking)}. Use the format Chat."
            )
        parameters, receipt = self.plan(call.params, target.lessons)
        optional = tuple(parameters)
        parameters["return_full_text"] = False
        if call.schema is not None:
            parameters["grammar"] = {"type": "json", "value": call.schema}
        body = {
            "inputs": continuation(call.messages, target.provider or HUGGING_FACE.name),
            "parameters": parameters,
            "stream": call.stream,
        }
        accept = "text/event-stream" if call.stream else "application/json"
        url = task_url(target.base_url, call.model or target.model)
        return task_post(target, url, body, accept, receipt=receipt, optional=optional)

    def plan(self, params: Params, lessons: Sequence[Lesson] = ()) -> tuple[dict[str, Any], tuple[ReceiptItem, ...]]:
        """The parameters as the task names them, and what was not done as asked."""
        fields: dict[str, Any] = {"details": True}
        receipt: list[ReceiptItem] = []
        for name, value in finite(params).items():
            there = _PARAMETERS.get(name)
            if there is None:
                receipt.append(ReceiptItem(name, "dropped", "text generation has no such parameter"))
            elif value != ():
                fields[there] = list(value) if name == "stop" else value
        for name, value in params.extra.items():
            if name in _MORE:
                fields[name] = value
            else:
                receipt.append(ReceiptItem(name, "dropped", "text generation has no such parameter"))
        receipt += _within_bounds(fields)
        if lessons:
            ours = {there: name for name, there in _PARAMETERS.items()}
            fields, learned = heeded(fields, lessons, ours, HUGGING_FACE.name)
            receipt += learned
        return fields, tuple(receipt)

    @override
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        return TextTaskReader(
            content_type,
            model=call.model or (target.model if target is not None else ""),
            stops=call.params.stop or (),
            **told,
        )

    @override
    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error for a response whose status is not 2xx; see `huggingface_error`."""
        return huggingface_error(response, target)


def _within_bounds(fields: dict[str, Any]) -> list[ReceiptItem]:
    """Put values that the task refuses in the way that it has for them; what the receipt says of it.

    A temperature of 0 is no sampling there, and the seed is a number from 1 on. Values that switch a knob off are left
    out. Older servers sample only where that is asked for.
    """
    receipt: list[ReceiptItem] = []
    if fields.get("temperature") == 0:
        del fields["temperature"]
        fields["do_sample"] = False
        receipt.append(ReceiptItem("temperature", "rewritten", "text generation takes 0 as do_sample false"))
    if fields.get("top_p", 0) >= 1:
        del fields["top_p"]
    if fields.get("top_k") == 0:
        del fields["top_k"]
    if any(name in fields for name in _SAMPLING):
        fields.setdefault("do_sample", True)
    seed = fields.get("seed", 1)
    if seed == 0:
        fields["seed"] = 1
        receipt.append(ReceiptItem("seed", "clamped", "text generation takes 1 at least"))
    elif seed < 0:
        del fields["seed"]  # any seed will do
    return receipt
