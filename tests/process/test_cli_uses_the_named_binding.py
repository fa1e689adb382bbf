"""`-b`, `models`, `embed`, `--schema`, `-x`, `-a` and completion, against a server that speaks another protocol."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import ROOT, ended, home, lollms, on_a_terminal, read_until, start
from tests.support.ollama_server import OllamaServer, png


@pytest.fixture(scope="module")
def ollama() -> Iterator[OllamaServer]:
    with OllamaServer() as server:
        yield server


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return home(tmp_path)


def on(ollama: OllamaServer, model: str = "llama3.2") -> list[str]:
    return ["-q", "-b", "ollama", "--host", ollama.origin, "-m", model]


def test_the_named_binding_answers_at_its_host(ollama: OllamaServer, env: dict[str, str]) -> None:
    done = lollms(*on(ollama), "hello there", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hello there" in done.stdout


def test_a_binding_that_is_not_there_is_told(env: dict[str, str]) -> None:
    done = lollms("-b", "olama", "hi", env=env)
    assert done.returncode == 2
    assert "Did you mean 'ollama'?" in done.stderr
    assert lollms("-b", "pythonllamacpp", "--host", "x", "hi", env=env).returncode == 1


def test_models_are_lines_for_programs_a_table_for_people_or_json(ollama: OllamaServer, env: dict[str, str]) -> None:
    where = ["-b", "ollama", "--host", ollama.origin]
    plain = lollms("models", *where, env=env)
    assert plain.returncode == 0, plain.stderr
    assert "llama3.2:latest" in [line.split("\t")[0] for line in plain.stdout.splitlines()]
    said = json.loads(lollms("models", "list", "--json", *where, env=env).stdout)
    assert "qwen3:latest" in [each["model_name"] for each in said["models"]]
    code, shown = on_a_terminal("models", *where, env={**env, "TERM": "xterm", "COLUMNS": "40"})
    assert code == 0
    assert b"MODEL" in shown
    assert b"\x1b" not in shown


def test_texts_become_vectors_line_by_line(ollama: OllamaServer, env: dict[str, str]) -> None:
    where = on(ollama, "embed")
    done = lollms("embed", *where, "a", "bcd", env=env)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)[0] < json.loads(done.stdout.splitlines()[1])[0] for line in done.stdout.splitlines()] == [
        True,
        False,
    ]
    lines = lollms("embed", *where, "--lines", env=env, piped=b"one\ntwo two\n" * 40)
    assert len(lines.stdout.splitlines()) == 80
    whole = lollms("embed", *where, "--json", "-", env=env, piped=b"one\ntwo")
    assert len(json.loads(whole.stdout)["embeddings"]) == 1
    for wrong in (["--lines", "x"], ["-", "-"], []):
        assert lollms("embed", *where, *wrong, env=env, piped=b"x").returncode == 2
    assert "Line 2 is empty" in lollms("embed", *where, "--lines", env=env, piped=b"a\n\nb").stderr


def test_an_answer_of_another_shape_is_exit_1_with_its_text(ollama: OllamaServer, env: dict[str, str]) -> None:
    done = lollms(*on(ollama), "--schema", "name, age int", "just words", env=env)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"name": 1, "age": 1}  # this server does not look at types
    assert "not the shape of --schema" in done.stderr
    asked = ollama.asked("/api/chat")[-1].json()
    assert asked["format"]["required"] == ["name", "age"]


def test_an_image_goes_to_the_model(ollama: OllamaServer, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(png())
    done = lollms(*on(ollama, "llava"), "-a", str(tmp_path / "a.bin"), "what?", env=env)
    assert done.returncode == 0, done.stderr
    assert len(ollama.asked("/api/chat")[-1].json()["messages"][-1]["images"]) == 1


def test_the_default_model_and_its_binding_are_used(ollama: OllamaServer, env: dict[str, str]) -> None:
    env = {**env, "OLLAMA_HOST": ollama.origin}
    assert lollms("models", "default", "-b", "ollama", "qwen3:latest", env=env).returncode == 0
    assert lollms("models", "default", env=env).stdout == "qwen3:latest\n"
    assert lollms("models", "default", env={**env, "LOLLMS_MODEL": "other"}).stdout == "other\n"
    done = lollms("-b", "ollama", "--host", ollama.origin, "hi", env=env)
    assert done.returncode == 0, done.stderr
    assert "model qwen3:latest (your default)" in done.stderr
    assert ollama.asked("/api/chat")[-1].json()["model"] == "qwen3:latest"
    assert lollms("models", "default", "--unset", env=env).returncode == 0
    assert lollms("models", "default", env=env).returncode == 1


def test_a_key_is_typed_unseen(env: dict[str, str]) -> None:
    env = {**env, "TERM": "xterm"}
    code, shown = on_a_terminal(
        "keys", "set", "openai", env=env, typed=b"sk-typed-0123456789\n", after=b"Key for openai"
    )
    assert code == 0
    assert b"sk-typed" not in shown
    assert "sk-typed-0123456789" in (Path(env["LOLLMS_HOME"]) / "provider_keys.json").read_text(encoding="utf-8")


def test_ctrl_c_keeps_what_came_of_a_named_binding(ollama: OllamaServer, env: dict[str, str]) -> None:
    ollama.hold()
    try:
        with ended(start(*on(ollama), "-u", "held words", env=env)) as process:
            shown = read_until(process.stdout, b"h")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert (shown + process.stdout.read()).endswith(b"\n")
    finally:
        ollama.release()


# ---- completion


def bash(line: str, env: dict[str, str], folder: Path) -> list[str]:
    """What bash itself offers at the end of a line: it parts the words as at a prompt, and calls our function."""
    program = folder / "lollms"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lollms_cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    words = line.replace(":", " : ").split() + ([""] if line.endswith(" ") else [])
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        'eval "$(lollms completion bash)"; complete -p lollms >/dev/null || exit 9\n'
        f"COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
        '_lollms_completion lollms; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [shutil.which("bash") or "bash", "--norc", "-c", script],
        env={**env, "PATH": f"{folder}:{env['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def test_bash_completes_commands_flags_bindings_and_models(
    ollama: OllamaServer, env: dict[str, str], tmp_path: Path
) -> None:
    where = f"-b ollama --host {ollama.origin}"
    assert bash("lollms ser", env, tmp_path) == ["serve"]
    assert {"--schema", "--system"} <= set(bash("lollms --s", env, tmp_path))
    assert bash("lollms -b olla", env, tmp_path) == ["ollama"]
    assert bash("lollms keys se", env, tmp_path) == ["set"]
    assert bash(f"lollms prompt {where} -m qwe", env, tmp_path) == ["qwen3:latest"]
    assert bash(f"lollms {where} -m qwen3:la", env, tmp_path) == ["latest"]


def test_nothing_is_shown_where_nobody_answers(env: dict[str, str], tmp_path: Path) -> None:
    assert bash("lollms -b ollama --host 127.0.0.1:1 -m x", env, tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_right_for_their_shell(shell: str, env: dict[str, str], tmp_path: Path) -> None:
    script = lollms("completion", shell, env=env)
    assert (script.returncode, script.stderr) == (0, "")
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    file = tmp_path / "script"
    file.write_text(script.stdout, encoding="utf-8")
    assert subprocess.run([shell, "-n", str(file)], check=False, timeout=20).returncode == 0


def test_powershell_gets_its_words_as_lines(env: dict[str, str]) -> None:
    assert "Register-ArgumentCompleter" in lollms("completion", "powershell", env=env).stdout
    asked = {"_LOLLMS_COMPLETE": "powershell_complete", "_LOLLMS_LINE": "lollms", "_LOLLMS_WORD": "ser"}
    assert lollms(env={**env, **asked}).stdout.split("\t")[:2] == ["plain", "serve"]


def test_nobody_there_is_told_in_words_of_the_command(env: dict[str, str]) -> None:
    done = lollms("-b", "ollama", "--host", "http://127.0.0.1:1", "-m", "x", "hi", env=env)
    assert done.returncode == 1
    assert "ollama serve" in done.stderr
    assert "with --host" in done.stderr
    assert "host_address" not in done.stderr
