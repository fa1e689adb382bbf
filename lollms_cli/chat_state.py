"""What a chat is made of: the conversation so far and the settings. Nothing here reads, writes or asks.

The conversation is a row of turns, each a question with its answer. A question that failed is not part of it: it is
kept aside, so that it can be asked again, and the next question takes its place. So the messages that are sent always
alternate, which some models insist on, and nothing is sent that the user believes to be gone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lollms_core.types import ImagePart, Message, Reply, TextPart

__all__ = ["Conversation", "Settings", "Turn", "beginning_of"]


@dataclasses.dataclass(frozen=True)
class Turn:
    """A question and its answer. `cut` says that the answer was stopped before its end."""

    question: Message
    answer: str
    thoughts: str = ""
    model: str = ""
    cut: bool = False

    def messages(self) -> tuple[Message, Message]:
        """The turn as it is sent."""
        return self.question, Message.assistant(self.answer)


@dataclasses.dataclass
class Settings:
    """What goes with every question, and what is shown."""

    system: str = ""
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    thoughts: bool = True
    usage: bool = False
    stream: bool = True


class Conversation:
    """The turns, what is attached to the next question, and the question that failed, if one did."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.images: list[ImagePart] = []
        self.texts: list[str] = []
        self.failed: Message | None = None
        self._again = False

    def question(self, text: str) -> Message:
        """The next question, with what is attached to it; texts stand before what was typed."""
        words = "\n\n".join([*self.texts, text])
        return Message("user", (TextPart(words), *self.images))

    def to_send(self, question: Message) -> list[Message]:
        """The messages of a request: the whole conversation, then the question."""
        before = self.turns[:-1] if self._again else self.turns
        return [*(message for turn in before for message in turn.messages()), question]

    def asking(self, question: Message) -> None:
        """A question is about to be sent: it counts as failed until its answer comes. Attachments are used up."""
        self.failed = question
        self.images, self.texts = [], []

    def answered(self, reply: Reply, *, cut: bool = False) -> bool:
        """The answer to what was asked last. Returns whether it is kept: a cut answer without text is not."""
        if self.failed is None or (cut and not reply.text):
            return False
        turn = Turn(self.failed, reply.text, reply.thoughts, reply.model, cut)
        if self._again:
            self.turns.pop()
        self.turns.append(turn)
        self.failed, self._again = None, False
        return True

    def to_retry(self) -> Message | None:
        """The question to ask again: one that failed, else the last one, whose answer the new answer replaces."""
        if self.failed is not None:
            return self.failed
        if not self.turns:
            return None
        self._again = True
        return self.turns[-1].question

    def fresh(self) -> None:
        """The next question is a new one, not the last one again."""
        self._again = False

    def undo(self) -> Turn | None:
        """Take the last turn out and return it."""
        self._again = False
        return self.turns.pop() if self.turns else None

    def clear(self) -> None:
        """Forget everything but a question that failed, which can be asked again without the rest."""
        self.turns, self.images, self.texts, self._again = [], [], [], False


def beginning_of(text: str, width: int = 60) -> str:
    """A text on one line, cut to about `width` characters: to name a message by."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."
