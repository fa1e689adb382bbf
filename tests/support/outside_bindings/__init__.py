"""Bindings as outsiders write them: each from one document of the specification alone, and left as it was written.

`phrase_book` follows the reference of the base class, `tiny_oracle` the guide for building bindings. Nothing of this
project was looked at for them; they are here so that what those documents promise keeps working.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["FOLDER", "write_phrases"]

FOLDER = Path(__file__).parent


def write_phrases(folder: Path) -> Path:
    """Two "models" for the phrase book."""
    folder.mkdir(exist_ok=True)
    (folder / "polite.txt").write_text("Good day\nYou are welcome\n", encoding="utf-8")
    (folder / "rude.txt").write_text("What\n", encoding="utf-8")
    return folder
