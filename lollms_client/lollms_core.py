"""The older place of `LollmsClient`; what it held is re-exported. `chunk_text` cuts a long text into chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lollms_client.client import LollmsClient
from lollms_client.lollms_types import ELF_COMPLETION_FORMAT, ELF_GENERATION_FORMAT, MSG_TYPE

__all__ = ["ELF_COMPLETION_FORMAT", "ELF_GENERATION_FORMAT", "MSG_TYPE", "LollmsClient", "chunk_text"]


def chunk_text(
    text: str,
    tokenizer: Callable[[str], Sequence[Any]],
    detokenizer: Callable[[Any], str],
    chunk_size: int,
    overlap: int,
    use_separators: bool = True,
) -> list[str]:
    """A text in chunks of at most `chunk_size` tokens, each beginning up to `overlap` tokens before the last one ended.

    `tokenizer` gives the tokens of a text as a list, `detokenizer` their text again; those of a client or binding go.
    With `use_separators` a chunk ends where a section, line, sentence or word does and is a piece of the text itself;
    without, all chunks but the last have exactly so many tokens, and are what `detokenizer` makes of them. An empty
    text has no chunks. Costs one to three calls of `tokenizer` for a chunk, or one call of it for the whole text.

    Raises `InvalidRequest` (a ValueError) unless `0 <= overlap < chunk_size`, and for a size that does not hold one
    character.
    """
    from lollms_core.flows.chunks import check_sizes, chunked

    check_sizes(chunk_size, overlap, "chunk_size", "overlap")
    if not use_separators:
        tokens = tokenizer(text)
        starts = range(0, max(len(tokens) - overlap, min(len(tokens), 1)), chunk_size - overlap)
        return [detokenizer(tokens[start : start + chunk_size]) for start in starts]
    flow = chunked(text, chunk_size, overlap)
    counted: int | None = None
    while True:
        try:
            request: Any = flow.send(counted)  # a flow that cuts asks for nothing but counts
        except StopIteration as end:
            return [part.of(text) for part in end.value.parts]
        counted = len(tokenizer(request.text))
