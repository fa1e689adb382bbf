"""Every fenced block of the specification runs as printed (address, key, paths edited), or is listed with a reason."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.spec.test_examples_of_operations_run
import tests.spec.test_examples_of_providers_run  # noqa: F401  they note what they run
from lollms_core.errors import MissingDependency
from tests.spec.blocks import FOLDER, all_blocks, blocks_of, not_run
from tests.spec.live import Live, environment, free_port, live_server
from tests.spec.printed import (
    RUN,
    ask,
    curl,
    edited,
    has_form_of,
    personality,
    printed,
    prompted,
    put,
    python,
    runs,
)
from tests.support.chaos import ChaosServer
from tests.support.chaos_modes import TEXT
from tests.support.media_files import jpeg, png
from tests.support.ollama_server import MODELS, OllamaServer
from tests.support.openai_server import answering

pytestmark = [pytest.mark.group("spec"), pytest.mark.group("engine")]

MOST_NOT_RUN = 31
"""How many blocks may be listed. When an example starts to run, its line goes and this number goes down."""

REASONS = ("not Python: ", "fragment: ", "needs a named service: ", "later: ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with the embedded model, and with the personal folders and instances that the examples name."""
    folder = tmp_path_factory.mktemp("server")
    ollama = OllamaServer()
    with ollama, ChaosServer() as chaos:
        ollama.models = {"llama3:8b": MODELS["llama3.2:latest"]}
        instances = {
            "my_ollama_instance": {"type": "ollama_binding", "host": ollama.origin, "default_model": "llama3:8b"},
            "eyes": {"type": "openai_binding", "base_url": chaos.add("eyes", answering), "default_model": "one"},
        }
        for name, settings in instances.items():
            put(folder / "lollms_configs" / "bindings" / f"{name}.yaml", json.dumps(settings))
        personality(folder, "my_writer", all_blocks()["003:25:54a90674"].text)
        personality(folder, "artbot", f"async def run_workflow(prompt, params, context):\n    return {artwork()!r}\n")
        put(folder / "personal_functions" / "my_tools.py", all_blocks()["003:26:84815bc0"].text)
        put(
            folder / "personal_functions" / "my_utils.py",
            "async def do_task(arg: str) -> str:\n    return arg.upper()\n",
        )
        types = {name: str(settings["type"]) for name, settings in instances.items()}
        with live_server(folder, instances=types) as live:
            yield live


def artwork() -> list[dict[str, Any]]:
    """The printed output of `artbot`, with a picture in it."""
    text, image = printed("003:18:0e16f4a3")["output"]
    return [text, {**image, "data": base64.b64encode(png()).decode()}]


# ---- the examples that run


@runs("000:2:733bb776")
def test_the_quick_start_streams_and_collects(server: Live, tmp_path: Path) -> None:
    code = edited(all_blocks()["000:2:733bb776"].text, "http://localhost:9600", server.url)
    shown = python(code, tmp_path, {**environment(tmp_path), "LOLLMS_API_KEY": server.key})
    streamed = shown.partition("Streaming Response:\n")[2].partition("\n--- End of Stream ---")[0]
    collected = shown.partition("Full streamed text collected: ")[2].strip()
    assert streamed.strip()
    assert collected == f"{streamed[:100]}...".strip()
    assert "Error" not in shown


def test_the_quick_start_says_what_to_do_when_nobody_is_there(tmp_path: Path) -> None:
    code = edited(all_blocks()["000:2:733bb776"].text, "http://localhost:9600", f"http://127.0.0.1:{free_port()}")
    shown = python(code, tmp_path, {**environment(tmp_path), "LOLLMS_API_KEY": "sk-0123456789abcdef"})
    assert "Streaming Error: " in shown
    assert "Error during generation: " in shown
    assert "9600" in shown
    assert "9601" in shown
    assert "lollms serve" in shown


@runs("000:10:1099ebff")
def test_the_local_gguf_example_answers(tmp_path: Path) -> None:
    code = edited(all_blocks()["000:10:1099ebff"].text, "/path/to/your/model.gguf", "lollms-nano")
    shown = python(code, tmp_path, environment(tmp_path))
    assert shown.strip()
    assert "Error initializing" not in shown


