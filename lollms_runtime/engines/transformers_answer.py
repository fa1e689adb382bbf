"""Around a model of transformers: from a call to tokens, and from tokens to the events of an answer.

Text, thoughts, calls of tools and the place to stop are found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from lollms_core.errors import InvalidRequest
from lollms_core.protocols.prompt_tools_splitter import CallSplitter
from lollms_core.text.thoughts import ThoughtSplitter
from lollms_core.types import Event, GenerationCall, TextDelta, ThoughtDelta, ToolCallDelta
from lollms_runtime.engines.transformers_loading import Loaded, is_shown
from lollms_runtime.engines.transformers_prompt import Prompt, Spelling, prompt_of
from lollms_runtime.engines.transformers_sampling import Sampling
from lollms_runtime.engines.worker_text import Pieces, StopStrings

__all__ = ["TokenAnswer", "ids_of", "prompt_for", "stops_of"]


def prompt_for(call: GenerationCall, here: Loaded) -> Prompt:
    """The prompt of a call in the form of this model. Raises what `prompt_of` raises."""
    spelling = Spelling(here.markers, is_shown)

    def render(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, goes_on: bool) -> str:
        text: str = here.tokenizer.apply_chat_template(
            spelling.messages(messages),
            tools=spelling.tools(tools),
            tokenize=False,
            add_generation_prompt=not goes_on,
            continue_final_message=goes_on,
        )
        return text

    prompt = prompt_of(call, render if here.template else None, takes_tools="tools" in here.template)
    return msgspec.structs.replace(prompt, spelled=spelling.found)


def stops_of(here: Loaded, prompt: Prompt, sampling: Sampling) -> tuple[str, ...]:
    """Where an answer ends: as the call says, as the form of the prompt wants, and as the model does."""
    own = getattr(here.generation, "stop_strings", None) or ()
    return (*sampling.stop, *prompt.stop, *((own,) if isinstance(own, str) else own))


def ids_of(here: Loaded, prompt: Prompt) -> list[int]:
    """The tokens of a prompt. Raises `InvalidRequest` for none at all."""
    tokenizer = here.tokenizer
    ids: list[int] = []
    for text, spelled in prompt.pieces:
        ids += _spelled(tokenizer, text) if spelled else tokenizer(text, add_special_tokens=prompt.markers)["input_ids"]
    if not ids and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id]
    if not ids:
        raise InvalidRequest("The prompt is empty, and this model cannot begin with nothing.")
    return ids


def _spelled(tokenizer: Any, name: str) -> list[int]:
    """The tokens of a special token's name, as those of any other text."""
    ids: list[int] = tokenizer(name, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if len(ids) > 1 or len(name) == 1:
        return ids
    return [  # a token that was added, but not as a special one: the option does not concern it
        number for letter in name for number in tokenizer(letter, add_special_tokens=False)["input_ids"]
    ]


class TokenAnswer:
    """What the tokens of an answer say, until it is over."""

    def __init__(self, here: Loaded, stops: Iterable[str], call: GenerationCall, prompt: Prompt) -> None:
        self._pieces, self._stops, self._ends = Pieces(_decoder(here)), StopStrings(stops), frozenset(here.ends)
        self._thoughts = ThoughtSplitter(inside=prompt.inside)
        self._calls = CallSplitter([tool.name for tool in call.tools]) if call.tools else None
        self._called = 0
        self._ended = False
        self.count = 0

    @property
    def over(self) -> bool:
        """Whether a stop string came."""
        return self._stops.stopped

    @property
    def reason(self) -> str:
        """Why it ended."""
        if not (self._ended or self.over):
            return "length"
        return "tool_calls" if self._called else "stop"

    def add(self, token: int) -> list[Event]:
        """The events of a token."""
        self.count += 1
        if token in self._ends:
            self._ended = True
            return []
        return self._split(self._stops.feed(self._pieces.add(token)))

    def close(self) -> list[Event]:
        """The events of what was held back."""
        events = self._split(self._stops.feed(self._pieces.close()))
        events += self._split(self._stops.close())
        for part in self._thoughts.close():
            events += self._without_calls(part)
        if self._calls is not None:
            events += map(self._event, self._calls.close())
        return events

    def _split(self, text: str) -> list[Event]:
        events: list[Event] = []
        for part in self._thoughts.feed(text) if text else ():
            events += self._without_calls(part)
        return events

    def _without_calls(self, part: TextDelta | ThoughtDelta) -> list[Event]:
        if self._calls is None or isinstance(part, ThoughtDelta):
            return [part]
        return [self._event(each) for each in self._calls.feed(part.text)]

    def _event(self, found: TextDelta | tuple[str, str]) -> Event:
        if isinstance(found, TextDelta):
            return found
        name, arguments = found
        self._called += 1
        return ToolCallDelta(self._called - 1, f"call_{self._called - 1}", name, arguments)


def _decoder(here: Loaded) -> Callable[[Sequence[int]], str]:
    decode, hidden = here.tokenizer.decode, here.hidden

    def text_of(tokens: Sequence[int]) -> str:
        shown = [token for token in tokens if token not in hidden]
        text: str = decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    return text_of
