"""What a model chose, read from what it wrote: yes or no, one of several answers, or an order of them.

A text is read only where it can mean one thing: a word that happens to stand in it decides nothing ("not true" is not
true, and "no doubt, yes" is not no). What might mean another thing is not guessed at, so that the caller can ask again.

The answers to choose from are shown with labels: letters up to 26 of them, else numbers from 1. Letters are what most
questions of this kind have that models learn from, and nobody counts them from 0. Where an answer reads as the label of
another one, the next kind of labels is taken: "5" must not choose the answer "4".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from string import ascii_uppercase
from typing import Any

__all__ = ["LONGEST", "Choices", "answers_of", "permutation", "said_yes"]

LONGEST = 20_000
"""Characters; a longer text is not read."""

_DECISIONS = {"yes": True, "true": True, "no": False, "false": False}
_DECISION = re.compile(r"\b(?:yes|no|true|false)\b")
_NONE_OF = re.compile(  # "there is no sun" decides nothing
    r"\b(?:is|are|was|were|be|been|has|have|had|having|there's|with|by|of|in|see|sees|saw|finds?|found|shows?|because)"
    r" no (?!(?:it|he|she|we|they|you|i|that|this|there|yes|true|false|not|no)\b)[a-z]+|\bno doubt\b"
)
_DENIED = re.compile(r"(?:\b(?:not|never|neither|nor|hardly|without)|n't)\s+(?:\w+\s+)?(?:yes|no|true|false)\b")
_HEDGED = re.compile(
    r"\b(?:wait|actually|however|but|although|though|unless|maybe|perhaps|possibly|unsure|uncertain|unclear|unknown"
    r"|depends|depending|either|neither|both|sorry|cannot|can't|unable|don't know|do not know|or rather|on second"
    r"|assuming|if|can not|not able|help|assist|as an ai|language model)\b"
)
_LED = re.compile(r"(yes|no|true|false)(?:\s*$|[ \t]*\n|[ \t]*[.,;:!](?=\s|$)(?!\s*\d)|\s+[-–—]\s|\s+because\b)")
_MARKED = re.compile(
    r"(?:^|[.!?:] |\n)(?:(?:so|therefore|thus|hence),? )?(?:(?:my|the) )?(?:(?:final|correct|right|best) ){0,2}"
    r"(?:answer|option|choice)(?: is:?|:) ?([^\n]+)",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"[*_`]+")
_BECAUSE = re.compile(r"\bbecause\b", re.IGNORECASE)
_ENDS = " \t\n\r.,;:!\"'“”‘’«»「」。、()[]"
_BULLET = re.compile(r"\s*[-*•]\s+")
_ORDINAL = re.compile(r"\s*(\d{1,6})[.)]\s+")
_BEFORE = r"(?:(?:option|choice|answer|number|letter)\s*[:#]?\s*|#)?"
_LABEL = re.compile(_BEFORE + r"[(\[\"']*([a-z]|n?\d{1,6})[)\]\"']*[.:。]?")
_LABELLED = re.compile(_BEFORE + r"[(\[]?([a-z]|n?\d{1,6})(?:[)\]][.:]?|[.:]|\s+[-–—])\s+(.+)", re.DOTALL)
_RANKING = re.compile(r"\s*(?:(?:my|the)\s+)?(?:final\s+)?(?:ranking|order)(?:\s+is\s*:?|\s*:)\s*", re.IGNORECASE)


def answers_of(possible_answers: Iterable[Any]) -> list[str]:
    """The answers to choose from as texts, in their order; what is no text is written as `str` writes it.

    Raises TypeError for what has no answers, or none in an order that an index could mean.
    """
    if isinstance(possible_answers, (str, bytes, Mapping, AbstractSet)) or not isinstance(possible_answers, Iterable):
        kind = type(possible_answers).__name__
        raise TypeError(f"possible_answers must be a list of answers, not {kind}")
    return [str(each) for each in possible_answers]


def said_yes(said: str) -> bool | None:
    """Whether a text says yes (or true), or no (or false); None where it could mean both or neither.

    Yes and no are read where they are the whole text, where it begins with them ("Yes, because ..."), and in "The
    answer is no.", and only if nothing in the text says or hints at the opposite.
    """
    if len(said) > LONGEST:
        return None
    text = _EMPHASIS.sub("", unicodedata.normalize("NFKC", said)).replace("’", "'").strip(" \t\n\r\"'").casefold()
    meant = {_DECISIONS[word] for word in _DECISION.findall(_NONE_OF.sub("", text))}
    if len(meant) != 1 or _DENIED.search(text) or _HEDGED.search(text) or "?" in text:
        return None
    marked = _MARKED.findall(text)
    led = [_LED.match(rest) for rest in marked or [text]]
    said_by_them = {_DECISIONS[each[1]] if each else None for each in led}
    return meant.pop() if said_by_them == meant else None


class Choices:
    """Answers to choose from, in their order. Attributes: `answers`; `labels`, one of each, all different."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = tuple(answers)
        self._by_text: dict[str, tuple[int, ...]] = {}
        for index, answer in enumerate(self.answers):
            key = _plain(answer)
            self._by_text[key] = (*self._by_text.get(key, ()), index)
        self.labels = self._chosen_labels()
        self._by_label = {label: index for index, label in enumerate(self.labels)}

    def _chosen_labels(self) -> tuple[str, ...]:
        """Letters, or numbers where there are too many; N1, N2 and so on where the answers are letters or numbers."""
        many = len(self.answers)
        numbers = tuple(str(number) for number in range(1, many + 1))
        kinds = [tuple(ascii_uppercase[:many])] if many <= len(ascii_uppercase) else []
        kinds += [numbers, tuple(f"N{number}" for number in numbers)]
        return next((labels for labels in kinds if not self._misleads(labels)), kinds[0])

    def _misleads(self, labels: Sequence[str]) -> bool:
        """Whether an answer reads as the label of another one."""
        of = {label.casefold(): index for index, label in enumerate(labels)}
        for text, indices in self._by_text.items():
            read = _LABEL.fullmatch(text)
            if read and read[1] in of and set(indices) - {of[read[1]]}:
                return True
        return False

    @property
    def named(self) -> str:
        """The labels in words, for a prompt."""
        if len(self.labels) <= len(ascii_uppercase):
            return ", ".join(self.labels)
        return f"{self.labels[0]}, {self.labels[1]} and so on to {self.labels[-1]}"

    def listed(self) -> str:
        """The answers with their labels, a line each; further lines of an answer stand under its first."""
        lines = []
        for label, answer in zip(self.labels, self.answers, strict=True):
            first, *rest = answer.strip().splitlines() or [""]
            lines += [f"{label}. {first}", *(f"{' ' * (len(label) + 2)}{line}" for line in rest)]
        return "\n".join(lines)

    def index(self, said: str) -> int | None:
        """The index of the answer that a text names; None where it names none, or may mean several.

        It names one by its label ("(B)", "Option B"), its text, or both ("B. Paris"), alone, before a reason ("B,
        because ..."), or in "The answer is B."
        """
        if len(said) > LONGEST:
            return None
        whole = self._whole(said)
        if whole is not None:
            return whole
        text = said.strip()
        marked = {self._with_reason(rest) for rest in _MARKED.findall(_EMPHASIS.sub("", text))}
        if marked:
            return None if len(marked) > 1 or _HEDGED.search(text.casefold()) else marked.pop()
        return self._with_reason(text)

    def _with_reason(self, text: str) -> int | None:
        """What stands alone, or before a reason."""
        index = self._whole(text)
        if index is not None:
            return index
        for head, rest in _heads(text):
            index = self._whole(head)
            if index is not None:
                return None if _HEDGED.search(rest.casefold()) or self._others(rest, index) else index
        return None

    def _others(self, rest: str, index: int) -> bool:
        """Whether a line names another answer: then the text may be no more than a list of them."""
        return any(self._whole(line) not in (None, index) for line in rest.splitlines())

    def _whole(self, said: str) -> int | None:
        """The answer that a text names, if it does nothing else."""
        text = _without(_BULLET, _EMPHASIS.sub("", unicodedata.normalize("NFKC", said))).strip().casefold()
        meant = self._exactly(said, self._texts(said))
        if label := _LABEL.fullmatch(text):
            meant |= self._of_label(label[1])
        elif labelled := _LABELLED.fullmatch(text):
            named = set(self._texts(labelled[2]))
            index = self._by_label.get(labelled[1].upper())
            if index is not None:
                meant |= named & {index}
            elif labelled[1].isdigit():
                number = int(labelled[1])  # counted from 0 or from 1: the text says which
                meant |= named & {number, number - 1}
        return meant.pop() if len(meant) == 1 else None

    def _texts(self, said: str) -> tuple[int, ...]:
        """The answers of that text."""
        plain = _plain(said)
        if not plain:
            return ()
        return self._by_text.get(plain, ()) or self._by_text.get(_plain(_without(_BULLET, said)), ())

    def _exactly(self, said: str, found: Sequence[int]) -> set[int]:
        """Of several that were found, the only one that is written exactly so."""
        exact = {index for index in found if self.answers[index].strip() == said.strip()}
        return exact if len(exact) == 1 else set(found)

    def _of_label(self, label: str) -> set[int]:
        index = self._by_label.get(label.upper())
        return set() if index is None else {index}

    def chosen(self, value: Any) -> int | None:
        """The index of the answer that a decoded JSON value names: its label, or what `index` reads."""
        if isinstance(value, str):
            index = self._by_label.get(value.strip())
            return self.index(value) if index is None else index
        if isinstance(value, int) and not isinstance(value, bool):
            return self._whole(str(value))
        return None

    def order(self, value: Any) -> tuple[int, ...] | None:
        """The order of all answers that a text or a list puts them in; None where there is none, or several.

        A text has them with `>` or commas between them, or one in a line. A list may have numbers instead, from 0 or 1.
        One answer that is left out is the last.
        """
        if isinstance(value, str):
            return self._order_in_words(value)
        if not isinstance(value, list):
            return None
        many = len(self.answers)
        found = permutation([self.chosen(each) for each in value], many)
        if not value or not all(isinstance(each, int) and not isinstance(each, bool) for each in value):
            return found
        readings = {found, *(_counted([each - first for each in value], many) for first in (0, 1))} - {None}
        return readings.pop() if len(readings) == 1 else None

    def _order_in_words(self, said: str) -> tuple[int, ...] | None:
        if len(said) > LONGEST:
            return None
        text, many = _without(_RANKING, said).strip().strip("[]"), len(self.answers)
        if ">" in text:
            return permutation([self.chosen(each) for each in text.split(">")], many)
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1:
            found = permutation([self._whole(line) for line in _without_ordinals(lines)], many)
            return None if found == tuple(range(many)) else found  # perhaps they were only repeated
        return permutation([self._whole(each) for each in text.split(",")], many)