@runs("002:2:d620e3c7", "002:5:c3acbc97", "002:12:7ff46ce2", "002:15:8ce10ede", "002:16:fc558c17")
def test_the_older_guide_generates(tmp_path: Path) -> None:
    blocks = all_blocks()
    with ChaosServer() as service:
        parts = [
            "from lollms_client import ELF_GENERATION_FORMAT",  # the guide describes it, its example does not import it
            edited(blocks["002:2:d620e3c7"].text, "http://localhost:9600", service.url("ok")),
            *(blocks[n].text for n in ("002:5:c3acbc97", "002:12:7ff46ce2", "002:15:8ce10ede", "002:16:fc558c17")),
        ]
        shown = python("\n".join(parts), tmp_path, {**environment(tmp_path), "OPENAI_API_KEY": "sk-0123456789abcdef"})
    assert shown == f"{TEXT}\n{TEXT}\n{TEXT}"


@runs("002:9:5e1503c2")
def test_the_older_guide_extracts_code_blocks(tmp_path: Path) -> None:
    parts = [
        "from lollms_client.testing import scripted_client",
        'client = scripted_client(["Look:\\n```python\\nprint(1)\\n```\\n"])',
        all_blocks()["002:5:c3acbc97"].text,
        all_blocks()["002:9:5e1503c2"].text,
    ]
    shown = python("\n".join(parts), tmp_path, environment(tmp_path))
    assert "'content': 'print(1)'" in shown
    assert "'type': 'python'" in shown


@runs("002:3:43da6907", "002:4:9b105e3c", "002:11:1a608df9")
def test_the_older_guide_counts_tokens_and_lists_models(tmp_path: Path) -> None:
    blocks = all_blocks()
    parts = [
        "from lollms_client import LollmsClient",
        'client = LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano")',
        *(blocks[n].text for n in ("002:3:43da6907", "002:4:9b105e3c", "002:11:1a608df9")),
        "print(text)",
        "client.close()",
    ]
    shown = python("\n".join(parts), tmp_path, environment(tmp_path)).splitlines()
    assert all(isinstance(token, int) for token in json.loads(shown[0]))
    assert "lollms-nano" in shown[2]
    assert shown[1] == shown[3] == "Hello, world!"


@pytest.mark.group("curl")
@runs("003:19:055e4dea")
def test_the_printed_curl_command_answers(server: Live, tmp_path: Path) -> None:
    said = json.loads(curl(all_blocks()["003:19:055e4dea"].text, server, tmp_path))
    assert set(said) == {"personality", "request_id", "output", "execution_time"}
    assert [item["type"] for item in said["output"]] == ["text"]
    assert "Paris" in said["output"][0]["data"]


@pytest.mark.group("curl")
@runs("003:20:751d5918")
def test_the_printed_streaming_curl_command_streams(server: Live, tmp_path: Path) -> None:
    said = curl(all_blocks()["003:20:751d5918"].text, server, tmp_path)
    events = [json.loads(line.removeprefix("data: ")) for line in said.splitlines() if line.startswith("data: ")]
    assert all(set(event) == {"type", "content", "thoughts", "metadata"} for event in events)
    chunks = [event["content"] for event in events if event["type"] == "chunk"]
    assert len(chunks) > 1
    assert events[-1]["type"] == "final"
    assert events[-1]["content"][0]["data"] == "".join(chunks)


@runs("003:8:b2765877")
def test_health_has_the_printed_fields(server: Live, tmp_path: Path) -> None:
    printed = json.loads(all_blocks()["003:8:b2765877"].text)
    for path in ("/health", "/api/v1/health"):
        done = subprocess.run(["curl", "-s", f"{server.url}{path}"], capture_output=True, check=True, timeout=20)
        said = json.loads(done.stdout)
        assert {name: type(value) for name, value in printed.items()}.items() <= {
            name: type(value) for name, value in said.items()
        }.items()
        assert (said["status"], said["api_key_required"]) == ("ok", True)


@runs("003:9:10339f1a", "003:10:301c082f")
def test_the_lists_of_bindings_have_the_printed_form(server: Live) -> None:
    example, said = printed("003:9:10339f1a"), ask(server, "list_bindings")
    assert set(said) - {"problems"} == set(example)
    for one in said["binding_types"].values():
        assert has_form_of(one, example["binding_types"]["ollama_binding"])
    example, active = printed("003:10:301c082f"), ask(server, "list_active_bindings")
    assert set(active) == set(example)
    for listed in (said["binding_instances"], active["bindings"]):
        fields = ("type", "binding_instance_name", "default_model")
        assert [listed["lollms_nano"][name] for name in fields] == ["llamacpp_binding", "lollms_nano", "lollms-nano"]


@runs("003:14:b258db4c")
def test_the_list_of_models_has_the_printed_form(server: Live) -> None:
    example, said = printed("003:14:b258db4c"), ask(server, "list_available_models/lollms_nano")
    assert has_form_of(said, example)
    assert "lollms-nano" in [model["name"] for model in said["models"]]
    assert all(has_form_of(model, example["models"][0]) for model in said["models"])


