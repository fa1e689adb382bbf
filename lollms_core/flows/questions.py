"""Questions whose answer is one of a few: yes or no, one of several answers, or an order of them.

Each is a structured answer (`lollms_core.flows.structured`) of a shape that a backend can be held to: it allows nothing
but the answers. Where a backend cannot be held to it, what the model says is read only where it can mean one thing
(`lollms_core.text.choices`), and is asked for again where it cannot. So what comes back is one of the answers, or a
`StructuredOutputError`.

An explanation comes before the answer, because a model that has given a reason answers better, and one that has
answered can only defend it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

import msgspec

from lollms_core.errors import InvalidRequest, LollmsError
from lollms_core.flows.base import Flow
from lollms_core.flows.shapes import Shape, object_schema, object_shape
from lollms_core.flows.spending import Limits
from lollms_core.flows.steps import step_end, step_start
from lollms_core.flows.structured import Structured, structured
from lollms_core.text.choices import Choices, said_yes
from lollms_core.text.thinking import remove_thinking_blocks
from lollms_core.types import GenerationCall, Message, Reply

__all__ = ["Choice", "Ranking", "Verdict", "Wanted", "choose", "decide", "rank"]

_ANSWER, _RANKING, _EXPLANATION, _EXPLANATIONS = "answer", "ranking", "explanation", "explanations"
_STEP = "question"
_FRAME = 64
"""Tokens for what stands around an explanation."""
_ORDERS = 5
"""Of so many answers every order is spelled out in the schema (120 of them); no schema can say it of more."""


class Wanted(msgspec.Struct, frozen=True):
    """What is wanted of an answer: whether it is explained, in how many tokens at most, and what it may cost."""

    explained: bool = False
    longest: int | None = None
    limits: Limits = Limits()


class Verdict(msgspec.Struct, frozen=True):
    """Yes or no; `reply` has what it has cost."""

    answer: bool
    explanation: str = ""
    reply: Reply = Reply()


class Choice(msgspec.Struct, frozen=True):
    """The index of the chosen answer, from 0; `reply` has what it has cost."""

    index: int
    explanation: str = ""
    reply: Reply = Reply()


class Ranking(msgspec.Struct, frozen=True):
    """The indices of all answers, the best first, and an explanation for each in that order, if they were wanted."""

    ranking: tuple[int, ...]
    explanations: tuple[str, ...] = ()
    reply: Reply = Reply()


def decide(
    call: GenerationCall,
    question: str,
    context: str = "",
    wanted: Wanted = Wanted(),  # noqa: B008  an immutable value
) -> Flow[Verdict]:
    """Whether the answer to a question is yes. The call may have system messages and images.

    Costs one call where the first answer is one, else up to the limits that are wanted. Raises `StructuredOutputError`
    when the model says neither yes nor no, and `InvalidRequest` for an explanation of less than one token.
    """
    tokens = _tokens(wanted)
    told = f'{{{_form_of_explanation(wanted)}"{_ANSWER}": true or false}}, where true means yes and false means no.'
    shape = _shape(_explanation_before(wanted) | {_ANSWER: {"type": "boolean"}}, told, _read_verdict)
    asked = _posed(call, _with_context(question, context), tokens)
    yield from step_start("Answering with yes or no", _STEP)
    found = yield from _also_in_words(structured(asked, shape, wanted.limits), _verdict_in_words)
    answer, explanation = found.value
    yield from step_end("Answered", _STEP, answer=answer)
    return Verdict(answer, explanation if wanted.explained else "", found.reply)


def choose(
    call: GenerationCall,
    question: str,
    answers: Sequence[str],
    context: str = "",
    wanted: Wanted = Wanted(),  # noqa: B008  an immutable value
) -> Flow[Choice]:
    """Which of the answers is right. The call may have system messages and images.

    Costs as `decide`, and nothing where there is one answer and no explanation is wanted. Raises as `decide`, and
    `InvalidRequest` without answers.
    """
    if not answers:
        raise InvalidRequest("There are no answers to choose from.", param="possible_answers")
    if len(answers) == 1 and not wanted.explained:
        return Choice(0)
    choices, tokens = Choices(answers), _tokens(wanted)
    told = (
        f'{{{_form_of_explanation(wanted)}"{_ANSWER}": "label"}}, where the label is the one before the best option: '
        f"{choices.named}."
    )
    answer = {_ANSWER: {"type": "string", "enum": list(choices.labels)}}
    shape = _shape(_explanation_before(wanted) | answer, told, lambda value: _read_choice(value, choices))
    asked = _posed(call, _with_options(question, context, choices), tokens)
    yield from step_start("Choosing an answer", _STEP)
    flow = structured(asked, shape, wanted.limits)
    found = yield from _also_in_words(flow, lambda said: _choice_in_words(said, choices))
    index, explanation = found.value
    yield from step_end("Chosen", _STEP, index=index)
    return Choice(index, explanation if wanted.explained else "", found.reply)


def rank(
    call: GenerationCall,
    question: str,
    answers: Sequence[str],
    context: str = "",
    wanted: Wanted = Wanted(),  # noqa: B008  an immutable value
) -> Flow[Ranking]:
    """All the answers from the best to the worst, in one call for the whole order. The call is as for `decide`.

    `longest` is of each explanation. A backend can be held to an order of up to five answers; with more, the answers
    are checked here. One that is left out is the last; with any other fault the whole order is asked for again. Costs
    and raises as `decide`; costs nothing where there is nothing to rank and no explanation is wanted.
    """
    if not answers or (len(answers) == 1 and not wanted.explained):
        return Ranking(tuple(range(len(answers))))
    choices, tokens = Choices(answers), _tokens(wanted, len(answers))
    shape = _ranking_shape(choices, wanted)
    asked = _posed(call, _with_options(question, context, choices), tokens)
    yield from step_start("Ranking the answers", _STEP)
    flow = structured(asked, shape, wanted.limits)
    found = yield from _also_in_words(flow, lambda said: _ranking_in_words(said, choices))
    ranking, explanations = found.value
    yield from step_end("Ranked", _STEP, ranking=list(ranking))
    return Ranking(ranking, explanations if wanted.explained else (), found.reply)


# ---- what is asked


def _posed(call: GenerationCall, text: str, tokens: int | None) -> GenerationCall:
    """The call with this question as its only turn, and an answer of so many tokens."""
    system = tuple(message for message in call.messages if message.role == "system")
    images = tuple(image for message in call.messages for image in message.images)
    params = call.params
    if tokens is not None:
        most = tokens if params.max_tokens is None else min(params.max_tokens, tokens)
        params = msgspec.structs.replace(params, max_tokens=most)
    return msgspec.structs.replace(call, messages=(*system, Message.user(text, images)), params=params)


def _tokens(wanted: Wanted, many: int = 1) -> int | None:
    """How long an answer with so many explanations may be."""
    longest = wanted.longest
    if longest is None:
        return None
    if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
        raise InvalidRequest(
            f"max_answer_length is {longest!r}; it must be a whole number of tokens, at least 1.",
            param="max_answer_length",
        )
    return many * (longest + _FRAME) if wanted.explained else None


def _with_context(question: str, context: str) -> str:
    return f"Context:\n{context}\n\nQuestion:\n{question}" if context and context.strip() else question


def _with_options(question: str, context: str, choices: Choices) -> str:
    return f"{_with_context(question, context)}\n\nOptions:\n{choices.listed()}"


def _at_most(wanted: Wanted) -> str:
    """How long an explanation may be, in words, which models count better than tokens."""
    return "" if wanted.longest is None else f", in at most {max(1, wanted.longest * 2 // 3)} words"


def _form_of_explanation(wanted: Wanted) -> str:
    return f'"{_EXPLANATION}": "why{_at_most(wanted)}", ' if wanted.explained else ""


def _explanation_before(wanted: Wanted) -> dict[str, Any]:
    return {_EXPLANATION: {"type": "string"}} if wanted.explained else {}


def _ranking_shape(choices: Choices, wanted: Wanted) -> Shape:
    """An explanation for each label, and then every order as a text of its own, or a list where these are too many."""
    many = len(choices.labels)
    if many <= _ORDERS:
        order: dict[str, Any] = {"type": "string", "enum": [" > ".join(each) for each in permutations(choices.labels)]}
        form = f'"{_RANKING}": "label > label > ..."'
    else:
        item = {"type": "string", "enum": list(choices.labels)}
        order = {"type": "array", "items": item, "minItems": many, "maxItems": many}
        form = f'"{_RANKING}": ["label", "label", ...]'
    properties: dict[str, Any] = {_RANKING: order}
    if wanted.explained:
        properties = {
            _EXPLANATIONS: object_schema({label: {"type": "string"} for label in choices.labels}),
            **properties,
        }
        form = f'"{_EXPLANATIONS}": {{"label": "why{_at_most(wanted)}", ...}}, {form}'
    told = f"{{{form}}}, with the labels of all options, each once, the best option first: {choices.named}."
    return _shape(properties, told, lambda value: _read_ranking(value, choices))


def _shape(properties: Mapping[str, Any], told: str, read: Callable[[Any], Any]) -> Shape:
    return object_shape(properties, f"It must look like this: {told}", read)


# ---- what is answered


def _also_in_words(flow: Flow[Structured], in_words: Callable[[str], Any]) -> Flow[Structured]:
    """A flow for whose model an answer without JSON counts as well, where `in_words` can tell what it means."""
    try:
        request = next(flow)
        while True:
            try:
                result = yield request
            except LollmsError as error:
                request = flow.throw(error)
            else:
                request = flow.send(_as_json(result, in_words) if isinstance(result, Reply) else result)
    except StopIteration as end:
        found: Structured = end.value
        return found
    finally:
        flow.close()


def _as_json(reply: Reply, in_words: Callable[[str], Any]) -> Reply:
    """A reply in words as the JSON that it means; else as it is."""
    if reply.finish_reason != "stop" or reply.tool_calls or reply.broken_calls or "{" in reply.text:
        return reply
    value = in_words(remove_thinking_blocks(reply.text))
    return reply if value is None else msgspec.structs.replace(reply, text=json.dumps(value, ensure_ascii=False))


def _read_verdict(value: Any) -> tuple[bool, str]:
    answer = _member(value, _ANSWER)
    if isinstance(answer, str):
        answer = said_yes(answer)
    if not isinstance(answer, bool):
        raise ValueError(f"{_ANSWER!r} must be true or false")
    return answer, _explanation(value.get(_EXPLANATION))


def _verdict_in_words(said: str) -> Any:
    answer = said_yes(said)
    return None if answer is None else {_EXPLANATION: said.strip(), _ANSWER: answer}


def _read_choice(value: Any, choices: Choices) -> tuple[int, str]:
    answer = _member(value, _ANSWER)
    index = choices.chosen(answer)
    if index is None:
        raise ValueError(f"{_ANSWER!r} must be one of the labels {choices.named}")
    return index, _explanation(value.get(_EXPLANATION))


def _choice_in_words(said: str, choices: Choices) -> Any:
    index = choices.index(said)
    return None if index is None else {_EXPLANATION: said.strip(), _ANSWER: choices.labels[index]}


def _read_ranking(value: Any, choices: Choices) -> tuple[tuple[int, ...], tuple[str, ...]]:
    given = value if isinstance(value, list) else _member(value, _RANKING)
    order = choices.order(given)
    if order is None:
        raise ValueError(f"{_RANKING!r} must have each of the labels {choices.named} once, the best first")
    explanations = value.get(_EXPLANATIONS) if isinstance(value, dict) else None
    if not isinstance(explanations, dict):
        return order, ("",) * len(order)
    of = {choices.chosen(label): _explanation(text) for label, text in explanations.items()}
    return order, tuple(of.get(index, "") for index in order)


def _ranking_in_words(said: str, choices: Choices) -> Any:
    order = choices.order(said)
    return None if order is None else {_RANKING: [choices.labels[index] for index in order]}


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise ValueError(f"it must be an object with the property {name!r}")
    return value[name]


def _explanation(value: Any) -> str:
    """The explanation; a model that leaves it out has answered nevertheless."""
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
