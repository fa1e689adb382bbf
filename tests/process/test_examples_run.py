"""Every program of the folder `examples` runs, and none is forgotten. Services are stand-ins on real sockets."""

from __future__ import annotations

import ast
import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

import lollms_client
from tests.spec.live import ROOT, environment
from tests.support.chaos import ChaosServer
from tests.support.command_line import ended, read_until
from tests.support.ollama_server import OllamaServer
from tests.support.openai_server import answering
from tests.support.raw_http import RawRequest, ask
from tests.support.server import PortsBinding, running_server
from tests.support.webui_server import WebuiServer

EXAMPLES = ROOT / "examples"
PUBLIC = {"lollms_client", "lollms_client.testing", "lollms_core.errors", "lollms_core.types"}
pytestmark = pytest.mark.group("engine")


def run(folder: Path, *command: str, typed: str = "", **more: str) -> str:
    """The output of a program that does not fail."""
    done = finish(folder, *command, typed=typed, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def finish(folder: Path, *command: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run one of the examples, or a module, in `folder`; `more` is added to its environment."""
    env = environment(folder, PYTHONWARNINGS="error", PYTHONDONTWRITEBYTECODE="1", **more)
    program, *arguments = command
    found = [str(EXAMPLES / program)] if program.endswith(".py") else [program]
    start = [sys.executable, *found, *arguments]
    return subprocess.run(
        start, cwd=folder, env=env, input=typed, capture_output=True, encoding="utf-8", timeout=50, check=False
    )


def ask_local(folder: Path) -> None:
    assert "Paris" in run(folder, "ask_a_local_model.py")


def ask_any(folder: Path) -> None:
    for local in ("pythonllamacpp", "llamacpp"):
        assert "Paris" in run(folder, "ask_any_binding.py", "--binding", local, "What is the capital of France?")
    with OllamaServer() as ollama:
        there = ["--binding", "ollama", "--host", ollama.origin, "--model", "llama3.2"]
        assert run(folder, "ask_any_binding.py", *there, "Say this.") == "Say this.\n"
        nobody = finish(folder, "ask_any_binding.py", *there[:-1], "nothing", "Say this.")
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("ollama: ") and "(unknown_model)" in nobody.stderr
    for wrong in (["--binding", "olama"], ["--model", "/nope.gguf"]):
        (line,) = finish(folder, "ask_any_binding.py", *wrong, "Say this.").stderr.splitlines()
        assert wrong[1] in line
    with ChaosServer() as chaos:
        there = ["--binding", "openai", "--host", chaos.add("v1", answering), "--model", "one"]
        assert run(folder, "ask_any_binding.py", *there, "Say this.") == "Say this.\n"
    with WebuiServer() as webui:
        there = ["--binding", "lollms_webui", "--host", webui.origin]
        assert "Say this." in run(folder, "ask_any_binding.py", *there, "Say this.")
    with running_server({"scripted": PortsBinding(["As you like."])}) as server:
        there = ["--binding", "lollms", "--host", server.url]
        assert run(folder, "ask_any_binding.py", *there, "Hello", LOLLMS_API_KEY=server.key) == "As you like.\n"


def streaming(folder: Path) -> None:
    lines = run(folder, "streaming.py").splitlines()
    shown = dict(line.split(": ", 1) for line in lines)
    texts = {shown[name].strip() for name in ("whole", "returned", "result", "groups")}
    assert len(texts) == 1
    (text,) = texts
    assert "cold" in text
    for name in ("callback", "events"):
        assert shown[name].count("[") > 1
        assert re.sub(r"[\[\]]", "", shown[name]).strip() == text
    assert shown["ended by"] == "stop"


def look(folder: Path) -> None:
    Image.new("RGB", (40, 30), (10, 250, 10)).save(folder / "green.png")
    with OllamaServer() as ollama:
        done = finish(folder, "look_at_a_picture.py", "--host", ollama.origin, "green.png", "What is it?")
    assert done.stdout == "I see [(40, 30)].\n" * 2, done.stderr
    assert re.search(r"about \d+ tokens", done.stderr)
    with ChaosServer() as chaos:
        there = ["--binding", "openai", "--host", chaos.add("v1", answering), "--model", "one"]
        assert run(folder, "look_at_a_picture.py", *there, "green.png") == "1 images\n" * 2
    nobody = finish(folder, "look_at_a_picture.py", "--host", "http://127.0.0.1:9", "green.png")
    assert nobody.returncode == 1 and "Traceback" not in nobody.stderr
    assert nobody.stderr.splitlines()[-1].startswith("No Ollama server answers at http://127.0.0.1:9.")


def talk(folder: Path) -> None:
    shown = run(folder, "talk.py", typed="My name is Alice.\nWhat is the capital of France?\n\n")
    assert shown.count("> ") == 3
    assert "Paris" in shown


def tools(folder: Path) -> None:
    called, answered = run(folder, "let_it_call_functions.py").splitlines()
    assert called == "get_weather({'city': 'Madrid'}) -> \"sunny, 21 C\""
    assert "sunny, 21 C" in answered


def data(folder: Path) -> None:
    assert run(folder, "get_data.py") == "Ann was 30 a year ago.\n"


def summaries(folder: Path) -> None:
    (folder / "a.txt").write_text("There are 12 apples in the first basket. " * 60, encoding="utf-8")
    (folder / "b.txt").write_text("The second one holds 30 pears.\n", encoding="utf-8")
    done = finish(folder, "summarize_files.py", "a.txt", "b.txt")
    assert done.returncode == 0, done.stderr
    summary, analysis = done.stdout.splitlines()[:1], done.stdout.splitlines()[1:]
    assert summary and analysis
    steps = [line.split() for line in done.stderr.splitlines()]
    assert ["100%", "final_synthesis"] in steps and any(step == "file_2_chunk_1" for _, step in steps)
    assert finish(folder, "summarize_files.py").returncode == 1


def closed(folder: Path) -> None:
    spam, kind, order = run(folder, "ask_closed_questions.py").splitlines()
    assert spam in ("spam? True", "spam? False")
    kinds = {"spam", "an invoice", "a letter of a friend"}
    assert kind.removeprefix("kind: ") in kinds
    assert set(order.removeprefix("order: ").split(", ")) == kinds


def at_once(folder: Path) -> None:
    *answers, streamed = run(folder, "several_at_once.py").splitlines()
    assert [word in line for word, line in zip(("Paris", "cold", "7"), answers, strict=True)] == [True] * 3
    assert streamed.endswith("(stop)")


def similar(folder: Path) -> None:
    lines = run(folder, "find_similar_texts.py").splitlines()
    assert lines[0].endswith("The capital of Spain is Madrid.")
    likeness = [float(line.split()[0]) for line in lines]
    assert likeness == sorted(likeness, reverse=True) and len(likeness) == 3
    for line in lines:  # each is most like itself, whichever place it has in the list
        text = line.partition("  ")[2]
        assert run(folder, "find_similar_texts.py", text).splitlines()[0] == f"1.00  {text}"


def count(folder: Path) -> None:
    shown = run(folder, "count_tokens.py")
    assert "are 13 tokens" in shown and "'The quick brown fox'" in shown
    assert re.search(r"asked \d+, answered \d+", shown)
    assert "cut to" not in shown
    long = run(folder, "count_tokens.py", typed="The sky is blue and the sea is deep. " * 200)
    asked = re.search(r"asked (\d+),", long)
    assert "cut to 874 tokens" in long and asked and 874 < int(asked[1]) <= 924


def save(folder: Path) -> None:
    assert run(folder, "save_code.py", "code") == "code/block_0.py\n"
    assert "return a + b" in (folder / "code" / "block_0.py").read_text(encoding="utf-8")
    again = finish(folder, "save_code.py", "code")  # nothing is written over
    assert again.returncode == 1 and "FileExistsError" in again.stderr
    hostile = ["../up.py", "/tmp/x.py", ".hidden.py", "a/b.py", "a\\b.py", "x", "", "a.py\n", "-r.py", "ok_1.py"]
    code = f"""
import sys; sys.path.insert(0, {str(EXAMPLES)!r})
from pathlib import Path; from save_code import save
for index, name in enumerate({hostile!r}):
    save({{"index": index, "file_name": name, "content": "1", "type": "python"}}, Path("safe"))
"""
    (folder / "safe").mkdir()
    run(folder, "-c", code)
    names = {path.name for path in (folder / "safe").iterdir()}
    assert names == {"ok_1.py", *(f"block_{index}.py" for index in range(len(hostile) - 1))}


def stop(folder: Path) -> None:
    shown = run(folder, "stop_in_the_middle.py").splitlines()
    assert shown[0]
    assert shown[0] in shown[-1] or shown[-1] in shown[0]


def fail(folder: Path) -> None:
    shown = run(folder, "when_it_fails.py").splitlines()
    assert shown[0].startswith("Nobody is there.")
    assert shown[1:3] == ["That can not be asked: temperature", "connection_refused"]
    assert shown[3:5] == [
        "Too many questions. Ask again in 7 seconds.",
        "The server failed (truncated_stream). What came: 'The answer is'",
    ]
    assert "'olama'" in shown[5] and "ollama" in shown[5]
    with ChaosServer() as chaos:
        said = [run(folder, "when_it_fails.py", chaos.url(mode)).splitlines()[0] for mode in ("status-401", "html")]
    assert said[0].startswith("The server does not take the key")
    assert said[1].startswith("The server failed (protocol_error).")


def own(folder: Path) -> None:
    shown = run(folder, "use_my_binding.py").splitlines()
    assert "parrot" in shown[0] and "ollama" in shown[0]
    assert shown[1:] == [
        "hello hello",
        "['good', ' morning', ' good', ' morning']",
        "3 ['grey', 'green']",
        "['one one', 'two two']",
    ]


def script(folder: Path) -> None:
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    assert "2 passed" in run(folder, "-m", "pytest", *options, str(EXAMPLES / "test_my_program.py"))


def trace(folder: Path) -> None:
    shown = run(folder, "trace_calls.py").splitlines()
    assert [line.split()[0] for line in shown] == ["stop", "length", "Cancelled"]
    assert shown[1].split()[1] == "3"


@contextlib.contextmanager
def service(folder: Path, **more: str) -> Iterator[int]:
    """The port of the web service, until the block ends."""
    command = [sys.executable, "-m", "uvicorn", "in_fastapi:app", "--app-dir", str(EXAMPLES), "--port", "0"]
    env = environment(folder, PYTHONDONTWRITEBYTECODE="1", PYTHONWARNINGS="error", **more)
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with ended(process):
        found = re.search(rb"http://127\.0\.0\.1:(\d+) ", read_until(process.stderr, b" (Press"))
        assert found
        yield int(found[1])
        process.terminate()
        process.communicate(timeout=20)


def in_fastapi(folder: Path) -> None:
    with service(folder) as port:
        answer = ask(port, "POST", "/ask", {"question": "What is the capital of France?"})
        assert answer.status == 200 and b"Paris" in answer.body
        assert answer.headers["transfer-encoding"] == "chunked"
        assert ask(port, "POST", "/ask", {"question": ""}).status == 422
    with ChaosServer() as chaos:
        endless, missing = chaos.url("drip"), chaos.url("status-404")
        with service(folder, LLM_BINDING="openai", LLM_HOST=endless, LLM_MODEL="one") as port:
            with RawRequest(port, "POST", "/ask", body={"question": "Hello?"}) as caller:
                assert next(iter(caller.read_head().pieces())) == b"drip "
            chaos.wait_request().connection.closed_after(5)  # the caller has left, and so the model stops
        with service(folder, LLM_BINDING="openai", LLM_HOST=missing, LLM_MODEL="one") as port:
            assert ask(port, "POST", "/ask", {"question": "Hello?"}).status == 502


def pipe(folder: Path) -> None:
    env = environment(folder, LOLLMS_PORT="1")
    done = subprocess.run(
        ["sh", str(EXAMPLES / "pipe.sh")],
        cwd=folder,
        env=env,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary, age, *code, failed, last = done.stdout.splitlines()
    assert summary == "Ann is a doctor."
    assert age == "32"
    assert code[0].startswith("def ") and "```" not in done.stdout
    assert failed.startswith("lollms: error: Nothing is listening")
    assert last == "exit code 1"


PROGRAMS: dict[str, Callable[[Path], None]] = {
    "ask_a_local_model.py": ask_local,
    "ask_any_binding.py": ask_any,
    "streaming.py": streaming,
    "look_at_a_picture.py": look,
    "talk.py": talk,
    "let_it_call_functions.py": tools,
    "get_data.py": data,
    "summarize_files.py": summaries,
    "ask_closed_questions.py": closed,
    "several_at_once.py": at_once,
    "find_similar_texts.py": similar,
    "count_tokens.py": count,
    "save_code.py": save,
    "stop_in_the_middle.py": stop,
    "when_it_fails.py": fail,
    "use_my_binding.py": own,
    "test_my_program.py": script,
    "trace_calls.py": trace,
    "in_fastapi.py": in_fastapi,
    "pipe.sh": pipe,
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_an_example_runs(program: Callable[[Path], None], tmp_path: Path) -> None:
    program(tmp_path)


def test_every_example_is_run_and_described() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert there == set(PROGRAMS)
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert not [name for name in (*there, "my_bindings") if f"]({name})" not in text]


def test_examples_use_what_is_public_and_say_what_they_show() -> None:
    for path in sorted(EXAMPLES.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lollms"):
                assert node.module in PUBLIC, path
                if node.module == "lollms_client":
                    assert {alias.name for alias in node.names} <= set(lollms_client.__all__), path
            assert not (isinstance(node, ast.Import) and node.names[0].name.startswith("lollms")), path