@runs("003:15:ff20792f")
def test_the_defaults_have_the_printed_form(server: Live) -> None:
    example, said = printed("003:15:ff20792f"), ask(server, "get_default_bindings")
    assert set(said) == set(example)
    assert has_form_of(said["defaults"], example["defaults"])
    assert said["defaults"]["ttt_binding"] == "lollms_nano"


@runs("003:7:5e03fec7")
def test_the_printed_start_command_is_how_the_server_of_these_tests_was_started(server: Live) -> None:
    printed = all_blocks()["003:7:5e03fec7"].text.removeprefix("(venv) ").split()
    started = [Path(str(part)).name for part in server.process.args[:2]]  # type: ignore[index]
    assert printed[0] == "python"
    assert started == [Path(sys.executable).name, Path(printed[1]).name]


@runs("004:3:e6602eaf")
def test_the_printed_way_to_install_packages_installs_nothing_by_itself(tmp_path: Path) -> None:
    from lollms_runtime.third_party import import_folder

    folder = tmp_path / "my_new_binding"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        edited(all_blocks()["004:3:e6602eaf"].text, "Pillow", "no-such-package-x1"), encoding="utf-8"
    )
    with pytest.raises(MissingDependency, match="no-such-package-x1"):
        import_folder(folder)


@runs("003:11:16916ddd")
def test_the_list_of_personalities_has_the_printed_form(server: Live) -> None:
    example, said = printed("003:11:16916ddd"), ask(server, "list_personalities")
    assert set(said) >= set(example)
    people = said["personalities"]
    assert all(has_form_of(person, example["personalities"]["lollms"]) for person in people.values())
    assert not people["lollms"]["is_scripted"]
    assert people["artbot"]["is_scripted"]
    assert not Path(people["lollms"]["path"]).is_absolute()  # a server tells nobody where its files lie


@runs("003:12:095ea304")
def test_the_list_of_functions_has_the_printed_form(server: Live) -> None:
    example, said = printed("003:12:095ea304"), ask(server, "list_functions")
    assert set(said) >= set(example)
    assert "my_utils.do_task" in said["functions"]
    assert all(re.fullmatch(r"\w+\.\w+", name) for name in [*example["functions"], *said["functions"]])


@runs("003:13:bc086439")
def test_the_list_of_model_files_has_the_printed_form(server: Live) -> None:
    example, said = printed("003:13:bc086439"), ask(server, "list_models")
    assert set(said) == set(example)
    assert set(said["models"]) == set(example["models"])
    assert all(isinstance(names, list) for names in said["models"].values())


@runs("003:16:0ad22c29")
def test_what_is_said_of_a_model_has_the_printed_form(server: Live) -> None:
    example = printed("003:16:0ad22c29")
    for query in ("", f"?model_name={example['model_name']}"):
        said = ask(server, f"get_model_info/{example['binding_instance_name']}{query}")
        assert has_form_of(said, example)
        assert has_form_of(said["details"], example["details"])
        for name in ("binding_instance_name", "model_name", "model_type", "supports_vision", "supports_streaming"):
            assert said[name] == example[name]


@runs("003:17:a14a38dd")
def test_what_is_said_of_an_unknown_model_has_the_printed_form(server: Live) -> None:
    example = printed("003:17:a14a38dd")
    path = f"get_model_info/{example['binding_instance_name']}?model_name={example['model_name']}"
    said = ask(server, path, status=404)
    assert {name: said[name] for name in example if name != "error"} == {
        name: value for name, value in example.items() if name != "error"
    }
    assert example["model_name"] in said["error"]
    assert said["detail"] == said["error"]


@runs("003:18:0e16f4a3")
def test_an_answer_of_several_items_has_the_printed_form(server: Live) -> None:
    example = printed("003:18:0e16f4a3")
    said = ask(server, "generate", prompted("An astronaut on a unicorn", personality=example["personality"]))
    assert set(said) == set(example)
    assert (said["personality"], type(said["request_id"])) == (example["personality"], str)
    for item, shown in zip(said["output"], artwork(), strict=True):
        assert set(item) == set(shown)
        assert {name: item[name] for name in item if name != "metadata"} == {
            name: value for name, value in shown.items() if name != "metadata"
        }
        assert shown["metadata"].items() <= item["metadata"].items()


