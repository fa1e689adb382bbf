"""Programs that know only the OpenAPI get along with the server: schemathesis tries everything that it allows and
forbids, and a client that openapi-python-client makes of it works as it is."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.types import Embeddings, TextDelta
from tests.support.raw_http import ask
from tests.support.server import PortsBinding, Served, batches_of, running_server

pytestmark = pytest.mark.group("contract")

BIN = Path(sys.executable).parent

# A request may match and still not be served: 400 says so, and the server's own limits have their statuses. The ids
# of tokens are whole numbers as they are written: 1.0, which JSON Schema takes for an integer, is refused.
CONFIG = """\
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "404", "413", "429"]

[parameters]
binding_instance_name = "main"
personality_name = "lollms"

[[operations]]
include-name = "POST /api/v1/detokenize"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "413", "422", "429"]
"""


class Complete(PortsBinding):
    """A binding that can do everything that text needs."""

    @override
    async def tokenize(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> list[int]:
        return [*([1] if add_bos else []), *text.encode(), *([2] if add_eos else [])]

    @override
    async def detokenize(self, tokens: list[int], model_name: str | None = None) -> str:
        return bytes(token % 128 for token in tokens).decode()

    @override
    async def embed(self, texts: Sequence[str], model_name: str | None = None) -> Embeddings:
        return Embeddings(tuple((0.5, 0.25) for _ in texts), model_name or "m")


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    binding = Complete(lambda call: batches_of(TextDelta("It is "), TextDelta("Paris.")))
    config = {"limits": {"failed_keys_per_minute": 100_000}, "defaults": {"ttt_binding": "main"}}
    with running_server({"main": binding}, config) as served:
        served.wait_until(lambda: served.services.manager.models == "ready", 20)
        yield served


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    keep = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment = {**keep, "HOME": str(cwd), "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=55,
    )


def description(server: Served) -> dict[str, Any]:
    return dict(ask(server.port, "GET", "/openapi.json", None, server.headers).json())


def test_schemathesis_has_no_complaint(server: Served, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    done = run(
        *("schemathesis", "run", f"{server.url}/openapi.json", "--header", f"X-API-Key: {server.key}"),
        *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--mode", "all", "--max-examples", "20"),
        *("--seed", "20261121", "--request-timeout", "10", "--no-color"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    paths = description(server)["paths"]
    count = sum(len(item) for item in paths.values())
    assert f"Tested: {count}" in done.stdout
    server.wait_idle()


@pytest.fixture(scope="module")
def client(server: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The package of the generated client."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(description(server)), encoding="utf-8")
    (folder / "config.yaml").write_text("post_hooks: []\n", encoding="utf-8")
    done = run(
        *("openapi-python-client", "generate", "--path", "openapi.json", "--config", "config.yaml"),
        *("--meta", "none", "--output-path", "generated_lollms_client", "--fail-on-warning"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("generated_lollms_client")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.startswith("generated_lollms_client")]:
            del sys.modules[name]


@pytest.fixture
def caller(client: Any, server: Served) -> Iterator[Any]:
    """A client with the key; `caller(name)` is the module of an operation."""
    with client.AuthenticatedClient(
        base_url=server.url, token=server.key, prefix="", auth_header_name="X-API-Key", raise_on_unexpected_status=True
    ) as made:
        yield made


def operation(name: str) -> Any:
    return importlib.import_module(f"generated_lollms_client.api.default.{name}")


def model(name: str) -> Any:
    return getattr(importlib.import_module("generated_lollms_client.models"), name)


def test_every_module_of_a_generated_client_can_be_imported(client: Any, server: Served) -> None:
    names = [each["operationId"] for item in description(server)["paths"].values() for each in item.values()]
    assert len(names) >= 15
    for name in names:
        assert operation(name)


def test_a_generated_client_asks_how_the_server_is(client: Any, server: Served) -> None:
    with client.Client(base_url=server.url, raise_on_unexpected_status=True) as nobody:
        said = operation("health").sync(client=nobody)
        assert (said.status, said.api_key_required) == ("ok", True)
        refused = operation("list_bindings").sync_detailed(client=nobody)
    assert (refused.status_code, refused.parsed.code) == (403, "key_missing")
    assert refused.parsed.request_id == refused.headers["x-request-id"]


def test_a_generated_client_lists_what_is_there(caller: Any) -> None:
    said = operation("list_bindings").sync(client=caller)
    assert said.binding_instances["main"].binding_instance_name == "main"
    assert said.binding_types["openai_binding"].supports_streaming is True
    assert operation("list_models").sync(client=caller).models.gguf == []
    assert operation("get_default_bindings").sync(client=caller).defaults.ttt_binding == "main"
    assert operation("get_model_info").sync("main", client=caller).model_type == "ttt"
    assert operation("get_model_info").sync("nobody", client=caller).code == "not_found"
    assert operation("list_available_models").sync("main", client=caller).models[0].name == "m"
    assert isinstance(operation("list_personalities").sync(client=caller).personalities.additional_properties, dict)
    assert isinstance(operation("list_functions").sync(client=caller).functions, list)
    assert operation("queue").sync(client=caller).running == []


def test_a_generated_client_generates(caller: Any) -> None:
    item = model("InputData")(
        type_=model("InputDataType").TEXT, role="user_prompt", data="What is the capital of France?"
    )
    body = model("GenerateRequest")(input_data=[item])
    said = operation("generate").sync(client=caller, body=body)
    (output,) = said.output
    assert (output.type_, output.data, output.thoughts) == ("text", "It is Paris.", None)
    assert output.metadata["model_used"] == "m"
    wrong = operation("generate").sync(client=caller, body=model("GenerateRequest")(input_data=[], stream=False))
    assert wrong.code == "malformed_body" and wrong.errors[0].loc == ["body", "input_data"]


def test_a_generated_client_counts_tokens(caller: Any) -> None:
    said = operation("tokenize").sync(client=caller, body=model("TokenizeRequest")(text="ab", add_bos=True))
    assert (said.tokens, said.count) == ([1, 97, 98], 3)
    body = model("DetokenizeRequest")(tokens=[97, 98])
    assert operation("detokenize").sync(client=caller, body=body).text == "ab"
    count = operation("count_tokens").sync(client=caller, body=model("CountTokensRequest")(text="ab"))
    assert (count.count, count.exact) == (2, True)
    vectors = operation("embed").sync(client=caller, body=model("EmbedRequest")(input_=["a", "b"]))
    assert vectors.embeddings == [[0.5, 0.25], [0.5, 0.25]]
