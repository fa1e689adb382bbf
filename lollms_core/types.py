"""The values of a generation: the call, its parts, the events it produces, and the reply they fold to.

Everything here is immutable and knows nothing of I/O. `msgspec.Struct` is used instead of dataclasses because events
are made once per token: a struct costs a fifth of a frozen dataclass.

The unit of every stream is a `Batch`: the events of one upstream read. `lollms_core.fold` adds batches up to a `Reply`;
a JSON answer and a stream of the same answer fold to equal replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

__all__ = [
    "Attempt",
    "Batch",
    "Done",
    "Embeddings",
    "Event",
    "FinishReason",
    "GenerationCall",
    "ImagePart",
    "Item",
    "Media",
    "Message",
    "ModelInfo",
    "Native",
    "Notice",
    "Output",
    "Params",
    "Part",
    "Partial",
    "Progress",
    "ReceiptItem",
    "Reply",
    "Role",
    "TextDelta",
    "TextPart",
    "ThoughtDelta",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
]

Role = Literal["system", "user", "assistant", "tool"]

FinishReason: TypeAlias = str
"""`stop`, `length`, `tool_calls`, `content_filter`, `cancelled`, `enough` (a view had what it wanted) or `error`."""


# ---- what is asked -------------------------------------------------------------------------------------------------


class TextPart(msgspec.Struct, frozen=True):
    """A run of text inside a message."""

    text: str


class ImagePart(msgspec.Struct, frozen=True):
    """An image inside a message: encoded bytes (PNG, JPEG, WebP, GIF) and their media type."""

    data: bytes
    mime: str


Part: TypeAlias = TextPart | ImagePart


class ToolCall(msgspec.Struct, frozen=True):
    """A model's request to run a tool. `arguments` is the decoded JSON object."""

    id: str
    name: str
    arguments: dict[str, Any]


class Native(msgspec.Struct, frozen=True):
    """A turn of the model in its provider's own form, which holds what the provider wants back: signed thoughts.

    `protocol` is the name of the form, `data` is JSON. Only a codec of that protocol looks at it.
    """

    protocol: str
    data: Any


