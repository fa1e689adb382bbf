"""Answers that a program can use, asked for in words: JSON, code blocks, yes or no.

The model is asked again when its answer cannot be used, and told why; after a few times that is an error. The check
against a schema covers what descriptions of answers consist of: types, names, list entries and choices.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lollms_core.errors import StructuredOutputError
from lollms_core.fold import ReplyFold
from lollms_server.core.bindings.answers import AnswerReader
from lollms_server.utils.helpers import extract_code_blocks

if TYPE_CHECKING:
    from lollms_server.core.bindings import Binding

__all__ = ["Asking", "ask_codes", "ask_json", "ask_yes_no"]

T = TypeVar("T")

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class Asking(NamedTuple):
    """Who is asked and with what, as for `generate`; `retries` is how often again."""

    binding: Binding
    params: dict[str, Any]
    request_info: dict[str, Any]
    multimodal_data: list[dict[str, Any]]
    retries: int = 2

    async def until(self, prompt: str, read: Callable[[str], T]) -> T:
        """What `read` makes of an answer; it raises ValueError for one that cannot be used.

        Raises `StructuredOutputError` with the last reason when no answer could.
        """
        words, reason = prompt, ""
        for _ in range(max(self.retries, 0) + 1):
            answer = await self._answer(words)
            try:
                return read(answer)
            except ValueError as error:
                reason = str(error)
                words = f"{prompt}\n\nYour last answer could not be used: {reason}\nIt was:\n{answer}"
        raise StructuredOutputError(f"The model gave no answer that can be used. The last time: {reason}")

    async def _answer(self, prompt: str) -> str:
        result = await self.binding.generate(prompt, dict(self.params), self.request_info, self.multimodal_data)
        reader, fold = AnswerReader(), ReplyFold()
        fold.add(reader.whole(result))
        fold.add(reader.end())
        if reader.failure is not None:
            raise reader.failure
        return fold.done().text


async def ask_json(asking: Asking, prompt: str, schema: Mapping[str, Any]) -> Any:
    """The value that the model answers, which obeys the schema. Raises `StructuredOutputError`."""

    def read(answer: str) -> Any:
        value = _json_in(answer)
        _check(value, schema, "the answer")
        return value

    described = json.dumps(schema, ensure_ascii=False)
    return await asking.until(
        f"{prompt}\n\nAnswer with JSON alone, in one code block, that obeys this JSON Schema:\n{described}", read
    )


async def ask_codes(asking: Asking, prompt: str) -> list[dict[str, Any]]:
    """The code blocks of the answer, at least one, all complete. Raises `StructuredOutputError`."""

    def read(answer: str) -> list[dict[str, Any]]:
        blocks = extract_code_blocks(answer)
        if not blocks:
            raise ValueError("there is no code block in it.")
        if not blocks[-1]["is_complete"]:
            raise ValueError("its last code block is not closed.")
        return blocks

    return await asking.until(
        f"{prompt}\n\nPut all code in Markdown code blocks that name the language behind the opening fence.", read
    )


async def ask_yes_no(asking: Asking, question: str) -> bool:
    """Whether the model says yes. Raises `StructuredOutputError` when it says neither yes nor no."""

    def read(answer: str) -> bool:
        words = "".join(each if each.isalpha() else " " for each in answer.lower()).split()
        said = [word for word in words if word in ("yes", "no")]
        if words[:1] == ["yes"] or (said and set(said) == {"yes"}):
            return True
        if words[:1] == ["no"] or (said and set(said) == {"no"}):
            return False
        raise ValueError("it says neither yes nor no.")

    return await asking.until(f"{question}\n\nAnswer with one word: yes or no.", read)


def _json_in(answer: str) -> Any:
    """The JSON of an answer: all of it, its first code block, or the first object or list in it."""
    blocks = extract_code_blocks(answer)
    for text in (answer, *(block["content"] for block in blocks)):
        try:
            return json.loads(text)
        except ValueError:
            continue
    for text in (*(block["content"] for block in blocks), answer):
        starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
        if starts:
            try:
                return json.JSONDecoder().raw_decode(text, min(starts))[0]
            except ValueError:
                continue
    raise ValueError("there is no valid JSON in it.")


def _check(value: Any, schema: Mapping[str, Any], where: str) -> None:
    """Raises ValueError naming the place that does not obey."""
    wanted = schema.get("type")
    kinds = [wanted] if isinstance(wanted, str) else wanted or []
    if kinds and not any(_is(value, kind) for kind in kinds):
        raise ValueError(f"{where} must be of type {' or '.join(kinds)}.")
    if "enum" in schema and value not in schema["enum"]:
        raise ValueError(f"{where} must be one of {schema['enum']}.")
    if isinstance(value, dict):
        for name in schema.get("required") or ():
            if name not in value:
                raise ValueError(f"{where} has no {name!r}.")
        for name, part in (schema.get("properties") or {}).items():
            if name in value and isinstance(part, Mapping):
                _check(value[name], part, f"{where}[{name!r}]")
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for place, each in enumerate(value):
            _check(each, schema["items"], f"{where}[{place}]")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, (object,)))
