"""The tables of docs/providers.md, made by asking the code: each binding's codec is given one call for each column.

What a codec refuses is `no`; what it does in another way stands in the receipt. Nothing is sent. To write the tables
into the document again: `python -m tests.support.provider_table`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from lollms_client.chat_binding import ChatBinding
from lollms_client.http_binding import HttpBinding
from lollms_client.lollms_llm_binding import LollmsLLMBinding, LollmsLLMBindingManager
from lollms_core.errors import UnsupportedFeature, UpstreamError
from lollms_core.protocols.base import HttpRequest, Target
from lollms_core.protocols.prompt_tools import PromptTools
from lollms_core.types import GenerationCall, ImagePart, Message, Tool
from tests.support.ollama_server import png

__all__ = ["DOCUMENT", "PROVIDERS", "TABLES", "in_document", "row_of", "written"]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "providers.md"
MARK = "<!-- {} of {}: made by python -m tests.support.provider_table -->"

HEADINGS = (
    "client binding",
    "server type",
    "protocol",
    "text",
    "streaming",
    "images",
    "tools",
    "thoughts given back",
    "JSON Schemas",
    "embeddings",
    "tokens",
    "model list",
    "checked",
)
"""`checked`: by reference, written from the public API reference and the SDK's types and held to the SDK; or live."""

_OWN_TYPES = {
    "claude": "claude_binding",
    "gemini": "gemini_binding",
    "hugging_face_inference_api": "huggingface_binding",
    "ollama": "ollama_binding",
    "lollms": "lollms_binding",
    "lollms_webui": "",
    "llamacpp": "llamacpp_binding",
    "pythonllamacpp": "llamacpp_binding",
    "transformers": "transformers_binding",
}
PROVIDERS = (
    *("openai", "azure_openai", "open_router", "groq", "mistral", "grok", "perplexity", "novita_ai", "deepseek"),
    *("together", "litellm", "vllm", "sglang", "openllm", "openwebui", "tensor_rt", "lm_studio", "localai", "claude"),
    *("gemini", "hugging_face_inference_api", "ollama", "lollms", "lollms_webui", "llamacpp", "pythonllamacpp"),
    "transformers",
)
"""All rows, in their order."""

_LIVE = frozenset({"lollms", "llamacpp", "pythonllamacpp", "transformers"})
"""What the tests run for real: our own server, and models of this machine."""

_MODELS = {"claude": "claude-opus-4-6", "gemini": "gemini-2.5-flash"}
_PROTOCOLS = {
    "RoutingCodec": "chat completions, Responses",
    "ChatCodec": "chat completions",
    "MessagesCodec": "Messages",
    "GeminiCodec": "generateContent",
    "HuggingFaceCodec": "chat completions, text generation",
    "OllamaCodec": "Ollama",
    "LollmsCodec": "lollms",
    "LollmsWebuiCodec": "lollms web UI",
}
_SIGNED = {
    "MessagesCodec": "signed, as they came",
    "GeminiCodec": "their signatures",
    "RoutingCodec": "encrypted (Responses)",
}
"""Codecs that give a turn back in its provider's form; the others name the fields in their row."""

_TOOL = Tool("look_up", "Looks up.", {"type": "object", "properties": {"word": {"type": "string"}}})
_SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
_IMAGE = ImagePart(png(3, 2), "image/png")


class Row(NamedTuple):
    """One row, in the order of `HEADINGS`."""

    cells: tuple[str, ...]


