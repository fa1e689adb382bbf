"""What a row of the table of dialects says: how a provider differs from the common core of the chat protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from lollms_core.protocols.image_limits import GENERIC_IMAGES, ImageLimits
from lollms_core.protocols.schema_reduction_rules import SchemaRules

__all__ = ["COMMON", "Dialect"]

COMMON: Mapping[str, str] = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
}
"""The parameters that every such endpoint understands, each with its name there."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider differs from the protocol's common core. The defaults are safe for an endpoint nobody knows.

    `address` is the provider's own base URL, with the version, or where a local server listens unless told otherwise;
    `key_variable` the environment variable that holds the key for it; `start` how a local server is started, in words
    that go on after "Start it with"; `docs` where the provider describes all this.

    `params`: the names of `Params` that the provider understands, each with its name there; any other parameter is
    dropped and listed in the receipt. `extras`: further parameters, of `Params.extra`, that may pass under their own
    name. `fixed`: fields sent with every request. `max_stops`: how many stop sequences are allowed (None: any number).
    `stream_usage`: whether usage comes with a stream only if `stream_options.include_usage` asks for it. `think_tags`:
    whether thoughts may come inside the text as `<think>...</think>`. `tools`, `images`, `schemas`: whether these can
    be asked for; where not, the call is refused, because leaving them out would change its meaning. `images` also says
    which ones are taken. With `tools` as `prompt` the model is told of them in words (see `prompt_tools`). `schemas`
    is `json` where the schema stands beside that word, and `json_object` where a provider promises JSON but no form,
    which it is then told in words; `strict_schemas` is what of a schema its strict mode takes. `returns` are fields of
    an answer's message that the provider wants back with the message; with `returns_blank` it refuses turns without
    them where tools are offered, but takes empty ones. `call_id_length`: ids of tool calls must be letters and digits,
    so many; others are exchanged for some that are. `turns` are `alternating` where two of one role in a row are
    refused, which become one then, and `closed` where the user may not speak behind the result of a tool but only
    behind the assistant, for whom a blank is said then, and a turn that the assistant is to go on with must be marked.

    `chat_path` and the others are appended to the base URL; `{model}` in them is the model's name, and "" means that
    the provider has no such thing. With `responses_path` it has models that are served over the Responses protocol
    alone, at that path. `query` names the options of the target that go into the query, each with the
    environment variable that holds it and the value where nobody gives one. `key_header` carries the key;
    `authorization` gets the prefix `Bearer`.
    """

    name: str
    address: str = ""
    key_variable: str = ""
    start: str = ""
    docs: str = ""
    params: Mapping[str, str] = msgspec.field(default_factory=lambda: COMMON)
    extras: frozenset[str] = frozenset()
    fixed: Mapping[str, object] = msgspec.field(default_factory=dict)
    max_stops: int | None = None
    stream_usage: bool = True
    think_tags: bool = True
    tools: bool | Literal["prompt"] = True
    images: ImageLimits | Literal[False] = GENERIC_IMAGES
    schemas: Literal["json_schema", "json", "json_object", "none"] = "json_schema"
    strict_schemas: SchemaRules | None = None
    returns: tuple[str, ...] = ()
    returns_blank: bool = False
    call_id_length: int | None = None
    turns: Literal["free", "alternating", "closed"] = "free"
    chat_path: str = "/chat/completions"
    models_path: str = "/models"
    embeddings_path: str = "/embeddings"
    responses_path: str = ""
    query: Mapping[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    key_header: str = "authorization"
