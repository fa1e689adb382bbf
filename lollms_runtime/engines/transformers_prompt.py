"""From a call to the text that a model of transformers continues.

A model that was made for conversations brings a template with its tokenizer, and most of these templates take tools.
Where one does not, the tools are described in the prompt (`prompt_tools`); where there is no template, the conversation
stands under the headers of `prompt_text`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.protocols import prompt_tools
from lollms_core.protocols.prompt_text import continuation
from lollms_core.types import GenerationCall, Message, ReceiptItem, TextPart

__all__ = ["Prompt", "Spelling", "Template", "prompt_of"]

_NAME = "transformers"
_THINKS = re.compile(r"<think(?:ing)?>\s*$", re.IGNORECASE)


class Template(Protocol):
    """A tokenizer's chat template. Raises whatever its engine raises for a conversation that it does not take."""

    def __call__(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, goes_on: bool) -> str: ...


class Prompt(msgspec.Struct, frozen=True):
    """The `text`; whether the tokenizer's own `markers` of a beginning belong around it; whether the model is `inside`
    of a thought when it begins; where it has to `stop` besides; and what was done otherwise than asked. `spelled` are
    placeholders in the text, and what stands there: to be read letter by letter, never as a special token.
    """

    text: str
    markers: bool = False
    inside: bool = False
    stop: tuple[str, ...] = ()
    receipt: tuple[ReceiptItem, ...] = ()
    spelled: Mapping[str, str] = {}

    @property
    def pieces(self) -> list[tuple[str, bool]]:
        """The text in pieces; with each whether it is to be spelled."""
        if not self.spelled:
            return [(self.text, False)]
        found = re.split(f"({'|'.join(map(re.escape, self.spelled))})", self.text)
        return [(self.spelled.get(piece, piece), piece in self.spelled) for piece in found if piece]


class Spelling:
    """Keeps the names of special tokens in what callers say from being read as these: nobody can forge a turn by them.

    A tokenizer reads a prompt as one text, in which the template's own markers and those that somebody typed are alike.
    So the latter are put in as placeholders, which nobody can guess, before the template is filled in. `markers` are
    the names; the assistant's own earlier text keeps those for which `own` is true, its thoughts and calls.
    """

    def __init__(self, markers: Iterable[str], own: Callable[[str], bool]) -> None:
        names = frozenset(filter(None, markers))
        self.found: dict[str, str] = {}
        self._placeholders: dict[str, str] = {}
        self._all = _Names(names)
        self._of_others = _Names(frozenset(name for name in names if not own(name)))
        self._secret = secrets.token_hex(8)

    def messages(self, plain: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Messages as a template is given them, with placeholders."""
        out = []
        for message in plain:
            put = {name: self._put(value) for name, value in message.items() if name not in ("role", "content")}
            own = message["role"] == "assistant"
            content = self._put(message["content"], self._of_others if own else None)
            out.append({"role": message["role"], "content": content, **put})
        return out

    def tools(self, tools: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        """Descriptions of tools, with placeholders."""
        return None if tools is None else [self._put(tool) for tool in tools]

    def _put(self, value: Any, names: _Names | None = None) -> Any:
        if isinstance(value, str):
            return (names or self._all).replaced(value, self._placeholder)
        if isinstance(value, Mapping):
            return {self._put(name): self._put(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._put(each) for each in value]
        return value

    def _placeholder(self, name: str) -> str:
        placeholder = self._placeholders.get(name)
        if placeholder is None:
            placeholder = self._placeholders[name] = f"Z{self._secret}Z{len(self.found)}Z"
            self.found[placeholder] = name
        return placeholder


class _Names:
    """Names to be found in texts, the longest first. There may be thousands, for which a pattern of all is too slow."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._lengths = sorted({len(name) for name in names}, reverse=True)
        firsts = "".join(sorted({re.escape(name[0]) for name in names}))
        self._begin = re.compile(f"[{firsts}]" if firsts else "(?!)")

    def replaced(self, text: str, by: Callable[[str], str]) -> str:
        out: list[str] = []
        done = 0
        for match in self._begin.finditer(text):
            begin = match.start()
            if begin >= done:
                for length in self._lengths:
                    if (name := text[begin : begin + length]) in self._names:
                        out += (text[done:begin], by(name))
                        done = begin + len(name)
                        break
        return "".join([*out, text[done:]])


def prompt_of(call: GenerationCall, template: Template | None, *, takes_tools: bool) -> Prompt:
    """The prompt of a call.

    Raises `UnsupportedFeature` for images and schemas, `InvalidRequest` for a conversation that the template refuses.
    """
    if any(message.images for message in call.messages):
        raise UnsupportedFeature(
            "transformers models are given text only here. Use a model that sees images elsewhere."
        )
    if call.schema is not None:
        raise UnsupportedFeature(
            "transformers cannot hold an answer to a JSON Schema. Describe the form in the prompt, or use llama.cpp."
        )
    if not call.messages:
        raise InvalidRequest("There is no message to answer.")
    receipt: tuple[ReceiptItem, ...] = ()
    messages: Sequence[Message] = call.messages
    with_tools = bool(call.tools) or any(each.role == "tool" or each.tool_calls for each in messages)
    told = with_tools and (template is None or not takes_tools)
    if told:
        messages = prompt_tools.told(call)
        receipt = (ReceiptItem("tools", "rewritten", f"{_NAME}: the model is told of them in the prompt"),)
    if template is None:
        text = continuation(messages, _NAME)
        headed = len(messages) > 1 or messages[0].role != "user"
        return Prompt(text, markers=True, stop=("\n!@>",) if headed else (), receipt=receipt)
    tools = [_described(tool.name, tool.description, tool.parameters) for tool in call.tools]
    text, merged = _rendered(messages, None if told or not tools else tools, template)
    if merged:
        receipt = (*receipt, ReceiptItem("system", "rewritten", "the model's template puts it into the first message"))
    inside = messages[-1].role != "assistant" and _THINKS.search(text) is not None
    return Prompt(text, inside=inside, receipt=receipt)


def _rendered(messages: Sequence[Message], tools: list[dict[str, Any]] | None, template: Template) -> tuple[str, bool]:
    """The conversation in the model's form, and whether the system message had to go into the first other one."""
    goes_on = messages[-1].role == "assistant" and not messages[-1].tool_calls
    refused: Exception
    try:
        return template(_plain(messages), tools, goes_on), False
    except Exception as error:  # each template engine has its own, and templates raise what they like
        refused = error
    if messages[0].role == "system" and len(messages) > 1:
        try:
            return template(_plain(_merged(messages)), tools, goes_on), True
        except Exception as error:
            refused = error
    said = " ".join(str(refused).split())[:300]
    raise InvalidRequest(f"The model's chat template does not take this conversation: {said}") from refused


def _merged(messages: Sequence[Message]) -> list[Message]:
    system, first, *rest = messages
    if first.role != "user":
        return [Message.user(system.text), first, *rest]
    return [msgspec.structs.replace(first, parts=(TextPart(f"{system.text}\n\n{first.text}"),)), *rest]


def _plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as chat templates are given them."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    out = []
    for message in messages:
        plain: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.tool_calls:
            plain["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ]
        if message.role == "tool":
            plain["tool_call_id"] = message.tool_call_id
            plain["name"] = names.get(message.tool_call_id or "", "")
        out.append(plain)
    return out


def _described(name: str, description: str, parameters: Any) -> dict[str, Any]:
    schema = dict(parameters) or {"type": "object"}
    schema.setdefault("properties", {})  # templates walk through them without asking
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}
