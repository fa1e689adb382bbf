"""What another lollms server tells: the models of one of its instances, embeddings, tokens.

Its questions name an instance. The target's option `instance` says which; without it the server's default for text is
looked up first where the route needs a name, and left to the server where it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from typing_extensions import override

from lollms_core.errors import LollmsError, NotFound, ProtocolError, UnsupportedFeature
from lollms_core.protocols.base import HttpRequest, HttpResponse, Target
from lollms_core.protocols.catalog import Answer, Catalog, as_many, unknown_model
from lollms_core.protocols.json_limits import decode_body
from lollms_core.protocols.lollms import lollms_headers
from lollms_core.protocols.openai_reader import usage_of
from lollms_core.protocols.outgoing import encode_json
from lollms_core.types import Embeddings, ModelInfo

__all__ = ["LollmsCatalog"]


class _Embedded(msgspec.Struct):
    embeddings: tuple[tuple[float, ...], ...]
    model_name: str | None = None
    usage: Any = None


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Text(msgspec.Struct):
    text: str


class _Count(msgspec.Struct):
    count: int
    exact: bool = True


_object = msgspec.json.Decoder(dict[str, Any]).decode
_embedded = msgspec.json.Decoder(_Embedded).decode
_tokens = msgspec.json.Decoder(_Tokens).decode
_text = msgspec.json.Decoder(_Text).decode
_count = msgspec.json.Decoder(_Count).decode


class LollmsCatalog(Catalog):
    """The catalog of a lollms server."""

    about_models = True
    modalities = ("text", "image")

    @override
    def ping(self, target: Target) -> HttpRequest:
        url = f"{target.base_url}/health"
        return HttpRequest("GET", url, lollms_headers(target), b"", target.timeouts, target.verify_tls)

    @override
    def models(self, target: Target) -> Answer[list[ModelInfo]]:
        instance = yield from self._instance(target)
        answer = yield _get(target, f"list_available_models/{quote(instance, safe='')}")
        listed = decode_body(_object, answer.body).get("models")
        if not isinstance(listed, list):
            raise ProtocolError("The lollms server sent no list of models.")
        return [_model(entry["name"], entry) for entry in listed if isinstance(entry, dict) and _is_named(entry)]

    @override
    def model(self, name: str, target: Target) -> Answer[ModelInfo]:
        instance = yield from self._instance(target)
        query = f"?{urlencode({'model_name': name})}" if name else ""
        try:
            answer = yield _get(target, f"get_model_info/{quote(instance, safe='')}{query}")
        except LollmsError as error:
            if error.status == 404:
                raise unknown_model(name, target) from error
            raise
        entry = decode_body(_object, answer.body)
        found = entry.get("model_name")
        return _model(found if isinstance(found, str) and found else name, entry)

    @override
    def embed(self, texts: Sequence[str], model: str, target: Target) -> Answer[Embeddings]:
        reply = decode_body(_embedded, (yield from _post(target, "embed", model, input=list(texts))).body)
        return as_many(Embeddings(reply.embeddings, reply.model_name or model, usage_of(reply.usage)), texts)

    @override
    def tokens(
        self, text: str, model: str, target: Target, add_bos: bool = False, add_eos: bool = False
    ) -> Answer[list[int]]:
        answer = yield from _post(target, "tokenize", model, text=text, add_bos=add_bos, add_eos=add_eos)
        return decode_body(_tokens, answer.body).tokens

    @override
    def text(self, tokens: Sequence[int], model: str, target: Target) -> Answer[str]:
        return decode_body(_text, (yield from _post(target, "detokenize", model, tokens=list(tokens))).body).text

    @override
    def count(
        self, text: str, model: str, target: Target, add_bos: bool = False, add_eos: bool = False
    ) -> Answer[tuple[int, bool]]:
        answer = yield from _post(target, "count_tokens", model, text=text, add_bos=add_bos, add_eos=add_eos)
        reply = decode_body(_count, answer.body)
        return reply.count, reply.exact

    def _instance(self, target: Target) -> Answer[str]:
        chosen = target.options.get("instance")
        if isinstance(chosen, str) and chosen:
            return chosen
        defaults = decode_body(_object, (yield _get(target, "get_default_bindings")).body).get("defaults")
        name = defaults.get("ttt_binding") if isinstance(defaults, dict) else None
        if not isinstance(name, str) or not name:
            raise UnsupportedFeature(
                f"The lollms server at {target.base_url} has no default instance for text. Name one as `instance`."
            )
        return name


def _get(target: Target, route: str) -> HttpRequest:
    url = f"{target.base_url}/api/v1/{route}"
    return HttpRequest("GET", url, lollms_headers(target), b"", target.timeouts, target.verify_tls)


def _post(target: Target, route: str, model: str, **body: Any) -> Answer[HttpResponse]:
    """Ask a route that not every version of the server has. Raises `UnsupportedFeature` where it is missing."""
    chosen = {"binding_name": target.options.get("instance"), "model_name": model or target.model}
    sent = {**body, **{name: value for name, value in chosen.items() if value}}
    headers = {**lollms_headers(target), "content-type": "application/json"}
    url = f"{target.base_url}/api/v1/{route}"
    try:
        return (yield HttpRequest("POST", url, headers, encode_json(sent), target.timeouts, target.verify_tls))
    except NotFound as error:
        raise UnsupportedFeature(
            f"The lollms server at {target.base_url} has no instance or no route for POST /api/v1/{route}: "
            f"{error.message}",
            status=error.status,
            provider=target.provider,
            request_id=error.request_id,
        ) from error


def _is_named(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("name"), str) and bool(entry["name"])


_OWN = frozenset(
    {"name", "model_name", "binding_instance_name", "model_type", "context_size", "max_output_tokens", "details"}
    | {"supports_vision", "supports_audio", "supports_streaming", "error", "detail"}
)


def _model(name: str, entry: Mapping[str, Any]) -> ModelInfo:
    nested = entry.get("details")
    more = {key: value for key, value in entry.items() if key not in _OWN and value is not None}
    return ModelInfo(
        name=name,
        context_size=_size(entry.get("context_size")),
        max_output_tokens=_size(entry.get("max_output_tokens")),
        supports_vision=entry.get("supports_vision") is True,
        supports_audio=entry.get("supports_audio") is True,
        details={**more, **(nested if isinstance(nested, dict) else {})},
    )


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
