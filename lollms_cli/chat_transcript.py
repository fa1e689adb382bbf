"""A conversation as a file: JSON, which keeps everything, or Markdown, which people read and which can be loaded again.

The messages of the JSON form are those of the chat-completions format. In the Markdown form a comment stands before
each message and says whose it is; a line of a message that looks like such a comment gets a backslash, so that no
answer can put words into the user's mouth.

Only paths that the user typed are looked at. Nothing that exists is written over unless the user says so, because a
chat may be fed by a pipe whose lines nobody has read.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lollms_cli.chat_state import Turn
from lollms_core.errors import InvalidRequest, StorageError
from lollms_core.types import Message

__all__ = ["Transcript", "from_text", "path_of", "read_transcript", "to_json", "to_markdown", "write_transcript"]

_MAX_TRANSCRIPT = 256_000_000  # bytes
_MARK = re.compile(r"<!-- lollms: (system|user|assistant)(, cut)? -->")
_LIKE_A_MARK = re.compile(r"\\*<!-- lollms: ")
_NAMES = {"system": "System", "user": "You", "assistant": "Answer"}


class Transcript(NamedTuple):
    """What a file holds: the system prompt, the turns, and a last question without an answer, if there is one."""

    system: str
    turns: list[Turn]
    unanswered: Message | None = None


def to_json(system: str, turns: Sequence[Turn]) -> str:
    """The conversation as one JSON object."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for turn in turns:
        messages.append({"role": "user", "content": _content(turn.question)})
        answer: dict[str, Any] = {"role": "assistant", "content": turn.answer}
        more = {"thoughts": turn.thoughts, "model": turn.model, "cut": turn.cut}
        messages.append({**answer, **{name: value for name, value in more.items() if value}})
    return json.dumps({"messages": messages}, indent=2, ensure_ascii=False) + "\n"


def to_markdown(system: str, turns: Sequence[Turn]) -> str:
    """The conversation as Markdown. Images are named, not kept."""
    parts = [_section("system", system)] if system else []
    for turn in turns:
        parts.append(_section("user", turn.question.text, images=len(turn.question.images)))
        parts.append(_section("assistant", turn.answer, cut=turn.cut))
    return "\n".join(parts)


def from_text(text: str) -> Transcript:
    """Read either form; a plain list of messages is fine too. Raises `InvalidRequest` saying what is wrong."""
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text)
    return _from_markdown(text)


def _content(question: Message) -> str | list[dict[str, Any]]:
    if not question.images:
        return question.text
    parts: list[dict[str, Any]] = [{"type": "text", "text": question.text}]
    for image in question.images:
        url = f"data:{image.mime};base64,{base64.b64encode(image.data).decode('ascii')}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def _section(role: str, text: str, *, images: int = 0, cut: bool = False) -> str:
    lines = ["\\" + line if _LIKE_A_MARK.match(line) else line for line in text.split("\n")]
    about = f" ({images} image{'s' if images > 1 else ''})" if images else " (cut)" if cut else ""
    mark = f"<!-- lollms: {role}{', cut' if cut else ''} -->"
    return "\n".join([mark, f"**{_NAMES[role]}{about}**", "", *lines, ""])


def _from_markdown(text: str) -> Transcript:
    found: list[tuple[str, bool, list[str]]] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        mark = _MARK.fullmatch(line.rstrip())
        if mark is not None:
            found.append((mark.group(1), mark.group(2) is not None, []))
        elif found:
            found[-1][2].append(line[1:] if line.startswith("\\") and _LIKE_A_MARK.match(line) else line)
    if not found:
        raise InvalidRequest("This is no saved chat: it is neither JSON nor Markdown that /save wrote.")
    read = []
    for role, cut, lines in found:
        body = lines[2:] if lines[:1] and lines[0].startswith("**") else lines
        read.append(({"role": role, "content": "\n".join(body[:-1] if body[-1:] == [""] else body)}, cut))
    return _paired(read)


def _from_json(text: str) -> Transcript:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"This is no saved chat: the JSON is broken ({error}).") from error
    messages = said.get("messages") if isinstance(said, Mapping) else said
    if not isinstance(messages, list) or not all(isinstance(each, Mapping) for each in messages):
        raise InvalidRequest('This is no saved chat: there is no list of "messages".')
    return _paired([(dict(each), each.get("cut") is True) for each in messages])


def _paired(given: Sequence[tuple[dict[str, Any], bool]]) -> Transcript:
    from lollms_client.messages import messages_of

    for each, _ in given:
        _refuse_addresses(each)
    messages = messages_of([each for each, _ in given])
    system: list[str] = []
    turns: list[Turn] = []
    question: Message | None = None
    for message, (each, cut) in zip(messages, given, strict=True):
        if message.role == "system" and not turns and question is None:
            system.append(message.text)
        elif message.role == "user" and question is None:
            question = message
        elif message.role == "assistant" and question is not None:
            thoughts, model = str(each.get("thoughts") or ""), str(each.get("model") or "")
            turns.append(Turn(question, message.text, thoughts, model, cut))
            question = None
        else:
            raise InvalidRequest(
                "This is no saved chat: after the system's messages those of user and assistant must alternate."
            )
    return Transcript("\n\n".join(system), turns, question)


def _refuse_addresses(message: Mapping[str, Any]) -> None:
    """A file that is loaded fetches nothing: its images must be in it."""
    content = message.get("content")
    for part in content if isinstance(content, list) else []:
        image = part.get("image_url") if isinstance(part, Mapping) else None
        url = image.get("url") if isinstance(image, Mapping) else image
        if isinstance(url, str) and not url.startswith("data:"):
            raise InvalidRequest("An image of this chat is only an address. Images must be in the file, as data: URLs.")


# ---- files


def path_of(text: str) -> Path:
    """The path that was typed; quotes around it are taken off, `~` is the home folder. Raises `InvalidRequest`."""
    name = text.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"":
        name = name[1:-1]
    try:
        return Path(name).expanduser()
    except RuntimeError as error:  # no home folder
        raise InvalidRequest(f"The home folder of {name} is not known. Write the whole path.") from error


def write_transcript(path: Path, text: str, *, force: bool) -> None:
    """Write a conversation, readable by its owner only. Raises `StorageError`, also where a file is there already."""
    from lollms_runtime.files import write_atomic

    try:
        write_atomic(path, text, exclusive=not force)
    except FileExistsError as error:
        raise StorageError(f"{path} is there already. `/save -f {path}` writes over it.") from error


def read_transcript(path: Path) -> Transcript:
    """Read a saved conversation. Raises `InvalidRequest` or `StorageError`."""
    from lollms_runtime.files import read_text_strict

    return from_text(read_text_strict(path, _MAX_TRANSCRIPT))
