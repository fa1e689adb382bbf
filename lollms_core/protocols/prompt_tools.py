"""Tools for models whose provider has none: a format of calls that stands in the prompt and in the answer.

The system message describes the tools and how to call them. A call is a JSON object between tags, in the answer and in
the turns before it; the results of tools go back in a turn of the user:

    <tool_call>
    {"name": "weather", "arguments": {"city": "Paris"}}
    </tool_call>

    <tool_response>
    {"name": "weather", "content": "sun"}
    </tool_response>

`PromptTools` is a codec around another one, which never hears of tools: the request that it makes has none, and the
calls in the text that it reads become events as those of any other provider (see `prompt_tools_splitter`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from lollms_core.errors import LollmsError, UnsupportedFeature
from lollms_core.protocols.base import Codec, HttpRequest, HttpResponse, Reader, Target
from lollms_core.protocols.dialect import Dialect
from lollms_core.protocols.openai import ChatCodec
from lollms_core.protocols.outgoing import encode_json
from lollms_core.protocols.prompt_tools_reader import PromptToolsReader
from lollms_core.protocols.retry import RetryPolicy
from lollms_core.types import GenerationCall, Message, Part, ReceiptItem, TextPart, Tool, ToolCall

__all__ = ["PromptTools", "chat_codec", "told", "with_prompt_tools"]

_ABOUT = """\
# Tools

You can call these tools. Each line describes one of them: its name, what it does, and the JSON Schema of its arguments.

<tools>
{tools}
</tools>

To call a tool, write a block like this one, with a JSON object between the tags:

<tool_call>
{{"name": "name of the tool", "arguments": {{"name of an argument": "its value"}}}}
</tool_call>

Write one block for each call, and nothing after the last one. You are then given what the tools return, in \
<tool_response> blocks; never write such a block yourself. Where no tool is needed, answer without any block."""

_OVER = "No tool can be called any more. Answer with what you know by now, without <tool_call> blocks."


class PromptTools:
    """A codec whose calls may have tools, around one whose calls may not."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    @property
    def retry(self) -> RetryPolicy | None:
        """When the codec inside wants a failed call to be repeated; None where it leaves that to others."""
        policy: RetryPolicy | None = getattr(self.codec, "retry", None)
        return policy

    def prepare(self, call: GenerationCall, target: Target) -> Generator[Any, HttpResponse, HttpRequest]:
        """As the codec inside prepares the call without tools. The receipt says that they are in the prompt.

        Raises `UnsupportedFeature` for tools together with a JSON Schema, which leaves no room for calls.
        """
        if not _has_tools(call):
            return (yield from self.codec.prepare(call, target))
        if call.tools and call.schema is not None:
            raise UnsupportedFeature(
                f"{target.provider or 'This backend'} is told of tools in the prompt, so that an answer cannot be held "
                "to a JSON Schema at the same time. Ask for one of them."
            )
        plain = msgspec.structs.replace(call, messages=told(call), tools=())
        request = yield from self.codec.prepare(plain, target)
        note = ReceiptItem("tools", "rewritten", f"{target.provider or 'the backend'} is told of them in the prompt")
        return msgspec.structs.replace(request, receipt=(*request.receipt, note))

    def reader(
        self,
        call: GenerationCall,
        content_type: str,
        target: Target | None = None,
        receipt: tuple[ReceiptItem, ...] = (),
    ) -> Reader:
        """The reader of the codec inside, and around it one that takes the calls out of the text."""
        inner = self.codec.reader(msgspec.structs.replace(call, tools=()), content_type, target, receipt)
        return PromptToolsReader(inner, [tool.name for tool in call.tools]) if _has_tools(call) else inner

    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """As the codec inside says."""
        return self.codec.error(response, target)


def with_prompt_tools(codec: Codec) -> Codec:
    """The codec with tools in the prompt, for a binding whose provider or model knows none."""
    return codec if isinstance(codec, PromptTools) else PromptTools(codec)


def chat_codec(dialect: Dialect) -> Codec:
    """Chat completions of a row of the table, with tools in the prompt where the row says so."""
    codec = ChatCodec(dialect)
    return with_prompt_tools(codec) if dialect.tools == "prompt" else codec


# ---- the request ---------------------------------------------------------------------------------------------------


def _has_tools(call: GenerationCall) -> bool:
    """Whether the model may write a call: it is offered tools, or reads in the conversation how one is written."""
    return bool(call.tools) or any(message.tool_calls or message.role == "tool" for message in call.messages)


def told(call: GenerationCall) -> tuple[Message, ...]:
    """The conversation in words: what the tools are, earlier calls, and their results."""
    about = _ABOUT.format(tools="\n".join(map(_described, call.tools))) if call.tools else _OVER
    messages = _in_words(call.messages)
    if messages and messages[0].role == "system":
        first = messages[0]
        return (msgspec.structs.replace(first, parts=(*first.parts, TextPart(f"\n\n{about}"))), *messages[1:])
    return (Message.system(about), *messages)


def _described(tool: Tool) -> str:
    shown = {"name": tool.name, "description": tool.description, "parameters": tool.parameters or {"type": "object"}}
    return _json(shown)


def _in_words(messages: Sequence[Message]) -> list[Message]:
    """The turns with calls and results as text. Results that follow each other are one turn of the user."""
    names: dict[str, str] = {}  # ids of calls to names of tools; the same id may come again later
    out: list[Message] = []
    after_result = False
    for message in messages:
        if message.role == "tool":
            result = _result(names.get(message.tool_call_id or "", ""), message)
            if after_result:
                out[-1] = msgspec.structs.replace(out[-1], parts=(*out[-1].parts, TextPart("\n"), *result))
            else:
                out.append(Message("user", tuple(result)))
        elif message.tool_calls:
            names.update((call.id, call.name) for call in message.tool_calls)
            text = "\n".join([*filter(None, [message.text.rstrip()]), *map(_block, message.tool_calls)])
            images = message.images
            out.append(msgspec.structs.replace(message, parts=(TextPart(text), *images), tool_calls=()))
        else:
            out.append(message)
        after_result = message.role == "tool"
    return out


def _block(call: ToolCall) -> str:
    return f"<tool_call>\n{_json({'name': call.name, 'arguments': call.arguments})}\n</tool_call>"


def _result(name: str, message: Message) -> list[Part]:
    named = {"name": name, "content": message.text} if name else {"content": message.text}
    return [TextPart(f"<tool_response>\n{_json(named)}\n</tool_response>"), *message.images]


def _json(value: object) -> str:
    """JSON in one line. The tags of the format cannot stand in it: what a tool returns must not look like a call."""
    text = encode_json(value).decode()
    return text.replace("<tool", "\\u003ctool").replace("</tool", "\\u003c/tool")
