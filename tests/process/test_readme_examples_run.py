"""The examples of README.md, DOC_USE.md, DOC_DEV.md and docs/operations.md run; only the server's port is edited."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.spec.live import Live, environment, live_server
from tests.spec.printed import ask, prompted, put

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.group("engine")


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("server")
    personal(folder)
    with live_server(folder) as live:
        yield live


def personal(folder: Path) -> None:
    """Put the server's part of DOC_DEV.md where it says."""
    for language, comment in (("python", r"# (personal_\w+/\S+)\n"), ("yaml", r"# (\S+\.yaml)\n")):
        for code in blocks("DOC_DEV.md", language):
            if found := re.match(comment, code):
                put(folder / found[1], code)


def python(code: str, folder: Path, env: dict[str, str]) -> str:
    strict = {**env, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=strict,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shell(code: str, folder: Path, env: dict[str, str]) -> str:
    """What lines of a shell print, which must go well; `lollms` is this checkout's."""
    done = run_shell(code, folder, env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_shell(code: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    (path / "lollms").write_text(f'#!/bin/sh\nexec {sys.executable} -m lollms_cli "$@"\n', encoding="utf-8")
    (path / "lollms").chmod(0o755)
    own = {**env, "PATH": f"{path}:{env['PATH']}"}
    return subprocess.run(
        ["sh", "-euc", code], cwd=folder, env=own, capture_output=True, encoding="utf-8", timeout=50, check=False
    )


@pytest.mark.parametrize("number", range(len(blocks("README.md", "python"))))
def test_each_python_example_of_the_readme_runs(number: int, server: Live, tmp_path: Path) -> None:
    code = blocks("README.md", "python")[number]
    shown = python(code.replace("http://localhost:9601", server.url), tmp_path, server.environment)
    if "capital of France" in code and "scripted" not in code:
        assert "Paris" in shown
    if "12 plus 30" in code:
        assert "42" in shown
    if "def show" in code:
        assert "TextDelta" in shown
        assert "cold" in shown.splitlines()[-1]


@pytest.mark.group("curl")
def test_the_curl_examples_of_the_readme_run(server: Live, tmp_path: Path) -> None:
    (code,) = (block for block in blocks("README.md", "sh") if "curl" in block)
    env = {**server.environment, "LOLLMS_API_KEY": server.key}
    shown = shell(code.replace("http://localhost:9601", server.url), tmp_path, env)
    assert '"status":"ok"' in shown
    assert "Paris" in shown


def test_the_command_lines_of_the_readme_run(server: Live, tmp_path: Path) -> None:
    (code,) = (block for block in blocks("README.md", "sh") if "lollms doctor" in block)
    port = server.url.rpartition(":")[2]
    shown = shell(code, tmp_path, {**server.environment, "LOLLMS_PORT": port})
    assert "Paris" in shown
    assert "Nothing is wrong." in shown


@pytest.mark.parametrize("number", range(len(blocks("DOC_USE.md", "python"))))
def test_each_python_example_of_the_guide_runs(number: int, tmp_path: Path) -> None:
    shown = python(blocks("DOC_USE.md", "python")[number], tmp_path, environment(tmp_path))
    assert "Reply" not in shown


@pytest.mark.parametrize("number", range(len(blocks("docs/operations.md", "python"))))
def test_each_example_of_the_operations_runs(number: int, tmp_path: Path) -> None:
    code = blocks("docs/operations.md", "python")[number]
    shown = python(code, tmp_path, environment(tmp_path))
    if "PERSON" in code:
        assert shown == "John Doe 34\n"
    if "chunk_size_tokens" in code:
        assert "chunk_2" in shown and "final_synthesis 100%" in shown
    if "rag" in code:
        assert shown == "On Tuesday at ten. ['notes.txt']\n"


def test_the_binding_of_the_developers_guide_works_in_the_library(tmp_path: Path) -> None:
    binding, use = blocks("DOC_DEV.md", "python")[:2]
    folder = tmp_path / "my_bindings" / "shout"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(binding, encoding="utf-8")
    assert python(use, tmp_path, environment(tmp_path)) == "HELLO!!\nGOOD MORNING!!\n"


STREAMING = "    async def generate_stream"


@pytest.mark.parametrize("streaming", [False, True])
def test_the_binding_of_the_developers_guide_works_in_the_server(streaming: bool, tmp_path: Path) -> None:
    personal(tmp_path)
    if streaming:
        (method,) = (block for block in blocks("DOC_DEV.md", "python") if block.startswith("async def generate_stream"))
        file = tmp_path / "personal_bindings" / "shout_binding" / "__init__.py"
        file.write_text(
            file.read_text(encoding="utf-8") + "\n" + re.sub(r"^(?=.)", "    ", method, flags=re.M), encoding="utf-8"
        )
    with live_server(tmp_path, instances={"my_shout": "shout_binding"}) as live:
        code = (
            "from lollms_client import LollmsClient\n"
            f"client = LollmsClient('lollms', {live.url!r}, llm_binding_config={{'instance': 'my_shout'}})\n"
            "print(client.complete('hello').text.strip())\n"
            "print(client.generate_text('you there', streaming_callback=lambda chunk, kind: None).strip())\n"
            "client.close()\n"
        )
        shown = python(code, tmp_path, live.environment)
    assert shown.splitlines() == (["HELLO!!!", "YOU THERE"] if streaming else ["HELLO!!!", "YOU THERE!!!"])


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def words_of(answer: Any) -> str:
    """The texts of an answer, an item in a line."""
    return "\n".join(f"{item['type']}: {item['data']}" for item in answer["output"])


def test_what_the_developers_guide_adds_is_taken_up_without_a_restart(tmp_path: Path) -> None:
    with live_server(tmp_path) as live:
        env = {**live.environment, "LOLLMS_HOST": live.url}
        main = tmp_path / "lollms_configs" / "main_config.yaml"
        assert "pirate" not in shell("lollms personalities list", tmp_path, env)
        personal(tmp_path)
        change(main, "bindings_map:\n", "bindings_map:\n  my_shout: shout_binding\n")
        shown = shell("lollms reload", tmp_path, env)
        assert {"pirate", "two_steps", "my_tools", "my_shout"} <= set(re.findall(r"^loaded\t(\w+)$", shown, re.M)), (
            shown
        )

        shown = shell("lollms personalities list; lollms functions list; lollms bindings list", tmp_path, env)
        for name, more in (("pirate", "Answers like a pirate."), ("two_steps", "yes"), ("my_shout", "loaded")):
            (line,) = (line for line in shown.splitlines() if line.startswith(name))
            assert more in line
        assert "my_tools.count_words" in shown.splitlines()

        said = ask(live, "generate", prompted("Repeat: the silver rocket", personality="pirate"))
        assert said["personality"] == "pirate"
        assert said["output"][0]["data"]
        shouted = prompted("hello", personality="pirate", binding_name="my_shout")
        assert words_of(ask(live, "generate", shouted)) == "text: HELLO!!!"
        two = prompted("the sea", personality="two_steps", binding_name="my_shout")
        assert words_of(ask(live, "generate", two)) == "text: WRITE ABOUT: THE SEA!!!\ninfo: 4 words"
        ask(live, "generate", prompted("Hello", functions=["my_tools.count_words"]))

        script = tmp_path / "personal_personalities" / "two_steps" / "scripts" / "workflow.py"
        change(script, "    draft = await", "    draft = = await")
        done = run_shell("lollms reload", tmp_path, env)
        assert done.returncode == 1
        assert re.search(r"two_steps.*workflow\.py.*3", done.stderr), done.stderr
        assert words_of(ask(live, "generate", two)).endswith("info: 4 words"), "what worked before goes on"

        change(main, "personalities_config: {}\n", "personalities_config:\n  pirate: {enabled: false}\n")
        run_shell("lollms reload", tmp_path, env)
        assert "pirate" not in shell("lollms personalities list", tmp_path, env)
        ask(live, "generate", prompted("Hello", personality="pirate"), status=404)
