"""A key that was kept with `lollms keys set` is sent to a server of one's own, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_client import LollmsClient
from lollms_client.http_binding import HttpBinding
from lollms_core.errors import AuthFailed
from lollms_runtime.provider_keys import save_provider_key


def binding(name: str, **more: str) -> HttpBinding:
    made = LollmsClient(binding_name=name, model_name="one", **more).binding
    assert isinstance(made, HttpBinding)
    return made


@pytest.mark.parametrize("name", ["vllm", "ollama"])
def test_it_goes_to_the_usual_address_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path))
    assert binding(name).find_key() == ""
    save_provider_key(name, "kept-key-1")
    assert binding(name).find_key() == "kept-key-1"
    elsewhere = binding(name, host_address="http://10.0.0.9:8000/v1")
    assert elsewhere.find_key() == ""
    assert "lollms keys" in str(elsewhere._in_words(AuthFailed("No."), ""))
    assert "kept-key-1" not in str(elsewhere._in_words(AuthFailed("No."), ""))
