"""The tool loop: the model asks for functions of ours, gets their results, and goes on until it has its answer.

What the user sees and what the caller gets are the same. Texts of several rounds are one answer: the first text of a
round is set apart from the text before it by an empty line, and that line is shown, too. Calls of our own functions are
a matter between the model and us, so the user sees that a function runs, but no piece of its call; calls of the
caller's tools are shown when it is settled that they go to the caller.

The loop ends whatever the model does: after `rounds` rounds it is asked once more, without tools. A result is data. It
can neither add a tool nor raise a limit, because both are fixed before the first call; a name that nobody offered is
answered with an error, whoever put it into the model's head.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import msgspec

from lollms_core.errors import Cancelled, LollmsError
from lollms_core.flows.base import Flow, ask, emit, tool
from lollms_core.fold import ReplyFold
from lollms_core.types import (
    Batch,
    Done,
    Event,
    GenerationCall,
    Media,
    Message,
    Native,
    Notice,
    Output,
    Progress,
    ReceiptItem,
    Reply,
    TextDelta,
    ThoughtDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

__all__ = ["MAX_CALLS", "MAX_RESULT", "tool_loop"]

MAX_CALLS = 16
"""Functions that run in one round; the model is told to ask again for more."""
MAX_RESULT = 16_000
"""Characters of a result that the model gets."""

_BETWEEN = "\n\n"
_MAX_SHOWN = 500
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def tool_loop(
    call: GenerationCall, own: Collection[str], rounds: int, names: Mapping[str, str] | None = None
) -> Flow[Reply]:
    """Ask, run the functions of `own` that the model calls, give it their results and ask again.

    `call.tools` holds our functions and the caller's tools. When the model calls a tool of the caller, the loop ends
    and those calls are in the reply. Calls that are not valid JSON, and calls of tools that nobody offered, are given
    back to the model as errors. After `rounds` rounds it is asked a last time, without tools; the receipt says so.
    `names` are what the user calls a function where that is something else.

    Texts and thoughts of all rounds are joined, their usage is summed; an error carries what came before it.
    Costs one call of the model for each round of functions and one more: at most `rounds + 1`.
    """
    answer = _Answer()
    theirs = {each.name for each in call.tools} - set(own)
    messages = call.messages
    reply = Reply()
    try:
        for left in range(rounds, -1, -1):
            if not left and rounds:
                yield from _announce_last(answer, rounds)
            reply = Reply()
            asked = msgspec.structs.replace(call, messages=messages, tools=call.tools if left else ())
            reply = yield from _ask(asked, answer)
            if not left or not (reply.tool_calls or reply.broken_calls):
                break
            if any(each.name in theirs for each in reply.tool_calls):
                break
            messages = (*messages, *(yield from _round(reply, own, messages, names or {})))
        whole = _handed_over(answer.reply(reply), reply, theirs if left else ())
        yield from emit(*_ending(whole))
    except LollmsError as error:
        partial = error.partial or Reply(finish_reason="cancelled" if isinstance(error, Cancelled) else "error")
        calls = tuple(each for each in partial.tool_calls if each.name in theirs)
        error.partial = msgspec.structs.replace(answer.reply(partial), tool_calls=calls)
        raise
    return whole


def _ask(call: GenerationCall, answer: _Answer) -> Flow[Reply]:
    """One call of the model; what it gave is added to the answer, also when it failed half way."""
    view = _Joining(answer.text_end, answer.thoughts_end)
    try:
        reply = yield from ask(call, view)
    except LollmsError as error:
        if error.partial is not None:
            answer.add(error.partial, view)
        raise
    answer.add(reply, view)
    return reply


def _announce_last(answer: _Answer, rounds: int) -> Flow[None]:
    words = f"The model had used functions {rounds} times in a row and was asked to answer without more of them."
    answer.receipt[ReceiptItem("functions", "clamped", words)] = None
    yield from emit(Notice("warning", words))


# ---- one round of functions ----------------------------------------------------------------------------------------


def _round(
    reply: Reply, own: Collection[str], before: Sequence[Message], names: Mapping[str, str]
) -> Flow[tuple[Message, ...]]:
    """Run what the model asked for, in its order; returns the turns that tell the model of it."""
    used = {each.id for message in before for each in message.tool_calls}
    calls: list[ToolCall] = []
    results: list[Message] = []
    for place, asked in enumerate(reply.tool_calls):
        call = msgspec.structs.replace(asked, id=_fresh(asked.id, used))
        if call.name not in own:
            call = msgspec.structs.replace(call, name=_as_name(call.name))
            result = yield from _refused(call.name, f"There is no function {call.name}; use those that are offered.")
        elif place >= MAX_CALLS:
            result = yield from _refused(call.name, f"At most {MAX_CALLS} functions run at once; ask again for this.")
        else:
            result = yield from _run(call, names.get(call.name, call.name))
        calls.append(call)
        results.append(Message.tool(call.id, result))
    for name, raw in reply.broken_calls:
        call = ToolCall(_fresh("broken", used), _as_name(name), {})
        words = f"The arguments are not a JSON object: {_cut(raw, _MAX_SHOWN)} Ask again with a correct one."
        calls.append(call)
        results.append(Message.tool(call.id, (yield from _refused(call.name, words))))
    native = reply.native if tuple(calls) == reply.tool_calls else None  # it holds the ids as they came
    return (Message.assistant(reply.text, calls, native), *results)


def _run(call: ToolCall, name: str) -> Flow[str]:
    yield from emit(Progress("function", f"Running {name}."))
    result = yield from tool(call)
    arguments = msgspec.json.encode(call.arguments).decode()
    shown = {"function": name, "arguments": _cut(arguments, _MAX_SHOWN), "result": _cut(result, _MAX_SHOWN)}
    yield from emit(Notice("info", f"{name} has answered.", shown))
    return _cut(result, MAX_RESULT)


def _refused(name: str, words: str) -> Flow[str]:
    """What the model reads in place of a result."""
    yield from emit(Notice("warning", f"The model's call of {name} was not run. {words}", {"function": name}))
    return msgspec.json.encode({"function": name, "error": words}).decode()


def _fresh(wanted: str, used: set[str]) -> str:
    """An id that no call of the conversation has: backends that give none make every round start at the same one."""
    name, number = wanted, 1
    while name in used:
        number += 1
        name = f"{wanted}_{number}"
    used.add(name)
    return name


def _as_name(text: str) -> str:
    """A name that may stand in a conversation, whatever the model wrote."""
    return _NOT_IN_NAMES.sub("_", text)[:64] or "unknown"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}… (the first {most} of {len(text)} characters)"


# ---- one answer of several rounds ----------------------------------------------------------------------------------


class _Joining:
    """Shows a round: an empty line where its text follows other text, and nothing that only later is settled."""

    enough = False

    def __init__(self, text_end: str, thoughts_end: str) -> None:
        self._text_open = bool(text_end) and not text_end.isspace()
        self._thoughts_open = bool(thoughts_end) and not thoughts_end.isspace()
        self.joined_text = False
        self.joined_thoughts = False

    def feed(self, batch: Batch) -> Batch:
        shown: list[Event] = []
        for event in batch:
            if isinstance(event, ToolCallDelta | Native | Done) or (isinstance(event, Output) and event.replaces):
                continue
            if self._text_open and (text := _text_of(event)):
                self._text_open, self.joined_text = False, not text[0].isspace()
                shown += [TextDelta(_BETWEEN)] if self.joined_text else []
            if self._thoughts_open and isinstance(event, ThoughtDelta) and event.text:
                self._thoughts_open, self.joined_thoughts = False, not event.text[0].isspace()
                shown += [ThoughtDelta(_BETWEEN)] if self.joined_thoughts else []
            shown.append(event)
        return shown


def _text_of(event: Event) -> str:
    """What an event adds to the text."""
    if isinstance(event, TextDelta):
        return event.text
    if isinstance(event, Output):
        return "".join(str(item.data) for item in event.items if item.kind == "text")
    return ""


class _Answer:
    """What the rounds have given so far."""

    def __init__(self) -> None:
        self._fold = ReplyFold()
        self._media: list[Media] = []
        self._usage: Usage | None = None
        self._model = ""
        self.receipt: dict[ReceiptItem, None] = {}  # in order; each round drops the same parameters
        self.text_end = ""
        self.thoughts_end = ""

    def add(self, reply: Reply, view: _Joining) -> None:
        batch: list[Event] = [ThoughtDelta(_BETWEEN)] if view.joined_thoughts else []
        batch += [TextDelta(_BETWEEN)] if view.joined_text else []
        if reply.items:
            batch.append(Output(reply.items))
        else:
            batch += [ThoughtDelta(reply.thoughts)] if reply.thoughts else []
            batch += [TextDelta(reply.text)] if reply.text else []
            batch += reply.media
        self._fold.add(batch)
        self._media += reply.media
        self._usage = reply.usage if self._usage is None else self._usage + reply.usage
        self._model = reply.model or self._model
        self.receipt |= dict.fromkeys(reply.receipt)
        self.text_end = reply.text[-1:] or self.text_end
        self.thoughts_end = reply.thoughts[-1:] or self.thoughts_end

    def reply(self, last: Reply) -> Reply:
        """All of it as one reply, which ended as the last one did; without calls of tools."""
        return msgspec.structs.replace(
            self._fold.done(last.finish_reason),
            media=tuple(self._media),
            usage=self._usage,
            model=self._model,
            receipt=tuple(self.receipt),
        )


def _handed_over(whole: Reply, last: Reply, theirs: Collection[str]) -> Reply:
    """The reply with the calls that are for the caller; the receipt names others that the model made beside them."""
    calls = tuple(each for each in last.tool_calls if each.name in theirs)
    broken = tuple(each for each in last.broken_calls if each[0] in theirs)
    left_out = [each.name for each in last.tool_calls if each.name not in theirs]
    left_out += [name for name, _ in last.broken_calls if name not in theirs]
    reason = "beside a tool of the caller" if calls else "when no function could be used any more"
    receipt = tuple(ReceiptItem(name, "dropped", f"the model asked for it {reason}") for name in left_out)
    # A turn that is given back without some of its calls is another one than the provider signed.
    native = last.native if calls == last.tool_calls and not last.broken_calls else None
    finish = last.finish_reason
    if finish == "tool_calls" and not calls:
        finish = "stop"
    return msgspec.structs.replace(
        whole,
        tool_calls=calls,
        broken_calls=broken,
        receipt=whole.receipt + receipt,
        finish_reason=finish,
        native=native,
    )


def _ending(whole: Reply) -> list[Event]:
    """What was held back until it was settled: with it, the events that were shown fold to the reply."""
    events: list[Event] = [Output(whole.items, replaces=True)] if whole.items else []
    pieces = [(each.id, each.name, msgspec.json.encode(each.arguments).decode()) for each in whole.tool_calls]
    pieces += [("", name, raw) for name, raw in whole.broken_calls]
    events += [ToolCallDelta(place, *piece) for place, piece in enumerate(pieces)]
    events += [whole.native] if whole.native is not None else []
    return [*events, Done(whole.finish_reason, whole.usage, whole.model, whole.receipt)]