def row_of(name: str) -> Row:
    """What the code says of one binding."""
    kind = _class_of(name)
    server = _OWN_TYPES.get(name, "openai_binding")
    start = (f"`{name}`", f"`{server}`" if server else "-")
    checked = "live" if name in _LIVE else "by reference"
    if not issubclass(kind, HttpBinding):
        return Row((*start, *_of_engine(name, kind), checked))
    binding = _made(name, kind)
    codec: Any = binding.codec
    if isinstance(codec, PromptTools):
        codec = codec.codec  # it is the protocol of the one inside
    return Row(
        (
            *start,
            _PROTOCOLS[type(codec).__name__],
            _yes(_asked(binding, name)),
            _streams(_asked(binding, name, stream=True)),
            _yes(_asked(binding, name, images=(_IMAGE,))),
            _tools(_asked(binding, name, tools=(_TOOL,))),
            _SIGNED.get(type(codec).__name__) or ", ".join(f"`{each}`" for each in binding.dialect.returns) or "-",
            _schemas(_asked(binding, name, schema=_SCHEMA)),
            _can(binding, lambda target: binding.catalog.embed(["x"], "m", target), binding.embed, "x"),
            _tokens(binding),
            _can(binding, binding.catalog.models, binding.list_models),
            checked,
        )
    )


def _class_of(name: str) -> type[LollmsLLMBinding]:
    module = importlib.import_module(f"lollms_client.llm_bindings.{name}")
    kind: type[LollmsLLMBinding] = getattr(module, module.BindingName)
    return kind


def _made(name: str, kind: type[HttpBinding]) -> HttpBinding:
    address = "https://nobody.openai.azure.com" if name == "azure_openai" else None
    binding = kind(address, _MODELS.get(name, "m"), service_key="a-key-for-nobody")
    binding.fetch = _nobody  # type: ignore[method-assign]
    return binding


def _nobody(request: HttpRequest) -> NoReturn:
    """In the place of the network: that somebody would have been asked is all there is to know."""
    raise UpstreamError(f"{request.method} is not sent.")


def _asked(binding: HttpBinding, name: str, **more: Any) -> HttpRequest | None:
    """The request of a call with something in it; None where it is refused."""
    images = more.pop("images", ())
    call = GenerationCall((Message.user("x", images),), _MODELS.get(name, "m"), **more)
    try:
        exchange = binding.codec.prepare(call, binding.target)
        next(exchange)
    except StopIteration as end:
        request: HttpRequest = end.value
        return request
    except UnsupportedFeature:
        return None
    raise AssertionError(f"{name} asks something before a generation")


def _yes(request: HttpRequest | None) -> str:
    return "no" if request is None else "yes"


def _streams(request: HttpRequest | None) -> str:
    """Whether a stream is asked for: in the body, in the path, or by what is accepted."""
    if request is None:
        return "no"
    asked = "stream" in request.url.lower() or json.loads(request.body).get("stream") is True
    return "yes" if asked else "no"


def _tools(request: HttpRequest | None) -> str:
    if request is None:
        return "no"
    return "in the prompt" if not json.loads(request.body).get("tools") else "native"


def _schemas(request: HttpRequest | None) -> str:
    if request is None:
        return "no"
    actions = {item.action for item in request.receipt if item.name == "schema"}
    return "JSON, the schema in the prompt" if "rewritten" in actions else "native"


def _can(binding: HttpBinding, question: Callable[[Target], Any], own: Any, *arguments: Any) -> str:
    """Whether a question can be asked: by the catalog, or by the binding's own method where it has one."""
    if getattr(own, "__func__", None) is not getattr(HttpBinding, own.__name__):
        try:
            own(*arguments)
        except UnsupportedFeature:
            return "no"
        except UpstreamError:
            return "yes"  # somebody would have been asked
    try:
        next(question(binding.target))
    except UnsupportedFeature:
        return "no"
    return "yes"


def _tokens(binding: HttpBinding) -> str:
    """Who counts: the provider, a tokenizer that is here, or nobody."""
    if isinstance(binding, ChatBinding):
        return "estimate (1)"
    if type(binding).count_tokens is not HttpBinding.count_tokens:
        return "the provider counts"
    try:
        next(binding.catalog.count("x", "m", binding.target))
    except UnsupportedFeature:
        return "estimate"
    return "the provider counts"


