"""The printed example of each provider answers from a server of its protocol; the address is all that is edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.blocks import all_blocks
from tests.spec.live import environment
from tests.spec.printed import edited, python, runs
from tests.support import anthropic_rules, gemini_server
from tests.support.anthropic_server import AnthropicServer
from tests.support.chaos import ChaosServer, Seen
from tests.support.chaos_modes import TEXT
from tests.support.gemini_server import GeminiServer
from tests.support.huggingface_server import HuggingFaceServer
from tests.support.ollama_server import MODELS, OllamaServer
from tests.support.strict_chat_server import strict

pytestmark = pytest.mark.group("spec")


def answered(block: str, model: str, address: str, folder: Path) -> str:
    """What an example prints that names its model in this line, and then asks the server at the address."""
    line = f'model_name="{model}",'
    code = edited(all_blocks()[block].text, line, f'{line}\n    host_address="{address}",')
    return python(code, folder, environment(folder)).strip()


def asked(server: ChaosServer) -> Seen:
    """The one request."""
    (seen,) = server.requests
    return seen


@runs("000:12:ad58f2df")
def test_the_gemini_example_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = "gemini-1.5-pro-latest"
    as_others = {**gemini_server.MODELS["gemini-2.5-flash"], "name": f"models/{model}"}
    monkeypatch.setitem(gemini_server.MODELS, model, as_others)
    gemini = GeminiServer()
    gemini.key = "your_google_api_key_here"
    with gemini:
        shown = answered("000:12:ad58f2df", model, gemini.base, tmp_path)
    assert shown == "Summarize the plot of 'Dune' in three sentences."
    assert f"/models/{model}:" in asked(gemini).path


@runs("000:13:6fe40e74")
def test_the_claude_example_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = "claude-3-5-sonnet-20240620"
    as_then = anthropic_rules.Model("Claude 3.5 Sonnet", 200_000, 8_192, (), "all", (), True)
    monkeypatch.setitem(anthropic_rules.MODELS, model, as_then)
    with AnthropicServer(key="your_anthropic_api_key_here") as claude:
        shown = answered("000:13:6fe40e74", model, claude.origin, tmp_path)
    assert shown == "What are the core principles of constitutional AI?"
    assert asked(claude).json()["model"] == model


@pytest.mark.parametrize(
    ("block", "provider", "model", "key", "question"),
    [
        (
            "000:14:ef03da7a",
            "open_router",
            "anthropic/claude-3-haiku-20240307",
            "your_openrouter_api_key_here",
            "Explain what an API aggregator is, as if to a beginner.",
        ),
        (
            "000:15:9cbc212c",
            "groq",
            "llama3-8b-8192",
            "your_groq_api_key_here",
            "Write a 3-line poem about incredible speed.",
        ),
    ],
    ids=["open_router", "groq"],
)
@runs("000:14:ef03da7a", "000:15:9cbc212c")
def test_the_examples_of_chat_providers_answer(
    tmp_path: Path, block: str, provider: str, model: str, key: str, question: str
) -> None:
    with ChaosServer() as service:
        shown = answered(block, model, strict(service, provider, key), tmp_path)
    assert shown == question
    assert asked(service).json()["model"] == model


@runs("000:16:896e075f")
def test_the_hugging_face_example_answers(tmp_path: Path) -> None:
    model = "google/gemma-1.1-7b-it"
    with HuggingFaceServer(key="your_hugging_face_token_here") as face:
        shown = answered("000:16:896e075f", model, face.url("v1"), tmp_path)
    assert shown == "Write a short story about a robot who discovers music."
    assert asked(face).json()["model"] == model


@runs("000:11:4e589036")
def test_the_openai_example_answers_from_a_server_that_speaks_its_protocol(tmp_path: Path) -> None:
    with ChaosServer() as service:
        address = f'model_name="gpt-4o",\n    host_address="{service.url("ok")}/v1",'
        code = edited(all_blocks()["000:11:4e589036"].text, 'model_name="gpt-4o",', address)
        shown = python(code, tmp_path, environment(tmp_path))
        asked = service.wait_request()
    assert shown.strip() == TEXT
    assert asked.headers["authorization"] == "Bearer your_openai_api_key_here"
    assert asked.json()["model"] == "gpt-4o"


@runs("000:9:0de9aad5")
def test_the_ollama_example_answers_from_a_server_that_speaks_its_protocol(tmp_path: Path) -> None:
    service = OllamaServer()
    with service:
        service.models = {"llama3:latest": MODELS["llama3.2:latest"]}
        code = edited(all_blocks()["000:9:0de9aad5"].text, "http://localhost:11434", service.origin)
        shown = python(code, tmp_path, environment(tmp_path))
    assert "Why is the sky blue?" in shown
    assert [seen.json()["model"] for seen in service.requests if seen.path == "/api/chat"] == ["llama3"]
