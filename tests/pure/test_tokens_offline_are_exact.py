"""The tokenizers of this machine are exact for OpenAI's models, know no others, and need no network."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from lollms_core.errors import InvalidRequest
from lollms_runtime import tokenizers
from lollms_runtime.tokenizers import OfflineTokenizers, vocabulary_of
from tests.support.texts import SAMPLES

bpe_openai = pytest.importorskip("bpe_openai")

# Known from the documentation of the vocabularies: "hello world" and its neighbours.
KNOWN = {"gpt-4o": [24912, 2375], "gpt-4": [15339, 1917]}


@pytest.fixture(scope="module")
def loaded() -> OfflineTokenizers:
    return OfflineTokenizers()


@pytest.mark.parametrize(("model", "tokens"), KNOWN.items())
def test_known_tokens(loaded: OfflineTokenizers, model: str, tokens: list[int]) -> None:
    tokenizer = loaded.for_model(model)
    assert tokenizer is not None
    assert tokenizer.encode("hello world") == tokens
    assert tokenizer.decode(tokens) == "hello world"
    assert tokenizer.count("hello world") == 2
    assert tokenizer.encode("") == [] and tokenizer.count("") == 0 and tokenizer.decode([]) == ""


@pytest.mark.parametrize("model", KNOWN)
@pytest.mark.parametrize("name", SAMPLES)
def test_every_text_comes_back(loaded: OfflineTokenizers, model: str, name: str) -> None:
    tokenizer = loaded.for_model(model)
    assert tokenizer is not None
    assert tokenizer.decode(tokenizer.encode(SAMPLES[name])) == SAMPLES[name]


@pytest.mark.parametrize("vocabulary", ["o200k_base", "cl100k_base"])
def test_a_text_in_pieces_has_the_same_tokens(monkeypatch: pytest.MonkeyPatch, vocabulary: str) -> None:
    whole = bpe_openai.get_encoding(vocabulary)
    pieces = tokenizers._BpeTokenizer(whole)
    chance = random.Random(7)
    alphabet = "aZé1中。,.  \n\r\t'’s_-!/\u0301\u00a0٣\U0001f600"
    prose = list(SAMPLES.values())
    for _ in range(1500):
        text = "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 80)))
        text += chance.choice(prose)[: chance.randint(0, 60)]
        monkeypatch.setattr(tokenizers, "_PIECE", chance.randint(4, 20))
        assert pieces.encode(text) == whole.encode_ordinary(text), text
        assert pieces.count(text) == len(whole.encode_ordinary(text))


def test_names_of_special_tokens_are_plain_text(loaded: OfflineTokenizers) -> None:
    tokenizer = loaded.for_model("gpt-4o")
    assert tokenizer is not None
    tokens = tokenizer.encode("<|endoftext|>")
    assert len(tokens) > 1 and tokenizer.decode(tokens) == "<|endoftext|>"


def test_megabytes_are_no_problem_and_endless_words_an_error(loaded: OfflineTokenizers) -> None:
    tokenizer = loaded.for_model("gpt-4o")
    assert tokenizer is not None
    assert tokenizer.count("Some words here. " * 150_000) == 4 * 150_000 + 1
    assert tokenizer.count("a" * 100_000) > 0
    with pytest.raises(InvalidRequest, match="without a break"):
        tokenizer.count("a" * 1_000_000)
    with pytest.raises(InvalidRequest, match="without a break"):
        tokenizer.encode("\U0001f9ff" * 300_000)


@pytest.mark.parametrize("token", [-1, 199_998, 10**9, 2**31])
def test_unknown_tokens_are_refused(loaded: OfflineTokenizers, token: int) -> None:
    tokenizer = loaded.for_model("gpt-4o")
    assert tokenizer is not None
    with pytest.raises(InvalidRequest):
        tokenizer.decode([24912, token])


def test_half_a_character_is_replaced_and_half_a_pair_is_taken(loaded: OfflineTokenizers) -> None:
    tokenizer = loaded.for_model("gpt-4o")
    assert tokenizer is not None
    assert "\ufffd" in tokenizer.decode(tokenizer.encode("\U0001f9ff")[:1])
    assert tokenizer.count("x\ud800y") >= 2


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("GPT-4.1-nano", "o200k_base"),
        ("gpt-5.2-codex", "o200k_base"),
        ("chatgpt-4o-latest", "o200k_base"),
        ("ft:gpt-4o-mini:acme::1", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-oss-120b", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo-0125", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-40", None),
        ("gpt-50", None),
        ("gpt-2", None),
        ("olmo", None),
        ("o11y", None),
        ("llama3:8b", None),
        ("my-gpt-4o", None),
        ("", None),
    ],
)
def test_vocabularies_by_name(model: str, vocabulary: str | None) -> None:
    assert vocabulary_of(model) == vocabulary


def test_unknown_models_and_a_missing_package_give_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OfflineTokenizers().for_model("llama3") is None
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    fresh = OfflineTokenizers()
    assert fresh.for_model("gpt-4o") is None
    monkeypatch.undo()
    assert fresh.for_model("gpt-4o") is None  # what is missing is looked for once
    assert OfflineTokenizers().for_model("gpt-4o") is not None


def test_no_socket_is_opened() -> None:
    program = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, _: seen.append(name) if name.startswith('socket.') else None)\n"
        "from lollms_runtime.tokenizers import OfflineTokenizers\n"
        "tokenizer = OfflineTokenizers().for_model('gpt-4o')\n"
        "assert tokenizer.decode(tokenizer.encode('hello')) == 'hello'\n"
        "assert not [name for name in seen if name != 'socket.gethostname'], seen\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
