"""Every number, text, list and mapping that a caller can send has an upper bound."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo
from starlette.routing import BaseRoute

from lollms_server.api import generate, health, listings, models, requests

REQUESTS = [
    each
    for _, each in inspect.getmembers(models, inspect.isclass)
    if issubclass(each, models.Request) and each is not models.Request
]


def bounded_size(marks: list[Any]) -> bool:
    return any(isinstance(mark, annotated_types.MaxLen) for mark in marks)


def bounded_value(marks: list[Any]) -> bool:
    kinds = (annotated_types.Le, annotated_types.Lt)
    low = (annotated_types.Ge, annotated_types.Gt)
    return any(isinstance(m, kinds) for m in marks) and any(isinstance(m, low) for m in marks)


def flattened(marks: tuple[Any, ...]) -> list[Any]:
    found: list[Any] = []
    for mark in marks:
        found += mark.metadata if isinstance(mark, FieldInfo) else [mark]
    return found


def unbounded(annotation: Any, marks: list[Any], where: str) -> Iterator[str]:
    """The places inside of a type that have no bound."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        yield from unbounded(inner, marks + flattened(tuple(more)), where)
    elif origin in (Union, types.UnionType):
        for inner in get_args(annotation):
            yield from unbounded(inner, marks, where)
    elif origin in (list, dict):
        if not bounded_size(marks):
            yield f"{where}: {annotation}"
        for place, inner in enumerate(get_args(annotation)):
            yield from unbounded(inner, [], f"{where}[{place}]")
    elif annotation is str and not bounded_size(marks):
        yield f"{where}: str"
    elif annotation in (int, float) and not bounded_value(marks):
        yield f"{where}: {annotation}"
    elif not (
        origin is Literal
        or annotation in (bool, str, int, float, type(None), Any)
        or (inspect.isclass(annotation) and issubclass(annotation, models.Request))
    ):
        yield f"{where}: a type this test does not know: {annotation}"


@pytest.mark.parametrize("model", REQUESTS, ids=lambda model: model.__name__)
def test_every_field_of_every_request_is_bounded(model: type[BaseModel]) -> None:
    hints = typing.get_type_hints(model, include_extras=True)
    missing = [
        problem for name, info in model.model_fields.items() for problem in unbounded(hints[name], info.metadata, name)
    ]
    assert not missing, missing


def test_the_test_sees_what_is_not_bounded() -> None:
    assert list(unbounded(str, [], "x")) == ["x: str"]
    assert list(unbounded(list[str], [], "x")) == ["x: list[str]", "x[0]: str"]
    assert list(unbounded(int | None, [], "x"))
    assert list(unbounded(Annotated[str, Field(max_length=5)], [], "x")) == []


def routes() -> Iterator[BaseRoute]:
    for module in (generate, health, listings, requests):
        yield from module.router.routes


def test_every_parameter_of_a_path_or_query_is_bounded() -> None:
    seen = 0
    for route in routes():
        dependant = getattr(route, "dependant", None)
        assert dependant is not None
        for each in [*dependant.path_params, *dependant.query_params, *dependant.header_params]:
            assert bounded_size(each.field_info.metadata), (route, each)
            seen += 1
        assert not dependant.cookie_params
    assert seen >= 2