def permutation(indices: Sequence[int | None], many: int) -> tuple[int, ...] | None:
    """All the numbers below `many`, each once, in the given order; one that is missing is the last. Else None."""
    known = [index for index in indices if index is not None]
    if len(known) < len(indices) or len(set(known)) < len(known) or not all(0 <= index < many for index in known):
        return None
    missing = sorted(set(range(many)) - set(known)) if many - len(known) <= 1 else None
    return None if missing is None or not known else (*known, *missing)


def _counted(indices: Sequence[int], many: int) -> tuple[int, ...] | None:
    return tuple(indices) if sorted(indices) == list(range(many)) else None


def _heads(text: str) -> Iterator[tuple[str, str]]:
    """The ways to divide a text into a statement and the reason for it."""
    if because := _BECAUSE.search(text):
        yield text[: because.start()].rstrip(_ENDS + "–—-"), text[because.end() :]
    first, _, rest = text.partition("\n")
    if rest.strip() and not rest.lstrip()[0].islower():
        yield first, rest


def _without_ordinals(lines: Sequence[str]) -> list[str]:
    """Lines without the numbers in front of them, where these count the lines."""
    ordinals = [_ORDINAL.match(line) for line in lines]
    if all(each is not None and int(each[1]) == place for place, each in enumerate(ordinals, 1)):
        return [_without(_ORDINAL, line) for line in lines]
    return list(lines)


def _without(opening: re.Pattern[str], text: str) -> str:
    """A text without what it begins with."""
    found = opening.match(text)
    return text if found is None else text[found.end() :]


def _plain(text: str) -> str:
    """A text in the form in which it is compared."""
    folded = " ".join(_EMPHASIS.sub("", unicodedata.normalize("NFKC", text)).casefold().split())
    return folded.strip(_ENDS) or folded