class Message(msgspec.Struct, frozen=True):
    """One turn. `tool_calls` and `native` belong to assistant turns; `tool_call_id` to turns of role `tool`.

    With `native`, the provider that it came from gets that in place of the rest, which must say the same.
    """

    role: Role
    parts: tuple[Part, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    native: Native | None = None

    @classmethod
    def system(cls, text: str) -> Message:
        return cls("system", (TextPart(text),))

    @classmethod
    def user(cls, text: str, images: Sequence[ImagePart] = ()) -> Message:
        return cls("user", (TextPart(text), *images))

    @classmethod
    def assistant(cls, text: str, tool_calls: Sequence[ToolCall] = (), native: Native | None = None) -> Message:
        return cls("assistant", (TextPart(text),) if text else (), tuple(tool_calls), native=native)

    @classmethod
    def tool(cls, call_id: str, result: str) -> Message:
        return cls("tool", (TextPart(result),), tool_call_id=call_id)

    @property
    def text(self) -> str:
        """The text parts, joined."""
        if len(self.parts) == 1 and isinstance(part := self.parts[0], TextPart):
            return part.text
        return "".join(p.text for p in self.parts if isinstance(p, TextPart))

    @property
    def images(self) -> tuple[ImagePart, ...]:
        if len(self.parts) == 1 and isinstance(self.parts[0], TextPart):
            return ()
        return tuple(p for p in self.parts if isinstance(p, ImagePart))


class Tool(msgspec.Struct, frozen=True):
    """A tool offered to the model. `parameters` is a JSON Schema of type object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Params(msgspec.Struct, frozen=True, omit_defaults=True):
    """Generation parameters; None means "not set by anyone" and is never sent.

    `max_tokens` and `repeat_last_n` are tokens, `ctx_size` is tokens, `n_threads` is threads; the rest are the
    usual unitless sampling knobs. `extra` holds what only a third-party binding understands.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    n_threads: int | None = None
    ctx_size: int | None = None
    extra: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """The parameters that somebody set, without `extra`, by name."""
        return {name: value for name in PARAMETERS if (value := getattr(self, name)) is not None}

    def over(self, base: Params) -> Params:
        """These parameters where they are set, else those of `base`; `extra` is merged the same way."""
        return Params(**{**base.given(), **self.given()}, extra={**base.extra, **self.extra})


PARAMETERS = tuple(name for name in Params.__struct_fields__ if name != "extra")
"""The names of the parameters that all backends are spoken of with."""


class GenerationCall(msgspec.Struct, frozen=True):
    """Everything that is asked of a model, independent of any provider.

    `model` is part of the call, never state of a binding; "" means the target's default. `stream` says whether the
    caller wants deltas as they come; the result is the same either way. `schema` is a JSON Schema the answer must obey.
    """

    messages: tuple[Message, ...]
    model: str = ""
    params: Params = Params()
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    schema: Mapping[str, Any] | None = None


# ---- what comes back -----------------------------------------------------------------------------------------------


class Usage(msgspec.Struct, frozen=True):
    """Token counts as the backend reported them; None where it did not."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None

    def __add__(self, other: Usage | None) -> Usage:
        """Both together; a number that only one of them knows is that number."""
        if other is None:
            return self
        counts = [
            (getattr(self, name), getattr(other, name))
            for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        ]
        return Usage(*(a if b is None else b if a is None else a + b for a, b in counts))


class ReceiptItem(msgspec.Struct, frozen=True):
    """One thing that was not done as asked: `action` is `dropped`, `renamed`, `rewritten` or `clamped`."""

    name: str
    action: str
    reason: str


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """More of the answer."""

    text: str


class ThoughtDelta(msgspec.Struct, frozen=True, gc=False):
    """More of the model's reasoning; never part of the answer."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call. Pieces with the same `index` belong together; `arguments` is a piece of JSON text.

    `id` and `name` are "" in pieces that only continue the arguments.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Media(msgspec.Struct, frozen=True):
    """A finished image, sound or video: encoded bytes and their media type."""

    data: bytes
    mime: str


class Item(msgspec.Struct, frozen=True):
    """One finished piece of output with what belongs to it.

    `kind` is text, image, audio, video (`data` is base64), json, error or info; `metadata` is the maker's own.
    """

    kind: str
    data: Any = None
    mime: str | None = None
    thoughts: str | None = None
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Output(msgspec.Struct, frozen=True):
    """Finished pieces of output, in order, from makers that give more than one text.

    With `replaces` they are the whole answer, whose text was shown already; else they come after what came before.
    """

    items: tuple[Item, ...]
    replaces: bool = False


class Progress(msgspec.Struct, frozen=True):
    """Work that takes a while: `kind` is `queue`, `load`, `prefill`, `step` ...; `position` counts those before you.

    Work of several steps shows `step_start` and `step_end`, both with the `id` of the step in `data`, and `step` for a
    step that is only mentioned; `fraction` is then how much of all the work is done, from 0 to 1.
    """

    kind: str
    message: str = ""
    fraction: float | None = None
    position: int | None = None
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Notice(msgspec.Struct, frozen=True):
    """Something the user should know; it is not part of the answer. `level` is `info` or `warning`."""

    level: str
    text: str
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Partial(msgspec.Struct, frozen=True):
    """What is known so far of a JSON value that is being written; it takes the place of the one before."""

    value: Any


class Done(msgspec.Struct, frozen=True):
    """The answer is complete. Later `Done` events of the same stream refine earlier ones (None and "" do not)."""

    finish_reason: FinishReason = ""
    usage: Usage | None = None
    model: str = ""
    receipt: tuple[ReceiptItem, ...] = ()


Event: TypeAlias = (
    TextDelta | ThoughtDelta | ToolCallDelta | Media | Output | Progress | Notice | Native | Partial | Done
)
Batch: TypeAlias = Sequence[Event]


class Reply(msgspec.Struct, frozen=True):
    """A whole answer.

    `tool_calls` holds the calls whose arguments are valid JSON objects; a call that is not stands in `broken_calls`
    as (name, raw text), so that it can be given back to the model as an error. `items`, where there are any, is the
    whole output in order, the text and media of the reply among them; most replies have none, being one text. `native`
    belongs into the `Message` that gives the reply back to its provider; most providers need none.
    """

    text: str = ""
    thoughts: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    media: tuple[Media, ...] = ()
    usage: Usage | None = None
    finish_reason: FinishReason = "stop"
    model: str = ""
    receipt: tuple[ReceiptItem, ...] = ()
    broken_calls: tuple[tuple[str, str], ...] = ()
    items: tuple[Item, ...] = ()
    native: Native | None = None

    def __str__(self) -> str:
        return self.text


class Attempt(msgspec.Struct, frozen=True):
    """One call for a structured answer.

    `way` is how it was asked for: `schema`, `tool` or `prompt`; `text` what the model wrote, its first characters;
    `problem` what was wrong with it, "" for the attempt that succeeded.
    """

    way: str
    text: str
    problem: str
    finish_reason: FinishReason


class Embeddings(msgspec.Struct, frozen=True):
    """One vector per input, in the order of the inputs."""

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    usage: Usage | None = None


class ModelInfo(msgspec.Struct, frozen=True):
    """What is known of a model; sizes in tokens, None where the backend does not say."""

    name: str
    context_size: int | None = None
    max_output_tokens: int | None = None
    supports_vision: bool = False
    supports_audio: bool = False
    supports_tools: bool = False
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)
