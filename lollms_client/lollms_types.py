"""The enumerations that scripts of the lollms world import; their names and numbers are part of the public interface.

The spelling of the classes and the members of one value are what those scripts use.
"""

# ruff: noqa: N801, PIE796

from __future__ import annotations

from enum import Enum

from lollms_core.errors import InvalidRequest

__all__ = ["ELF_COMPLETION_FORMAT", "ELF_GENERATION_FORMAT", "MSG_TYPE", "SENDER_TYPES", "SUMMARY_MODE"]


class MSG_TYPE(Enum):
    """What a streaming callback is told; the second argument of every callback."""

    MSG_TYPE_CHUNK = 0
    """A piece of the answer, to be appended."""
    MSG_TYPE_CONTENT = 1
    """The whole answer."""
    MSG_TYPE_CONTENT_INVISIBLE_TO_AI = 2
    MSG_TYPE_CONTENT_INVISIBLE_TO_USER = 3
    MSG_TYPE_THOUGHT_CHUNK = 4
    """A piece of the model's reasoning."""
    MSG_TYPE_THOUGHT_CONTENT = 5
    MSG_TYPE_EXCEPTION = 6
    """Something failed; the text says what and what to do."""
    MSG_TYPE_WARNING = 7
    MSG_TYPE_INFO = 8
    MSG_TYPE_STEP = 9
    MSG_TYPE_STEP_START = 10
    MSG_TYPE_STEP_PROGRESS = 11
    MSG_TYPE_STEP_END = 12
    MSG_TYPE_JSON_INFOS = 13
    MSG_TYPE_REF = 14
    MSG_TYPE_CODE = 15
    MSG_TYPE_UI = 16
    MSG_TYPE_NEW_MESSAGE = 17
    MSG_TYPE_FINISHED_MESSAGE = 18
    MSG_TYPE_TOOL_CALL = 19
    """The model asks to run a tool; the text is a JSON object with `name` and `arguments`."""
    MSG_TYPE_TOOL_OUTPUT = 20
    MSG_TYPE_REASONING = 21
    MSG_TYPE_SCRATCHPAD = 22
    MSG_TYPE_OBSERVATION = 23
    MSG_TYPE_ERROR = 24
    MSG_TYPE_GENERATING_TITLE_START = 25
    MSG_TYPE_GENERATING_TITLE_END = 26


class SENDER_TYPES(Enum):
    """Who wrote a message."""

    SENDER_TYPES_USER = 0
    SENDER_TYPES_AI = 1
    SENDER_TYPES_SYSTEM = 2


class SUMMARY_MODE(Enum):
    """How a long text is summarised. All names have the number 0, so they are one member."""

    SEQUENCIAL = 0
    HIERARCHICAL = 0
    SUMMARY_MODE_SEQUENCIAL = 0
    SUMMARY_MODE_HIERARCHICAL = 0


class ELF_COMPLETION_FORMAT(Enum):
    """Whether a model continues a text or answers messages."""

    Instruct = 0
    Chat = 1

    @classmethod
    def from_string(cls, format_string: str) -> ELF_COMPLETION_FORMAT:
        """The format of that name, in upper or lower case. Raises `InvalidRequest` (a ValueError) for another name."""
        wanted = format_string.strip().lower()
        for member in cls:
            if member.name.lower() == wanted:
                return member
        raise InvalidRequest(
            f"There is no completion format {format_string!r}. Use {' or '.join(member.name for member in cls)}.",
            param="completion_format",
        )

    def __str__(self) -> str:
        return self.name


class ELF_GENERATION_FORMAT(Enum):
    """The kinds of server that the older client chose between; each stands for the binding of that name."""

    LOLLMS = 0
    OPENAI = 1
    OLLAMA = 2
    LITELLM = 3
    TRANSFORMERS = 4
    VLLM = 5

    @property
    def binding_name(self) -> str:
        """The binding that this format stands for, for example `openai`."""
        return self.name.lower()

    def __str__(self) -> str:
        return self.name
