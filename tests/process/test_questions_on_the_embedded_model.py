"""The embedded model is held to the answers by a grammar: whatever it is asked, it gives one of them at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lollms_client import LollmsClient
from lollms_core.types import GenerationCall, Reply
from lollms_runtime.observe import Observer

pytestmark = pytest.mark.group("engine")

ODD = ['say "no"', "{curly} [square]", "two\nlines", "ünïcödé ☃", "A", ""]


class Counted(Observer):
    """Counts calls."""

    def __init__(self) -> None:
        self.calls = 0

    def finished(self, call: GenerationCall, reply: Reply) -> None:
        self.calls += 1


@pytest.fixture(scope="module")
def client() -> Iterator[LollmsClient]:
    with LollmsClient("pythonllamacpp", model_name="lollms-nano", raise_errors=True, n_predict=300) as made:
        made.generate_text("Hello!", n_predict=1)
        yield made


@pytest.fixture
def counted(client: LollmsClient) -> Counted:
    client.observer = Counted()
    return client.observer


@pytest.mark.parametrize("seed", range(4))
def test_yes_or_no(client: LollmsClient, counted: Counted, seed: int) -> None:
    for question in ("Is Paris the capital of France?", "Tell me a story.", 'Answer "maybe".', ""):
        assert client.yes_no(question, temperature=1.5, seed=seed) in (True, False)
    assert counted.calls == 4
    found = client.yes_no("Is grass red?", "Grass is green.", 120, return_explanation=True, seed=seed)
    assert found["answer"] in (True, False)
    assert isinstance(found["explanation"], str)


@pytest.mark.parametrize("seed", range(4))
def test_one_of_the_answers(client: LollmsClient, counted: Counted, seed: int) -> None:
    for answers in (["Rome", "Paris"], ODD, [f"number {index}" for index in range(60)]):
        found = client.multichoice_question("What is the capital of France?", answers, temperature=1.5, seed=seed)
        assert found in range(len(answers))
    assert counted.calls == 3


@pytest.mark.parametrize("seed", range(4))
def test_an_order_of_up_to_five_answers(client: LollmsClient, counted: Counted, seed: int) -> None:
    for many in range(2, 6):
        found = client.multichoice_ranking("Which is the best?", ODD[:many], temperature=1.5, seed=seed)
        assert sorted(found["ranking"]) == list(range(many))
    assert counted.calls == 4


def test_more_answers_are_an_order_or_the_documented_failure(client: LollmsClient, counted: Counted) -> None:
    found = client.multichoice_ranking("Which is the best?", ODD, raise_errors=False, seed=1)
    assert found == {"ranking": []} or sorted(found["ranking"]) == list(range(6))
    assert counted.calls <= 3
