"""Every error class has its row, its place in the drawn tree, and the built-in class a caller would catch."""

from __future__ import annotations

import pickle

import pytest

from lollms_core import errors
from lollms_core.errors import MEANINGS, LollmsError, as_dict, error_for_code, meaning


def every_class(base: type[LollmsError] = LollmsError) -> list[type[LollmsError]]:
    return [base, *(found for child in base.__subclasses__() for found in every_class(child))]


OURS = [kind for kind in every_class() if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_class_has_a_row_and_stands_in_the_tree(kind: type[LollmsError]) -> None:
    assert kind in MEANINGS
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__


def test_codes_are_unique_and_lead_back_to_their_class() -> None:
    assert len({row.code for row in MEANINGS.values()}) == len(MEANINGS)
    assert all(error_for_code(row.code) is kind for kind, row in MEANINGS.items())
    assert error_for_code("no_such_code") is None


def test_a_class_made_elsewhere_means_what_its_ancestor_means() -> None:
    class Own(errors.RateLimited):
        pass

    assert meaning(Own("x")) == MEANINGS[errors.RateLimited]


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.UnknownBinding, ValueError),
        (errors.ConnectFailed, ConnectionError),
        (errors.Refused, ConnectionRefusedError),
        (errors.UnsupportedFeature, NotImplementedError),
        (errors.FirstByteTimeout, TimeoutError),
        (errors.IdleTimeout, TimeoutError),
        (errors.QueueTimeout, TimeoutError),
    ],
)
def test_a_caller_can_catch_the_builtin(kind: type[LollmsError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="do this"):
        raise kind("do this")


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_text_and_dictionary_are_the_sentence(kind: type[LollmsError]) -> None:
    error = kind("Start a server first.", status=503)
    assert str(error) == "Start a server first."
    assert as_dict(error)["status"] is False
    assert as_dict(error)["error"] == as_dict(error)["message"] == "Start a server first."
    assert str(pickle.loads(pickle.dumps(error))) == "Start a server first."
