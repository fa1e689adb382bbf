"""Long texts read one part after another, driven by hand: a text of sentences, models, and what they were asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lollms_core.flows.base import CountTokens, Generate, Request
from lollms_core.flows.chunks import Measure
from lollms_core.flows.rolling import rolling_summary
from lollms_core.flows.rolling_plan import Sizes, planned, room_for
from lollms_core.flows.rolling_words import Task
from lollms_core.testing.scripted import pieces
from lollms_core.types import GenerationCall, Message, Notice, Reply
from tests.support.sending import Sent, send_with

__all__ = [
    "CALL",
    "FINAL",
    "SIZES",
    "chunk_of",
    "chunks_of",
    "drained",
    "heedless",
    "in_turn",
    "is_condensing",
    "is_final",
    "memory_of",
    "numbering",
    "obedient",
    "read",
    "story",
    "warnings_of",
    "worked_out",
]

CALL = GenerationCall((Message.system("Be brief."), Message.user("")), model="m")
SIZES = Sizes(context=2_000)
FINAL = "Create final summary using this memory."


def story(count: int) -> str:
    """So many sentences, each with a word of its own."""
    return " ".join(f"word{number} follows." for number in range(count))


def is_final(call: GenerationCall) -> bool:
    return call.messages[-1].text.startswith(FINAL)


def is_condensing(call: GenerationCall) -> bool:
    return call.messages[-1].text.startswith("These notes have grown too long.")


def between(text: str, mark: str) -> str:
    return text.partition(f"<{mark}>\n")[2].partition(f"\n</{mark}>")[0]


def chunk_of(call: GenerationCall) -> str:
    return between(call.messages[-1].text, "chunk")


def memory_of(call: GenerationCall) -> str:
    return between(call.messages[-1].text, "memory")


def numbering() -> Callable[[GenerationCall], Any]:
    """A good model: its memory says how many chunks it has seen."""
    seen = 0

    def model(call: GenerationCall) -> Any:
        nonlocal seen
        if is_final(call):
            return "The end."
        seen += 1
        return f"notes {seen}"

    return model


def in_turn(*answers: Any) -> Callable[[GenerationCall], Any]:
    left = list(answers)
    return lambda call: left.pop(0)


def read(
    text: str,
    model: Callable[[GenerationCall], Any],
    sizes: Sizes = SIZES,
    call: GenerationCall = CALL,
    task: Task = Task(),  # noqa: B008  an immutable value
) -> Sent:
    def answer(request: Request) -> Any:
        if isinstance(request, CountTokens):
            return len(pieces(request.text))
        assert isinstance(request, Generate)
        return model(request.call)

    return send_with(rolling_summary(call, text, task, sizes), answer)


def worked_out(flow: Any) -> Any:
    """The result of a flow that only counts."""
    sent = send_with(flow, lambda request: len(pieces(request.text)))  # type: ignore[union-attr]
    assert sent.error is None
    return sent.value


def drained(flow: Any, answer: Callable[[Request], Any]) -> Any:
    """The value of a flow, of whose requests nothing is kept."""
    value: Any = None
    while True:
        try:
            value = answer(flow.send(value))
        except StopIteration as end:
            return end.value


def chunks_of(text: str, sizes: Sizes = SIZES) -> int:
    room = worked_out(room_for(CALL, Task(), sizes, Measure()))
    return len(worked_out(planned(text, room, Measure())))


def warnings_of(sent: Sent) -> list[str]:
    return [event.text for event in sent.shown if isinstance(event, Notice) and event.level == "warning"]


def obedient(tokens: int) -> Callable[[GenerationCall], Any]:
    """A model that writes so many tokens, or as many as it may."""

    def model(call: GenerationCall) -> Any:
        most = call.params.max_tokens or tokens
        text = " ".join(["note"] * min(tokens, most))
        return Reply(text, finish_reason="length" if tokens > most else "stop")

    return model


def heedless(tokens: int) -> Callable[[GenerationCall], Any]:
    return lambda call: " ".join(["note"] * tokens)
