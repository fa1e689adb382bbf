"""The texts that a command works on: files by name, `-` or nothing for what is piped in.

Nothing is guessed: what is no UTF-8 text is refused in words, with what it is where its bytes tell.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from lollms_core.errors import InvalidRequest

__all__ = ["TextFile", "read_texts"]

_LARGEST = 16 * 1024 * 1024
_WEB = ("http://", "https://", "ftp://")
_SHOWN = 200


class TextFile(NamedTuple):
    """A text and the name it was given by, "" for what is piped in; `label` is what a model and people read.

    The label is the name without its folders, unless two texts would have the same one. `problem` says why there is no
    text.
    """

    name: str
    text: str
    label: str
    problem: InvalidRequest | None = None


def read_texts(names: Sequence[str], command: str, *, apart: bool = False) -> list[TextFile]:
    """Read files in their order; none at all is standard input.

    Raises `UsageError` where nothing is piped in, `InvalidRequest` in words for what cannot be read or is no text.
    With `apart` each of several files stands for itself: that error is its `problem` then.
    """
    if list(names).count("-") > 1:
        raise click.UsageError("- stands for standard input, which can be read only once.")
    short = Counter(Path(name).name for name in names)
    found = []
    for given in names or ("-",):
        text, problem = "", None
        try:
            text = _decoded(_bytes(given, command), "What is piped in" if given == "-" else given[:_SHOWN])
        except InvalidRequest as error:
            if not apart or len(names) < 2:
                raise
            problem = error
        if given == "-":
            found.append(TextFile("", text, "standard input", problem))
            continue
        name = os.fsencode(given).decode(errors="replace")  # what the locale cannot read, a name has as surrogates
        label = (Path(name).name if short[Path(given).name] == 1 else name) or name
        found.append(TextFile(name, text, " ".join(label.split()), problem))
    return found


def _bytes(name: str, command: str) -> bytes:
    if name == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError(f"There is no text: name a file, or pipe one in. For example: lollms {command}")
        try:
            return sys.stdin.buffer.read(_LARGEST + 1)
        except OSError:  # standard input was closed
            return b""
    if name.lower().startswith(_WEB):
        raise InvalidRequest(f"{name[:_SHOWN]} is not fetched. Download it and name the file.")
    try:
        with open(Path(name).expanduser(), "rb") as file:
            return file.read(_LARGEST + 1)
    except FileNotFoundError:
        word = command.split()[0]
        hint = "" if any(c in name for c in "./\\") else f" To send the words as a prompt: lollms prompt {word} ..."
        raise InvalidRequest(f"There is no file {name[:_SHOWN]}.{hint}") from None
    except IsADirectoryError:
        raise InvalidRequest(f"{name[:_SHOWN]} is a folder. Name the files in it.") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidRequest(f"{name[:_SHOWN]} cannot be read: {reason}.") from error


def _decoded(data: bytes, shown: str) -> str:
    from lollms_core.text.binary import sniff

    # only of what is no text: its first letters may be those of a picture, as in "BMW is a maker of cars"
    kind = sniff(data)
    what = f" ({kind})" if kind and not kind.startswith("text/") else ""
    if kind == "application/pdf":
        raise InvalidRequest(f"{shown} is no text{what}. Make a text file of it first.")
    if len(data) > _LARGEST:
        raise InvalidRequest(f"{shown} is larger than {_LARGEST // 2**20} MiB, the most a text may have.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        from lollms_client.text_files import wide_encoding

        if wide := wide_encoding(data):
            raise InvalidRequest(f"{shown} is {wide}, and only UTF-8 is read. Save it as UTF-8.") from None
        raise InvalidRequest(f"{shown} is not UTF-8 text (byte {error.start}){what}.") from None
    if "\0" in text:
        raise InvalidRequest(f"{shown} is no text: there are zero bytes in it{what}.")
    if not text.strip():
        raise InvalidRequest(f"{shown} is empty.")
    return text
