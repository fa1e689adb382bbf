"""The recipe of the embedded smoke-test model: its training data keeps clear of its evaluation prompts."""

import importlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NANO = Path(__file__).resolve().parents[2] / "nano"
COUNT = 3000
DOCUMENTED = [
    ("showcase", "Tell me a fun fact about space."),
    ("showcase", "Explain what an API aggregator is, as if to a beginner."),
    ("showcase", "Tell me a story."),
    ("story", "Write a short story about a robot who discovers music."),
    ("story", "Write a short poem about stars."),
    ("story", "Write a 3-line poem about incredible speed."),
    ("code", "Write a Python function that takes two numbers and returns their sum."),
    ("capital", "What is the capital of France?"),
    ("greet", "Hello"),
    ("identity", "Who are you?"),
]


@pytest.fixture(scope="module")
def recipe() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The modules corpus and paraphrases, imported from nano/ for these tests only."""
    names = ("knowledge", "paraphrases", "corpus")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(NANO))
    try:
        yield importlib.import_module("corpus"), importlib.import_module("paraphrases")
    finally:
        sys.path.remove(str(NANO))
        for name in names:
            sys.modules.pop(name, None)
            if (module := before[name]) is not None:
                sys.modules[name] = module


@pytest.fixture(scope="module")
def conversations(recipe: tuple[ModuleType, ModuleType]) -> list[dict[str, Any]]:
    corpus, _ = recipe
    rng = random.Random(2026)
    return [corpus.make(rng) for _ in range(COUNT)]


def user_turns(conversation: dict[str, Any]) -> set[str]:
    return {m["content"] for m in conversation["messages"] if m["role"] == "user"}


def test_the_recipe_needs_only_the_standard_library(recipe: tuple[ModuleType, ModuleType]) -> None:
    for name in ("knowledge", "paraphrases", "corpus"):
        module = sys.modules[name]
        assert Path(str(module.__file__)).parent == NANO
        for value in vars(module).values():
            if isinstance(value, ModuleType):
                top = value.__name__.split(".")[0]
                assert top in sys.stdlib_module_names or top in ("knowledge", "paraphrases")


def test_no_evaluation_prompt_is_a_user_turn_of_the_training_data(
    recipe: tuple[ModuleType, ModuleType], conversations: list[dict[str, Any]]
) -> None:
    corpus, paraphrases = recipe
    trained = [c for c in conversations if corpus.for_training(c)]
    assert len(trained) > COUNT // 2
    asked = set().union(*(user_turns(c) for c in trained))
    assert asked.isdisjoint(question for _, _, question, _ in paraphrases.PARAPHRASES)
    assert asked.isdisjoint(question for _, _, question, _ in paraphrases.FRESH)


def test_every_evaluation_prompt_would_be_refused(recipe: tuple[ModuleType, ModuleType]) -> None:
    corpus, paraphrases = recipe
    for _, _, question, _ in paraphrases.PARAPHRASES + paraphrases.FRESH:
        messages = [corpus.msg("user", question), corpus.msg("assistant", "any answer")]
        assert not corpus.for_training({"kind": "any", "messages": messages, "tools": None})


def test_training_and_held_out_pairs_are_apart(
    recipe: tuple[ModuleType, ModuleType], conversations: list[dict[str, Any]]
) -> None:
    corpus, _ = recipe
    trained = {p for c in conversations if corpus.for_training(c) for p in corpus.pairs(c)}
    held_out = {corpus.pairs(c)[-1] for c in conversations if corpus.for_evaluation(c)}
    assert trained
    assert held_out
    assert trained.isdisjoint(held_out)


def test_generation_is_determined_by_the_seed(
    recipe: tuple[ModuleType, ModuleType], conversations: list[dict[str, Any]]
) -> None:
    corpus, _ = recipe
    rng = random.Random(2026)
    assert [corpus.make(rng) for _ in range(COUNT)] == conversations
    other = random.Random(2027)
    assert [corpus.make(other) for _ in range(50)] != conversations[:50]


def test_every_conversation_renders_and_ends_with_an_answer(
    recipe: tuple[ModuleType, ModuleType], conversations: list[dict[str, Any]]
) -> None:
    corpus, _ = recipe
    for conversation in conversations:
        last = conversation["messages"][-1]
        assert last["role"] == "assistant"
        assert last["content"].strip()
        spans = corpus.render(conversation)
        text = "".join(part for part, _ in spans)
        assert spans[-2] == (last["content"] + "<|im_end|>", True)
        assert text.endswith(f"<|im_start|>assistant\n{last['content']}<|im_end|>\n")
        assert text.count("<|im_start|>") == text.count("<|im_end|>")
        assert sum(answer for _, answer in spans) == sum(m["role"] == "assistant" for m in conversation["messages"])


def test_answers_that_should_be_json_are_json(conversations: list[dict[str, Any]]) -> None:
    for conversation in conversations:
        last = conversation["messages"][-1]["content"]
        if conversation["kind"] in ("yesno_json", "choice_json", "query_json"):
            assert isinstance(json.loads(last), dict)
        if conversation["kind"] == "tool_call":
            call = json.loads(last.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"))
            assert set(call) == {"name", "arguments"}


def test_the_reason_comes_before_the_decision(recipe: tuple[ModuleType, ModuleType]) -> None:
    corpus, _ = recipe
    rng = random.Random(5)
    for _ in range(500):
        question, answer = corpus.yesno(rng)
        if answer not in ("Yes.", "No."):
            assert answer.endswith((" The answer is yes.", " The answer is no."))
            assert "yes or no" not in question


@pytest.mark.parametrize(("skill", "prompt"), DOCUMENTED)
def test_documented_prompts_are_taught(recipe: tuple[ModuleType, ModuleType], skill: str, prompt: str) -> None:
    corpus, paraphrases = recipe
    assert prompt not in paraphrases.QUESTIONS
    rng = random.Random(8)
    for _ in range(60000):
        question, answer = getattr(corpus, skill)(rng)
        if question == prompt:
            assert corpus.bucket(question, answer) != 0  # else it would be held out of training
            return
    pytest.fail("never asked")
