"""The fenced blocks of the specification's documents, each with a name that stays the same while its text does.

The documents lie beside the repository, never in it. One of them has a stray fence, so a fence with a language always
begins a block, even inside another: read by the letter of CommonMark it would swallow the examples behind it.
"""

from __future__ import annotations

import hashlib
import os
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(os.environ.get("LOLLMS_SPEC_DIR") or Path(__file__).resolve().parents[3] / "shared" / "spec")
NOT_RUN = Path(__file__).with_name("not_run.txt")

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[ \t]*$")


class Block(NamedTuple):
    """One example. `name` is `document:number:hash`; the document is the first part of its file's name."""

    name: str
    language: str
    text: str
    line: int


def blocks_of(document: str, text: str) -> list[Block]:
    """The fenced blocks of one document, in order, numbered from 1."""
    found: list[Block] = []
    language: str | None = None
    lines: list[str] = []
    start = 0

    def end() -> None:
        body = textwrap.dedent("\n".join(lines))
        digest = hashlib.sha256(f"{language}\n{body}".encode()).hexdigest()[:8]
        found.append(Block(f"{document}:{len(found) + 1}:{digest}", language or "", body, start))

    for number, line in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
            continue
        opens = bool(fence[1]) or language is None
        if language is not None:
            end()
        language, lines, start = (fence[1] if opens else None), [], number
    if language is not None:
        end()
    return found


def all_blocks() -> dict[str, Block]:
    """Every block of every document, by name."""
    documents = sorted(FOLDER.glob("[0-9][0-9][0-9]_*.txt"))
    found = [b for path in documents for b in blocks_of(path.name[:3], path.read_text(encoding="utf-8"))]
    return {block.name: block for block in found}


def not_run() -> dict[str, str]:
    """The listed blocks and why each does not run."""
    listed: dict[str, str] = {}
    for line in NOT_RUN.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, reason = line.partition(" ")
        assert name not in listed, f"{name} stands twice in {NOT_RUN.name}"
        listed[name] = reason.strip()
    return listed
