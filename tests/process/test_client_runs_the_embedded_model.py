"""`pythonllamacpp` answers from a process of its own that starts with the first call and never outlives its use."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from lollms_client import MSG_TYPE, LollmsClient
from lollms_client.async_client import AsyncLollmsClient
from lollms_core.errors import ModelNotFound, UnsupportedFeature

pytestmark = pytest.mark.group("engine")

QUESTION = "What is the capital of France?"
ROOT = Path(__file__).parents[2]


def children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE}


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    wake = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        wake.wait(0.01)


@pytest.fixture(scope="module")
def client() -> Any:
    with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as made:
        made.generate_text("Hello!", n_predict=1)  # it runs before the first test, so that its threads belong to none
        yield made


def test_it_answers_streams_and_stops(client: LollmsClient) -> None:
    whole = client.generate_text(QUESTION, temperature=0)
    assert isinstance(whole, str)
    assert "Paris" in whole
    chunks: list[str] = []
    streamed = client.generate_text(QUESTION, temperature=0, streaming_callback=lambda c, t: chunks.append(c))
    assert streamed == whole == "".join(chunks)
    assert len(chunks) > 3
    reply = client.complete(QUESTION, temperature=0)
    assert (reply.text, reply.finish_reason) == (whole, "stop")
    assert reply.usage is not None
    assert reply.usage.completion_tokens
    few = client.complete(QUESTION, temperature=0, n_predict=2)
    assert few.finish_reason == "length"

    seen: list[str] = []

    def callback(chunk: str, msg_type: MSG_TYPE) -> bool:
        seen.append(chunk)
        return len(seen) < 2

    assert client.generate_text(QUESTION, temperature=0, streaming_callback=callback) == "".join(seen)
    assert client.generate_text(QUESTION, temperature=0) == whole


def test_its_tokenizer_and_its_model(client: LollmsClient) -> None:
    tokens = client.tokenize("Hello there, world!")
    assert client.count_tokens("Hello there, world!") == len(tokens) > 1
    assert client.detokenize(tokens).strip() == "Hello there, world!"
    assert client.list_models()[0]["model_name"] == "lollms-nano"
    assert client.get_ctx_size() == client.get_model_info()["context_size"] > 0


def test_a_callback_may_call_again(client: LollmsClient) -> None:
    inner: list[Any] = []

    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        if not inner:
            inner.append(client.generate_text("Hello!", n_predict=3))

    assert isinstance(client.generate_text(QUESTION, streaming_callback=callback), str)
    assert isinstance(inner[0], str)


def test_a_thread_that_used_it_first_may_end() -> None:
    with LollmsClient(binding_name="pythonllamacpp") as client:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(client.generate_text(QUESTION, temperature=0)))
        thread.start()
        thread.join(30)
        engine = client.llm.engine()  # type: ignore[union-attr]
        before = children()
        assert client.generate_text(QUESTION, temperature=0) == answers[0]
        assert client.llm.engine() is engine  # type: ignore[union-attr]
        assert children() == before


def test_nothing_starts_before_it_is_used_and_nothing_stays() -> None:
    before = children()
    client = LollmsClient(binding_name="pythonllamacpp")
    assert children() == before
    client.generate_text("Hello!", n_predict=1)
    assert children() > before
    client.close()
    wait_until(lambda: children() == before)
    client.generate_text("Hello!", n_predict=1)  # it may be used again
    assert children() > before
    del client
    gc.collect()
    wait_until(lambda: children() == before)


def test_switching_the_model_ends_the_one_before(tmp_path: Path) -> None:
    from lollms_runtime.models import find_model

    copy = tmp_path / "copy.gguf"
    copy.symlink_to(find_model("lollms-nano"))
    before = children()
    real = tmp_path / "real.gguf"
    real.write_bytes(copy.read_bytes())
    with LollmsClient(binding_name="pythonllamacpp", models_path=tmp_path) as client:
        client.generate_text("Hello!", n_predict=1)
        first = children() - before
        assert client.switch_model("real")
        wait_until(lambda: not first & children())
        client.generate_text("Hello!", n_predict=1)
        assert not client.switch_model("absent")
        assert client.get_model_name() == "real"
        assert {each["model_name"] for each in client.list_models()} == {"lollms-nano", "copy.gguf", "real.gguf"}


def test_models_that_were_pulled_are_listed_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lollms_runtime.models import find_model

    pulled, own = tmp_path / "pulled", tmp_path / "own"
    monkeypatch.setenv("LOLLMS_MODELS", str(pulled))
    names = (pulled / "org/repo/tiny-Q8_0.gguf", own / "mine.gguf", own / "mmproj-mine.gguf")
    for path in names:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(find_model("lollms-nano").read_bytes())
    with LollmsClient("pythonllamacpp", models_path=own, model_name="org/repo:Q8_0") as client:
        listed = client.list_models()
        assert [each["model_name"] for each in listed] == ["lollms-nano", "mine.gguf", "org/repo/tiny-Q8_0"]
        assert [each["path_hint"] for each in listed[1:]] == [str(names[1]), str(names[0])]
        assert all(each["size_gb"] == 0.003 for each in listed)
        assert "Paris" in client.complete(QUESTION, temperature=0).text
        assert all(client.switch_model(each["model_name"]) for each in listed)


@pytest.mark.parametrize("arguments", [{"model_name": "/nowhere/model.gguf"}, {"model_name": "absent"}])
def test_a_model_that_is_not_there_is_said_by_the_constructor(arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelNotFound, match="lollms-nano"):
        LollmsClient(binding_name="pythonllamacpp", **arguments)


def test_the_documented_configuration() -> None:
    from lollms_runtime.models import find_model

    config = {"n_gpu_layers": -1, "n_ctx": 512, "seed": -1, "chat_format": "chatml"}
    path = str(find_model("lollms-nano"))
    with LollmsClient(binding_name="pythonllamacpp", model_name=path, llm_binding_config=config) as client:
        assert isinstance(client.generate_text("Hello!", n_predict=4), str)
        assert client.get_ctx_size() == 512
    with pytest.raises(ValueError, match="n_ctx"):
        LollmsClient("pythonllamacpp", llm_binding_config={"n_ctx": "many"})


def test_the_constructor_of_older_scripts() -> None:
    from lollms_client.llm_bindings.pythonllamacpp import LlamaCppBinding
    from lollms_runtime.models import find_model

    config = {"n_gpu_layers": 0, "n_ctx": 256, "seed": 5, "chat_format": "chatml"}
    binding = LlamaCppBinding(model_path=str(find_model("lollms-nano")), config=config, lollms_paths={})
    try:
        assert binding.generate_text("Hello!", n_predict=6) == binding.generate_text("Hello!", n_predict=6)
        assert binding.get_ctx_size() == 256
    finally:
        binding.close()


def test_embeddings_are_made_where_they_were_asked_for(client: LollmsClient) -> None:
    with pytest.raises(UnsupportedFeature, match="embedding"):
        client.embed("Hello")
    with LollmsClient("pythonllamacpp", llm_binding_config={"embedding": True, "n_ctx": 128}) as embedding:
        one = embedding.embed("Hello there")
        assert len(one) > 8 and all(isinstance(number, float) for number in one)
        two = embedding.embed(["Hello there", "A cat"])
        assert len(two) == 2 and two[0] == pytest.approx(one, abs=1e-3) and two[1] != pytest.approx(one, abs=1e-3)
        assert isinstance(embedding.generate_text("Hello!", n_predict=2), str)


def test_coroutines_get_the_same_and_leave_nothing(client: LollmsClient) -> None:
    before = children()
    whole = client.generate_text(QUESTION, temperature=0)

    async def ask() -> None:
        asking = AsyncLollmsClient("pythonllamacpp")
        answers = await asyncio.gather(*(asking.generate_text(QUESTION, temperature=0) for _ in range(4)))
        assert answers == [whole] * 4
        async with asking.stream(QUESTION, temperature=0) as stream:
            assert (await stream.result()).text == whole
        assert not any(thread.name == "lollms work" for thread in threading.enumerate())  # on the loop itself
        assert await asking.count_tokens("Hello there") == client.count_tokens("Hello there")
        assert await asking.get_ctx_size() == client.get_ctx_size()
        task = asyncio.create_task(asking.complete("Tell me a long story.", n_predict=4000, stop=["@@"]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asking.generate_text(QUESTION, temperature=0) == whole

    asyncio.run(ask())  # the client is dropped without a word
    gc.collect()
    wait_until(lambda: children() == before)


SCRIPT = """
import os, sys
from lollms_client import LollmsClient
client = LollmsClient(binding_name="pythonllamacpp")
client.generate_text("Hello!", n_predict=1)
import psutil
print(*[each.pid for each in psutil.Process().children(recursive=True)], flush=True)
{}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("os._exit(4)", 4),
        ("raise KeyboardInterrupt", 130),
        ("import threading; threading.Event().wait()", -signal.SIGKILL),
        ("child = os.fork() or sys.exit(0); os.waitpid(child, 0); print(client.generate_text('Hi', n_predict=1))", 0),
    ],
)
def test_no_engine_outlives_the_program(end: str, code: int, tmp_path: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT).format(end)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert program.stdout is not None
    engines = [int(pid) for pid in program.stdout.readline().split()]
    assert engines
    if code == -signal.SIGKILL:
        program.kill()
    out, err = program.communicate(timeout=30)
    assert program.returncode == (code if code != 130 else -signal.SIGINT), err
    if "fork" in end:
        assert out.strip(), "the parent's engine was ended by the child"
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in engines))


