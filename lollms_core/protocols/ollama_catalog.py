"""What Ollama tells of its models: /api/tags lists them, /api/show says what one of them can do, /api/embed embeds,
/api/ps lists those in memory.

The list alone has neither context sizes nor abilities, so each model of a list is shown as well; one that cannot be
shown stays in the list without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, UnknownModel, UpstreamError
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.catalog import Answer, Catalog, as_many, unknown_model
from lollms_core.protocols.json_limits import decode_body
from lollms_core.protocols.ollama import OLLAMA, ollama_request, pull_hint
from lollms_core.protocols.ollama_reader import counts
from lollms_core.protocols.outgoing import model_named
from lollms_core.types import Embeddings, ModelInfo

__all__ = ["OllamaCatalog"]

_MOST_SHOWN = 200
_DETAILS = ("format", "family", "families", "parameter_size", "quantization_level")
_SEEING_FAMILIES = frozenset({"clip", "mllama"})


class _Tag(msgspec.Struct):
    name: str | None = None
    model: str | None = None
    modified_at: Any = None
    size: Any = None
    digest: Any = None
    details: dict[str, Any] | None = None


class _Tags(msgspec.Struct):
    models: list[_Tag] | None


class _Shown(msgspec.Struct):
    license: Any = None
    modified_at: Any = None
    template: Any = None
    parameters: Any = None
    capabilities: list[Any] | None = None
    details: dict[str, Any] | None = None
    model_info: dict[str, Any] | None = None
    projector_info: dict[str, Any] | None = None


class _Embedded(msgspec.Struct):
    embeddings: tuple[tuple[float, ...], ...]
    model: str | None = None
    prompt_eval_count: Any = None


class _Running(msgspec.Struct):
    models: list[dict[str, Any]] | None


_running = msgspec.json.Decoder(_Running).decode
_tags = msgspec.json.Decoder(_Tags).decode
_shown = msgspec.json.Decoder(_Shown).decode
_embedded = msgspec.json.Decoder(_Embedded).decode


class OllamaCatalog(Catalog):
    """The catalog of an Ollama server."""

    about_models = True
    modalities = ("text", "image")

    @override
    def ping(self, target: Target) -> HttpRequest:
        return ollama_request(target, "/api/version")

    @override
    def models(self, target: Target) -> Answer[list[ModelInfo]]:
        listed = decode_body(_tags, (yield ollama_request(target, "/api/tags")).body).models or []
        found: list[ModelInfo] = []
        left = _MOST_SHOWN
        for tag in listed:
            name = tag.name or tag.model
            if not name:
                continue
            shown = _Shown()
            if left > 0:
                try:
                    shown = _read((yield _show(name, target)))
                    left -= 1
                except InvalidRequest:
                    left -= 1  # removed since
                except UpstreamError:
                    left = 0  # it is unwell, and would be asked again for each of the others
            found.append(_model(name, shown, tag))
        return found

    @override
    def model(self, name: str, target: Target) -> Answer[ModelInfo]:
        name = model_named(name, target, OLLAMA)
        try:
            shown = _read((yield _show(name, target)))
        except InvalidRequest as error:
            if error.status == 404:
                unknown = unknown_model(name, target)
                if isinstance(error, UnknownModel):  # and not a server that knows no such path
                    unknown.message += pull_hint(name)
                raise unknown from error
            raise
        return _model(name, shown, _Tag())

    def running(self, target: Target) -> Answer[list[dict[str, Any]]]:
        """The models in memory as dictionaries: `model_name`, and all that Ollama says of each.

        Sizes are bytes; `context_length` is tokens, as it was asked for when the model was loaded.
        """
        listed = decode_body(_running, (yield ollama_request(target, "/api/ps")).body).models or []
        named = ((each.get("name") or each.get("model"), each) for each in listed)
        return [{"model_name": name, **each} for name, each in named if isinstance(name, str)]

    @override
    def embed(self, texts: Sequence[str], model: str, target: Target) -> Answer[Embeddings]:
        model = model_named(model, target, OLLAMA)
        body = {"model": model, "input": list(texts)}
        reply = decode_body(_embedded, (yield ollama_request(target, "/api/embed", body)).body)
        return as_many(Embeddings(reply.embeddings, reply.model or model, counts(reply.prompt_eval_count)), texts)


def _show(name: str, target: Target) -> HttpRequest:
    return ollama_request(target, "/api/show", {"model": name})


def _read(response: HttpResponse) -> _Shown:
    return decode_body(_shown, response.body)


def _model(name: str, shown: _Shown, tag: _Tag) -> ModelInfo:
    about = {**(tag.details or {}), **(shown.details or {})}
    abilities = [each for each in shown.capabilities or () if isinstance(each, str)]
    details: dict[str, Any] = {key: about[key] for key in _DETAILS if about.get(key)}
    more = {
        "size": tag.size,
        "modified_at": tag.modified_at or shown.modified_at,
        "digest": tag.digest,
        "template": shown.template,
        "license": _one_text(shown.license),
        "parameters": shown.parameters,
        "capabilities": abilities,
    }
    details.update((key, value) for key, value in more.items() if value)
    return ModelInfo(
        name=name,
        context_size=_context_size(shown.model_info or {}),
        supports_vision="vision" in abilities if shown.capabilities is not None else _looks_seeing(about, shown),
        supports_audio="audio" in abilities,
        supports_tools="tools" in abilities,
        details=details,
    )


def _context_size(info: Mapping[str, Any]) -> int | None:
    """`<architecture>.context_length`; a model with an image part has further keys that end alike."""
    size = info.get(f"{info.get('general.architecture')}.context_length")
    if not isinstance(size, int):
        sizes = (value for key, value in info.items() if key.endswith(".context_length") and key.count(".") == 1)
        size = next((value for value in sizes if isinstance(value, int)), None)
    return size if isinstance(size, int) and size > 0 else None


def _looks_seeing(about: Mapping[str, Any], shown: _Shown) -> bool:
    """Whether a model can see, for versions of Ollama that do not list abilities."""
    families = about.get("families")
    known = families if isinstance(families, list) else []
    return bool(shown.projector_info) or any(family in _SEEING_FAMILIES for family in known)


def _one_text(value: object) -> object:
    return "\n\n".join(map(str, value)) if isinstance(value, list) else value
