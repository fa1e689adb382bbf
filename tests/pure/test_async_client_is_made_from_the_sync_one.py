"""`AsyncLollmsClient` is what the program makes of `LollmsClient`, and every method of the one is one of the other."""

from __future__ import annotations

import inspect

import pytest

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_client.client_base import ClientBase
from release.async_client import CLIENT, MODULES, Made, made

PLAIN = {"stream"}  # gives a stream at once, in both


def methods(client: type) -> dict[str, inspect.Signature]:
    """The public methods of a client, without those that it shares with the other."""
    made_of = [each for each in client.__mro__ if issubclass(each, ClientBase) and each is not ClientBase]
    found = {name: each for kind in reversed(made_of) for name, each in vars(kind).items()}
    own = {name: each for name, each in found.items() if inspect.isfunction(each) and not name.startswith("_")}
    return {name: inspect.signature(each) for name, each in own.items()}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.target)
def test_the_file_is_what_the_program_makes(module: Made) -> None:
    assert (CLIENT / module.target).read_text(encoding="utf-8") == made(module)


def test_both_have_the_same_methods_with_the_same_arguments() -> None:
    ours, theirs = methods(LollmsClient), methods(AsyncLollmsClient)
    assert {"complete", "generate_structured_content"} <= ours.keys()
    assert ours.keys() == theirs.keys()
    for name, signature in ours.items():
        assert signature.parameters == theirs[name].parameters, name


def test_whatever_may_wait_is_a_coroutine() -> None:
    for name in methods(AsyncLollmsClient).keys() - PLAIN:
        assert inspect.iscoroutinefunction(getattr(AsyncLollmsClient, name)), name
