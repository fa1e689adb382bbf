"""What a script of a personality can call has the names of the client's operations, and their arguments."""

from __future__ import annotations

import inspect

import pytest

from lollms_client.client_base import ClientBase
from lollms_client.operations import Operations
from lollms_server.core.personalities.workflow_operations import ScriptOperations

PARAMETERS = {
    "n_predict", "stream", "temperature", "top_k", "top_p", "repeat_penalty", "repeat_last_n", "seed", "n_threads",
}  # fmt: skip
ELSEWHERE = {"callback", "streaming_callback", "debug", "raise_errors"}


def operations(owner: type) -> set[str]:
    made_of = [each for each in owner.__mro__[:-1] if each not in ClientBase.__mro__]
    return {name for each in made_of for name in vars(each) if not name.startswith("_")}


def in_order(function: object) -> list[str]:
    """The arguments that may be given by place, without those that are parameters of the generation."""
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    names = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    return [name for name in names if name not in PARAMETERS | ELSEWHERE | {"self"}]


def test_no_operation_is_missing() -> None:
    assert operations(Operations) == operations(ScriptOperations)


@pytest.mark.parametrize("name", sorted(operations(Operations)))
def test_the_arguments_are_the_same_and_in_the_same_order(name: str) -> None:
    theirs = in_order(getattr(Operations, name))
    ours = in_order(getattr(ScriptOperations, name))
    assert ours == [each for each in theirs if each in ours]
    by_name = set(inspect.signature(getattr(ScriptOperations, name)).parameters) - {"params"}
    known = set(inspect.signature(getattr(Operations, name)).parameters)
    assert by_name - known <= {"max_retries", "images"}, "nothing is called otherwise"
    assert set(theirs) <= by_name | {"ctx_size"}
    assert known - by_name <= PARAMETERS | ELSEWHERE | {"self", "ctx_size", "kwargs", "gen_kwargs"}, (
        "sent as parameters"
    )
    assert inspect.iscoroutinefunction(getattr(ScriptOperations, name))
