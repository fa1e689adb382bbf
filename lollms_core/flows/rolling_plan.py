"""How a long text is divided when it is read part after part, so that every call fits the context of the model."""

from __future__ import annotations

import msgspec

from lollms_core.errors import ContextTooLong, InvalidRequest
from lollms_core.flows.base import Flow
from lollms_core.flows.chunks import Chunk, Measure, chunked
from lollms_core.flows.long_plan import AROUND, LEAST, MOST_OF_A_REPLY, UNSURE, USUAL_CONTEXT, is_count
from lollms_core.flows.rolling_words import Task, condensing, merging
from lollms_core.types import GenerationCall

__all__ = ["Room", "Sizes", "planned", "room_for"]

_LONG = 6  # characters that a token has at most, in most texts


class Sizes(msgspec.Struct, frozen=True):
    """What a caller asks for, in tokens; None where it is left to us.

    `context` is 8192 where nobody knows it, `chunk` a quarter of it, `overlap` a tenth of the chunk. With `first_chunk`
    and `first_steps` the text begins with so many smaller chunks; one of them alone stands for one step, or for half a
    chunk.
    """

    context: int | None = None
    chunk: int | None = None
    overlap: int | None = None
    first_chunk: int | None = None
    first_steps: int | None = None

    def within(self, context: object) -> Sizes:
        """The same for a model of that context, if nothing else is asked for; what is no such number says nothing."""
        if self.context is not None:
            return self
        return msgspec.structs.replace(self, context=context if is_count(context) else USUAL_CONTEXT)

    def checked(self) -> Sizes:
        """Raises `InvalidRequest` for a size that makes no sense, under the name that the caller knows it by."""
        least = {"context": 1, "chunk": 1, "overlap": 0, "first_chunk": 1, "first_steps": 0}
        names = {"context": "ctx_size", "chunk": "chunk_size", "overlap": "overlap"}
        names |= {"first_chunk": "bootstrap_chunk_size", "first_steps": "bootstrap_steps"}
        for field, low in least.items():
            value = getattr(self, field)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < low):
                name = names[field]
                raise InvalidRequest(f"{name} is {value!r}; it must be a whole number from {low} on.", param=name)
        if self.chunk is not None and self.overlap is not None and self.overlap >= self.chunk:
            raise InvalidRequest(
                f"overlap is {self.overlap}; it must be smaller than chunk_size, which is {self.chunk}.",
                param="overlap",
            )
        return self


class Room(msgspec.Struct, frozen=True):
    """What there is room for, in tokens: prompt + notes + chunk + reply are within the context.

    `prompt` are the words around the material, `reply` is the limit of the notes, `needed` the context that any call
    needs. `is_less` says that the chunks are smaller than asked for.
    """

    context: int
    prompt: int
    reply: int
    chunk: int
    overlap: int
    first_chunk: int = 0
    first_steps: int = 0
    is_less: bool = False

    @property
    def material(self) -> int:
        """The most that a call is given: a chunk and the notes, or notes of at least two texts."""
        return max(self.chunk, self.reply) + self.reply

    @property
    def needed(self) -> int:
        """With something on top, since other tokenizers count otherwise."""
        return min(self.context, (self.prompt + self.material + self.reply) * 5 // 4)


def room_for(call: GenerationCall, task: Task, sizes: Sizes, measure: Measure) -> Flow[Room]:
    """The room for a task. Raises `ContextTooLong` where the words alone fill the context, and `InvalidRequest`.

    Costs four counts at most.
    """
    sizes = sizes.checked()
    context = sizes.context or USUAL_CONTEXT
    system = "\n".join(message.text for message in call.messages if message.role == "system")
    prompt = 0
    for words in (
        task.updating("", "", "chunk 1000 of 1000", 100_000, shorter=True),
        task.concluding(""),
        condensing("", 100_000, task.query),
        merging("", 100_000, task.query),
    ):
        prompt = max(prompt, (yield from measure.tokens(f"{system}\n{words}")))
    prompt += AROUND
    left = context - prompt
    if left < LEAST:
        raise ContextTooLong(
            f"The instructions alone have about {prompt} tokens, of a context of {context}. Shorten the prompts, "
            "or give a larger ctx_size if the model has one.",
            param="ctx_size",
        )
    reply = max(1, min(call.params.max_tokens or MOST_OF_A_REPLY, context // 4, left // 4))
    most = int((left - 2 * reply) * (1 if measure.exact else UNSURE))
    wanted = sizes.chunk or max(1, context // 4)
    chunk = min(wanted, most)
    overlap = chunk // 10 if sizes.overlap is None else sizes.overlap
    if chunk < wanted or overlap >= chunk:
        overlap = min(overlap, chunk // 2)
    steps = (1 if sizes.first_chunk else 0) if sizes.first_steps is None else sizes.first_steps
    first = min(sizes.first_chunk or max(1, chunk // 2), most) if steps else 0
    is_less = sizes.chunk is not None and chunk < wanted
    return Room(context, prompt, reply, chunk, overlap, first, steps, is_less)


def planned(text: str, room: Room, measure: Measure) -> Flow[tuple[Chunk, ...]]:
    """The chunks of a text in order, the first ones of another size where the room says so. No call of the model."""
    steps = room.first_steps
    if not steps:
        return (yield from chunked(text, room.chunk, room.overlap, measure)).parts
    overlap = min(room.overlap, room.first_chunk // 10)
    length = room.first_chunk * (steps + 1) * _LONG
    while True:
        # The last chunk of a part may end where the part does, so it only says where the others have ended.
        small = (yield from chunked(text[:length], room.first_chunk, overlap, measure)).parts
        if len(small) > steps or length >= len(text):
            break
        length *= 2
    if len(small) <= steps:
        return small
    start = small[steps].start
    rest = (yield from chunked(text[start:], room.chunk, room.overlap, measure)).parts
    return (*small[:steps], *(Chunk(start + each.start, start + each.end, each.tokens) for each in rest))
