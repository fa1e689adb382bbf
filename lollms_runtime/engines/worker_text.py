"""From tokens to text as it is shown: whole characters, and nothing of a stop string.

Both classes take what comes and give what is certain by now; joined up, what they give does not depend on how the
tokens or the text were cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["Pieces", "StopStrings"]

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_LONGEST = 4  # tokens that one character may be spread over in a tokenizer of bytes


class Pieces:
    """Text from tokens, one at a time. `decode` turns tokens into text, also tokens of bytes that are no text yet.

    A token's text may depend on the one before (a space that is shown only inside of a text), so each is decoded
    together with those before it, of which the text is known. A character that is spread over several tokens shows as
    the replacement character until it is whole; where it still is one after four tokens, that is what it is.
    """

    __slots__ = ("_begin", "_decode", "_known", "_shown", "_tokens")

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._begin = 0  # of the tokens that are decoded again
        self._shown = 0  # tokens whose text has been given
        self._known = ""  # the text of those in between

    def add(self, token: int) -> str:
        """The text that is certain now, "" for none."""
        self._tokens.append(token)
        return self._take(last=False)

    def close(self) -> str:
        """There are no more tokens: the text of those that made no whole character."""
        return self._take(last=True)

    def _take(self, *, last: bool) -> str:
        tokens = self._tokens
        if self._shown == len(tokens):
            return ""
        text = self._decode(tokens[self._begin :])
        whole = not text.endswith(_UNKNOWN) or len(tokens) - self._shown > _LONGEST
        if not (whole or last):
            return ""
        piece = text[len(self._known) :]
        if not piece and not last:
            return ""  # a token without text of its own yet: it may show with the next one
        self._begin, self._shown = self._shown, len(tokens)
        self._known = self._decode(tokens[self._begin :])
        if self._begin > 64:  # what is behind is never looked at again
            del tokens[: self._begin]
            self._shown -= self._begin
            self._begin = 0
        return piece


class StopStrings:
    """Ends a text before the first stop string, and holds back what may become one.

    The first is the one that is complete first; of two that are complete with the same character the longer one.
    """

    __slots__ = ("_held", "_longest", "_stops", "stopped")

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(dict.fromkeys(filter(None, stops)))
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that is certain now. `stopped` says whether that was the last of it."""
        if not self._stops or self.stopped:
            return "" if self.stopped else text
        text = self._held + text
        found = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        keep = self._keep(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> str:
        """The text has ended: what was held back, which is no stop string then."""
        held, self._held = self._held, ""
        return held

    def _keep(self, text: str) -> int:
        """How many characters at the end may begin a stop string."""
        for length in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[len(text) - length :]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
