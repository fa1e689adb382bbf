"""A conversation as one text, for backends that do nothing but continue a text.

Its turns stand under the headers that lollms models were given all along (`!@>system:`, `!@>user:`, `!@>assistant:`),
and the last of them is open for the answer. A single message of the user is sent as it is: scripts of that time write
the headers themselves, and one who wants a text to be continued must be able to ask for just that.
"""

from __future__ import annotations

from collections.abc import Sequence

from lollms_core.errors import InvalidRequest, UnsupportedFeature
from lollms_core.types import Message

__all__ = ["continuation"]


def continuation(messages: Sequence[Message], name: str) -> str:
    """The text to be continued. `name` is the backend's, to begin a sentence with.

    Raises `UnsupportedFeature` for what a text cannot hold: tool calls, and images that are not the user's. The user's
    images are left to the caller.
    """
    for message in messages:
        if message.role == "tool" or message.tool_calls:
            raise UnsupportedFeature(f"{name} cannot go on from tool calls. Use another backend.")
        if message.images and message.role != "user":
            raise UnsupportedFeature(f"{name} takes images in the user's messages only.")
    if not messages:
        raise InvalidRequest("There is no message to answer.")
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].text
    turns = [f"!@>{message.role}:\n{message.text}\n" for message in messages]
    if messages[-1].role == "assistant":  # the model goes on with what it began
        return "".join(turns).removesuffix("\n")
    return "".join([*turns, "!@>assistant:\n"])