NOTHING_TO_WRITE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as a full or read-only disk, and for children as well
try:
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("x")
except OSError:
    print("cannot write", flush=True)
from lollms_client import LollmsClient
with LollmsClient(binding_name="pythonllamacpp") as client:
    print(client.generate_text("What is the capital of France?", temperature=0), flush=True)
    print(len(client.list_models()) > 0, client.get_ctx_size() > 0, flush=True)
"""


def test_it_works_without_a_home_and_with_nowhere_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir(mode=0o500)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", NOTHING_TO_WRITE, str(tmp_path / "probe")],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    probe, answer, facts = done.stdout.splitlines()
    assert (probe, facts) == ("cannot write", "True True")
    assert "Paris" in answer
    assert list(folder.iterdir()) == []


def test_ctrl_c_while_it_generates_leaves_the_engine_free(client: LollmsClient) -> None:
    def callback(chunk: str, msg_type: MSG_TYPE) -> None:
        raise KeyboardInterrupt

    for _ in range(4):  # more often than it has slots
        with pytest.raises(KeyboardInterrupt):
            client.generate_text(QUESTION, streaming_callback=callback)
    assert client.complete(QUESTION, temperature=0).finish_reason == "stop"


def test_a_text_has_the_same_embedding_alone_and_among_others() -> None:
    texts = [
        "The sky is blue.",
        "A much longer text about rivers, mountains and the sea, and about other things.",
        "Yes",
    ]
    settings = {"embedding": True, "parallel": 4}
    with LollmsClient("pythonllamacpp", model_name="lollms-nano", llm_binding_config=settings) as client:
        alone = [client.embed(text) for text in texts]
        for one, other in zip(alone, client.embed(texts), strict=True):
            assert other == pytest.approx(one, abs=1e-4)
