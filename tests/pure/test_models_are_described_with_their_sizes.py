"""The library says of a model what its provider states, and nothing else: sizes in tokens, and what it can do."""

from __future__ import annotations

from lollms_client.asking import described
from lollms_core.types import ModelInfo


def test_sizes_are_there_where_they_are_known() -> None:
    known = described(ModelInfo("m", 200_000, 64_000, supports_vision=True, details={"id": "m", "owner": "o"}))
    assert known["context_size"] == 200_000
    assert known["max_output_tokens"] == 64_000
    assert (known["model_name"], known["owner"], known["supports_vision"], known["supports_tools"]) == (
        "m",
        "o",
        True,
        False,
    )


def test_what_nobody_said_is_left_out() -> None:
    assert described(ModelInfo("m"), sure=False) == {"model_name": "m"}
    assert "context_size" not in described(ModelInfo("m"))
    assert "max_output_tokens" not in described(ModelInfo("m"))