def _of_engine(name: str, kind: type[LollmsLLMBinding]) -> tuple[str, ...]:
    """A model of this machine. What makes its prompt is asked; the tests of the engines run the rest."""
    takes = _taken_by_transformers if name == "transformers" else _taken_by_llamacpp
    images, tools, schemas = (
        takes(**more) for more in ({"images": (_IMAGE,)}, {"tools": (_TOOL,)}, {"schema": _SCHEMA})
    )
    return (
        "a process of its own",
        "yes",
        "yes",
        "with a projector" if images else "no",
        ("native, else in the prompt" if name == "transformers" else "native") if tools else "no",
        "-",
        "native" if schemas else "no",
        "yes" if kind.embed is not LollmsLLMBinding.embed else "no",
        "exact",
        "yes",
    )


def _taken_by_llamacpp(images: tuple[ImagePart, ...] = (), **more: Any) -> bool:
    from lollms_core.protocols.llamacpp import LlamaCppCodec

    call = GenerationCall((Message.user("x", images),), "m", **more)
    return _is_taken(lambda: LlamaCppCodec().request(call, Target("http://127.0.0.1:1")))


def _taken_by_transformers(images: tuple[ImagePart, ...] = (), **more: Any) -> bool:
    from lollms_runtime.engines.transformers_prompt import prompt_of

    call = GenerationCall((Message.user("x", images),), "m", **more)
    return all(
        _is_taken(lambda takes=takes: prompt_of(call, lambda *given: "x", takes_tools=takes))  # type: ignore[misc]
        for takes in (True, False)
    )


def _is_taken(make: Callable[[], Any]) -> bool:
    try:
        make()
    except UnsupportedFeature:
        return False
    return True


# ---- names ---------------------------------------------------------------------------------------------------------

_KEY_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEY|TOKEN)\b")


def _names_of(name: str) -> tuple[str, ...]:
    """Where a binding finds its provider and its key: address, variables, other names of arguments."""
    kind = _class_of(name)
    if not issubclass(kind, HttpBinding):
        return (f"`{name}`", "-", "-", "-", "-")
    source = Path(inspect.getfile(kind)).read_text(encoding="utf-8")
    keys = dict.fromkeys([*([kind.key_variable] if kind.key_variable else []), *_KEY_VARIABLE.findall(source)])
    query = [variable for variable, _ in kind.dialect.query.values()]
    aliases = getattr(kind, "aliases", {})
    named = [each for each in inspect.signature(kind).parameters if each.endswith("_key") and each != "service_key"]
    return (
        f"`{name}`",
        f"`{kind.default_address}`" if kind.default_address else "-",
        _codes(keys),
        _codes([each for each in (kind.address_variable, *query) if each]),
        _codes(dict.fromkeys([*named, *(each for each, meant in aliases.items() if meant != each)])),
    )


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


# ---- the document --------------------------------------------------------------------------------------------------


def _abilities() -> list[tuple[str, ...]]:
    return [HEADINGS, *(row_of(name).cells for name in _there())]


def _names() -> list[tuple[str, ...]]:
    headings = ("client binding", "address", "variables for the key", "other variables", "other names of arguments")
    return [headings, *(_names_of(name) for name in _there())]


def _there() -> list[str]:
    """The providers whose binding is there."""
    found = LollmsLLMBindingManager.get_bindings_list()
    return [name for name in PROVIDERS if name in found]


TABLES: dict[str, Callable[[], list[tuple[str, ...]]]] = {"abilities": _abilities, "names": _names}
"""What stands between the marks of a name; the first row is the headings."""


def markdown(name: str) -> str:
    """One table in Markdown."""
    headings, *rows = TABLES[name]()
    lines = [f"| {' | '.join(row)} |" for row in (headings, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(headings)}", *lines[1:]])


def in_document(text: str, name: str) -> str:
    """One table as a document has it."""
    _, begin, rest = text.partition(MARK.format("begin", name))
    table, end, _ = rest.partition(MARK.format("end", name))
    assert begin and end, f"the document has no place for {name}"
    return table.strip("\n")


def written(text: str) -> str:
    """A document with the tables as they are now."""
    for name in TABLES:
        in_document(text, name)  # there is a place for it
        before, begin, rest = text.partition(MARK.format("begin", name))
        _, end, after = rest.partition(MARK.format("end", name))
        text = f"{before}{begin}\n\n{markdown(name)}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