@runs("003:22:ebc33250", "003:23:f6ab441e", "003:24:06b7cf8a")
def test_texts_become_tokens_and_tokens_texts_in_the_printed_form(server: Live) -> None:
    text = "This is the detokenized text."
    documented = {"text": text, "binding_name": "lollms_nano", "model_name": None, "add_bos": False, "add_eos": False}
    tokens, example = ask(server, "tokenize", documented), printed("003:22:ebc33250")
    assert set(tokens) == set(example)
    assert all(type(token) is int for token in tokens["tokens"] + example["tokens"])
    assert tokens["count"] == len(tokens["tokens"])
    body = {"tokens": tokens["tokens"], "binding_name": "lollms_nano", "model_name": None}
    assert ask(server, "detokenize", body) == printed("003:23:f6ab441e") == {"text": text}
    counted = ask(server, "count_tokens", documented)
    assert has_form_of(counted, printed("003:24:06b7cf8a"))
    assert counted["count"] == tokens["count"]
    assert ask(server, "tokenize", {"text": text}) == tokens


@runs("003:25:54a90674")
def test_the_printed_script_of_a_personality_runs(server: Live) -> None:
    printed_items = [("text", "Result text"), ("info", "Task completed")]
    said = ask(server, "generate", prompted("Do it.", personality="my_writer"))
    assert said["personality"] == "my_writer"
    assert [(item["type"], item["data"]) for item in said["output"]] == printed_items


def test_the_printed_function_runs_when_its_missing_import_stands_before_it(server: Live, tmp_path: Path) -> None:
    code = all_blocks()["003:26:84815bc0"].text
    said = ask(server, "list_functions")
    (problem,) = (each for each in said["problems"] if each["name"] == "my_tools")
    assert "Dict" in problem["reason"]
    assert (problem["file"], problem["line"]) == ("my_tools.py", 2)
    assert not [name for name in said["functions"] if name.startswith("my_tools.")]
    call = "print(asyncio.run(my_async_tool('a', 2)))"
    shown = python(f"from typing import Dict\n{code}\n{call}\n", tmp_path, environment(tmp_path))
    assert shown.strip() == "{'result': 'Processed a with 2'}"


def guide(server: Live, folder: Path, *names: str, setup: str = "") -> list[str]:
    """What examples of the older guide print whose client speaks to the server."""
    start = f"LollmsClient(binding_name='lollms', host_address={server.url!r}, service_key={server.key!r}, {setup})"
    parts = ["from lollms_client import LollmsClient", f"client = {start}"]
    code = "\n".join([*parts, *(all_blocks()[name].text for name in names), "client.close()"])
    return python(code, folder, environment(folder)).splitlines()


@runs("002:10:0ec56ad3")
def test_the_older_guide_lists_the_personalities_of_the_server(server: Live, tmp_path: Path) -> None:
    (shown,) = guide(server, tmp_path, "002:10:0ec56ad3")
    assert shown == str(sorted(ask(server, "list_personalities")["personalities"]))


@runs("002:6:452dbf7d", "002:13:df2306d7")
def test_the_older_guide_asks_about_images(server: Live, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"image{number}.jpg").write_bytes(jpeg(8, 8 * number))
    setup = "llm_binding_config={'instance': 'eyes'}"
    shown = guide(server, tmp_path, "002:6:452dbf7d", "002:13:df2306d7", setup=setup)
    assert shown == ["2 images", "1 images"]


# ---- all of them


def test_every_block_runs_or_is_listed_and_none_does_both() -> None:
    blocks, listed = set(all_blocks()), not_run()
    assert blocks, f"no block was found in {FOLDER}"
    assert set(RUN) <= blocks, f"these no longer exist: {sorted(set(RUN) - blocks)}"
    assert set(listed) <= blocks, f"these no longer exist: {sorted(set(listed) - blocks)}"
    assert not set(RUN) & set(listed), f"these run, so take them off the list: {sorted(set(RUN) & set(listed))}"
    missing = sorted(blocks - set(RUN) - set(listed))
    assert not missing, f"these neither run nor are listed with a reason: {missing}"


def test_every_reason_is_of_a_known_kind() -> None:
    for name, reason in not_run().items():
        assert reason.startswith(REASONS), f"{name}: {reason}"
        assert len(reason.partition(": ")[2]) > 5, f"{name}: {reason}"


def test_the_list_only_gets_shorter() -> None:
    assert len(not_run()) == MOST_NOT_RUN, "write the number of listed blocks into MOST_NOT_RUN when it got smaller"


def test_a_stray_fence_swallows_no_example() -> None:
    text = "```\nstray\n```python\nprint(1)\n```\nprose\n  ```json\n  {}\n  ```\n```\nplain\n```\n"
    found = [(block.language, block.text) for block in blocks_of("x", text)]
    assert found == [("", "stray"), ("python", "print(1)"), ("json", "{}"), ("", "plain")]
