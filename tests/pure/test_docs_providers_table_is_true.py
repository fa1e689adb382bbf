"""docs/providers.md says of every binding what its code does: the tables there are those that the code gives."""

from __future__ import annotations

import pytest

from lollms_client.lollms_llm_binding import LollmsLLMBindingManager
from lollms_server.core.bindings.discovery import SHIPPED, discover
from tests.support.provider_table import DOCUMENT, HEADINGS, PROVIDERS, TABLES, in_document, markdown, row_of, written

THERE = [name for name in PROVIDERS if name in LollmsLLMBindingManager.get_bindings_list()]


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of whoever runs this changes an address or a key."""
    for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", TABLES)
def test_the_document_has_the_table_that_the_code_gives(name: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    again = "write it again: python -m tests.support.provider_table"
    assert in_document(text, name).splitlines() == markdown(name).splitlines(), again


def test_every_binding_of_the_library_has_a_row() -> None:
    assert not set(LollmsLLMBindingManager.get_bindings_list()) - set(PROVIDERS)
    assert len(set(PROVIDERS)) == len(PROVIDERS)


@pytest.mark.parametrize("name", THERE)
def test_the_server_type_of_a_row_is_there(name: str) -> None:
    cells = dict(zip(HEADINGS, row_of(name).cells, strict=True))
    types = {f"`{kind}`" for kind in discover([SHIPPED])[0]}
    assert cells["server type"] in {*types, "-"}
    assert cells["text"] == "yes"


def test_the_code_is_asked_and_not_a_list() -> None:
    def cells(name: str) -> dict[str, str]:
        return dict(zip(HEADINGS, row_of(name).cells, strict=True))

    assert cells("perplexity")["tools"] == "in the prompt" and cells("openai")["tools"] == "native"
    assert cells("deepseek")["images"] == "no" and cells("deepseek")["JSON Schemas"].startswith("JSON, ")
    assert cells("deepseek")["thoughts given back"] == "`reasoning_content`"
    assert cells("groq")["embeddings"] == "no" and cells("mistral")["embeddings"] == "yes"
    assert cells("lollms_webui")["tools"] == "no"


def test_writing_changes_the_tables_alone() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert written(text) == text
    spoilt = text.replace(in_document(text, "names"), "| wrong |")
    assert spoilt != text and written(spoilt) == text
