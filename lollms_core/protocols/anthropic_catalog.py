"""What Anthropic tells beside answers: its models with their sizes and abilities, and how many tokens a text has.

It has no embeddings, and gives numbers of tokens but no tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from typing_extensions import override

from lollms_core.errors import InvalidRequest, ProtocolError, UnsupportedFeature
from lollms_core.protocols.anthropic import messages_request
from lollms_core.protocols.anthropic_models import UNKNOWN, profile_of
from lollms_core.protocols.base import HttpRequest, Target
from lollms_core.protocols.catalog import Answer, Catalog, unknown_model
from lollms_core.protocols.json_limits import decode_body
from lollms_core.protocols.outgoing import model_named
from lollms_core.types import ModelInfo

__all__ = ["AnthropicCatalog"]

_PAGE = 1000  # models, the most there may be on one
_MOST_PAGES = 100


class _Page(msgspec.Struct):
    data: list[dict[str, Any]]
    has_more: bool | None = None
    last_id: str | None = None


class _Count(msgspec.Struct):
    input_tokens: int


_page = msgspec.json.Decoder(_Page).decode
_entry = msgspec.json.Decoder(dict[str, Any]).decode
_count = msgspec.json.Decoder(_Count).decode


class AnthropicCatalog(Catalog):
    """The catalog of Anthropic's API. All of its models can see, so none is asked whether it can."""

    modalities = ("text", "image")

    @override
    def ping(self, target: Target) -> HttpRequest:
        return _models(target, limit=1)

    @override
    def models(self, target: Target) -> Answer[list[ModelInfo]]:
        found: dict[str, ModelInfo] = {}
        after = ""
        for _ in range(_MOST_PAGES):
            cursor = {"after_id": after} if after else {}
            page = decode_body(_page, (yield _models(target, limit=_PAGE, **cursor)).body)
            known = len(found)
            for entry in page.data:
                if isinstance(name := entry.get("id"), str) and name:
                    found.setdefault(name, _model(name, entry))
            if not page.has_more or not page.last_id or len(found) == known:
                break
            after = page.last_id
        return list(found.values())

    @override
    def model(self, name: str, target: Target) -> Answer[ModelInfo]:
        name = model_named(name, target)
        try:
            response = yield messages_request(target, f"/models/{_segment(name)}")
        except InvalidRequest as error:
            if error.status == 404:
                raise unknown_model(name, target) from error
            raise
        entry = decode_body(_entry, response.body)
        if not isinstance(entry.get("id"), str):
            raise ProtocolError(f"{target.provider or 'The backend'} sent JSON that is no model. Check the address.")
        return _model(name, entry)

    @override
    def count(
        self, text: str, model: str, target: Target, add_bos: bool = False, add_eos: bool = False
    ) -> Answer[tuple[int, bool]]:
        """How many tokens a message of this text has, as the provider counts: with the few that frame a message.

        Nothing is asked for an empty text. Raises `UnsupportedFeature` for blanks alone, which it does not count.
        """
        if not text:
            return 0, True
        if text.isspace():
            raise UnsupportedFeature("anthropic does not count blanks alone.")
        body = {"model": model_named(model, target), "messages": [{"role": "user", "content": text}]}
        response = yield messages_request(target, "/messages/count_tokens", body)
        counted = decode_body(_count, response.body).input_tokens
        if counted < 0:
            raise ProtocolError(f"{target.provider or 'The backend'} sent a negative number of tokens.")
        return counted, True


def _segment(name: str) -> str:
    """A model's name as one segment of a path. Raises `InvalidRequest` for names that mean another place."""
    if not name.strip("."):
        raise InvalidRequest(f"{name[:100]!r} is no name of a model.", param="model_name")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError:
        raise InvalidRequest("The model's name has half of a character in it.", param="model_name") from None


def _models(target: Target, **query: object) -> HttpRequest:
    return messages_request(target, f"/models?{urlencode(query)}")


def _model(name: str, entry: Mapping[str, Any]) -> ModelInfo:
    """A model by what is stated of it; where nothing is, by what is published of its generation."""
    profile = profile_of(name)
    abilities = entry.get("capabilities")
    sees = _supported(abilities, "image_input")
    details = {key: value for key, value in entry.items() if key not in ("id", "type") and value is not None}
    return ModelInfo(
        name=name,
        context_size=_size(entry.get("max_input_tokens")) or profile.context,
        max_output_tokens=_size(entry.get("max_tokens")) or (profile.max_output if profile is not UNKNOWN else None),
        supports_vision=profile is not UNKNOWN if sees is None else sees,
        supports_tools=True,
        details=details,
    )


def _size(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _supported(abilities: object, name: str) -> bool | None:
    """Whether a model is said to have an ability; None where that is not said."""
    ability = abilities.get(name) if isinstance(abilities, Mapping) else None
    said = ability.get("supported") if isinstance(ability, Mapping) else None
    return said if isinstance(said, bool) else None
