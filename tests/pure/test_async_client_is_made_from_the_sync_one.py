"""`AsyncLollmsClient` is what the program makes of `LollmsClient`, and every method of the one is one of the other."""

from __future__ import annotations

import inspect
from pathlib import Path

from lollms_client import AsyncLollmsClient, LollmsClient
from release.async_client import made

MADE = Path(__file__).resolve().parents[2] / "lollms_client" / "async_client.py"
PLAIN = {"stream"}  # gives a stream at once, in both


def methods(client: type) -> dict[str, inspect.Signature]:
    own = {name: each for name, each in vars(client).items() if inspect.isfunction(each) and not name.startswith("_")}
    return {name: inspect.signature(each) for name, each in own.items()}


def test_the_file_is_what_the_program_makes() -> None:
    assert MADE.read_text(encoding="utf-8") == made()


def test_both_have_the_same_methods_with_the_same_arguments() -> None:
    ours, theirs = methods(LollmsClient), methods(AsyncLollmsClient)
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert signature.parameters == theirs[name].parameters, name


def test_whatever_may_wait_is_a_coroutine() -> None:
    for name in methods(AsyncLollmsClient).keys() - PLAIN:
        assert inspect.iscoroutinefunction(getattr(AsyncLollmsClient, name)), name
