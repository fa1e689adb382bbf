"""What `lollms doctor` finds: one line each."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["LOCAL", "Check", "State"]

LOCAL = "llamacpp_binding"
"""The binding type whose models are files of the server's machine."""

State = Literal["ok", "note", "bad"]


class Check(NamedTuple):
    """One finding. `bad` makes the exit code 1; a `note` is something that is merely not there."""

    state: State
    subject: str
    text: str
