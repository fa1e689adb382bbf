"""An engine that dies, or cannot load, is a typed error in words; the next request works, or is told why not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from lollms_core.errors import EngineCrashed, EngineError, InstanceUnavailable, LollmsError, ModelLoadFailed
from lollms_core.types import Batch, TextDelta
from lollms_runtime.engines.llamacpp import LlamaCppEngine, Policy
from lollms_runtime.models import EMBEDDED, find_model
from tests.support.engines import aask, ask, asking, endless, running, until
from tests.support.stand_in_llama_server import install
from tests.support.tiny_gguf import write_random_llama

pytestmark = [pytest.mark.group("engine"), pytest.mark.group("gguf")]

NANO = find_model(EMBEDDED)
HELLO = asking("Say hello.")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_llama(tmp_path_factory.mktemp("model") / "random.gguf", layers=1, width=128, feed_forward=128)


class Killer:
    """Sends a signal to the engine after so many batches of text."""

    def __init__(self, engine: LlamaCppEngine, number: signal.Signals) -> None:
        self.engine = engine
        self.number = number
        self.left = 5
        self.text = ""

    def __call__(self, batch: Batch) -> None:
        self.text += "".join(event.text for event in batch if isinstance(event, TextDelta))
        if self.text:
            self.left -= 1
            if self.left == 0 and self.engine.pid is not None:
                os.kill(self.engine.pid, self.number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize("twin", ["sync", "async"])
def test_a_death_in_the_middle_keeps_the_text_and_the_next_request_works(
    model: Path, number: signal.Signals, twin: str
) -> None:
    with running(model, parallel=1, context_size=8192) as engine:
        killer = Killer(engine, number)
        with pytest.raises(EngineCrashed) as caught:
            ask(engine, endless(), killer) if twin == "sync" else asyncio.run(aask(engine, endless(), killer))
        error = caught.value
        assert number.name in error.message and "restarted" in error.message
        assert error.partial is not None and error.partial.text.startswith(killer.text) and killer.text
        reply = ask(engine, asking("Go on.", max_tokens=3))
        assert reply.finish_reason == "length"
        assert engine.error is None


def test_other_streams_end_with_an_error_of_their_own(model: Path) -> None:
    async def main(engine: LlamaCppEngine) -> list[LollmsError]:
        results = await asyncio.gather(
            aask(engine, endless("one"), Killer(engine, signal.SIGKILL)),
            aask(engine, endless("two")),
            return_exceptions=True,
        )
        return [result for result in results if isinstance(result, EngineCrashed)]

    with running(model, context_size=8192) as engine:
        first, second = asyncio.run(main(engine))
        assert first is not second
        assert first.partial is not second.partial


def test_after_five_deaths_in_a_row_it_is_left_alone_and_start_tries_again() -> None:
    with running(policy=Policy(first_pause=0.01, longest_pause=0.02, deaths=5)) as engine:
        for _ in range(4):
            engine.start()
            engine.ready().result(10)
            pid = engine.pid
            assert pid is not None
            os.kill(pid, signal.SIGSEGV)
            until(lambda pid=pid: engine.pid not in (None, pid))  # type: ignore[misc]
        os.kill(engine.pid or 0, signal.SIGSEGV)
        until(lambda: engine.state == "failed")
        start = time.monotonic()
        for _ in range(2):
            with pytest.raises(EngineCrashed, match="5 times in a row"):
                ask(engine, HELLO)
        assert time.monotonic() - start < 1
        engine.start()
        assert ask(engine, HELLO).text


def test_an_answer_sets_the_count_of_deaths_back() -> None:
    with running(policy=Policy(first_pause=0.01, longest_pause=0.02, deaths=2)) as engine:
        for _ in range(4):
            assert ask(engine, HELLO).text
            os.kill(engine.pid or 0, signal.SIGKILL)
            until(lambda: engine.state == "loading")
        assert ask(engine, HELLO).text


@pytest.mark.parametrize("size", [0, 3, 24, 1000, 60_000, 1_000_000, NANO.stat().st_size - 1])
def test_a_file_cut_anywhere_is_a_load_error_that_says_so(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(NANO.read_bytes()[:size])
    with running(path) as engine:
        for attempt in (lambda: ask(engine, HELLO), lambda: asyncio.run(aask(engine, HELLO))):
            with pytest.raises(ModelLoadFailed, match="cut"):
                attempt()
        assert engine.state == "failed"
        assert isinstance(engine.error, ModelLoadFailed)
        assert engine.pid is None


def test_wrong_files_are_load_errors(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"PK\x03\x04" + NANO.read_bytes()[4:])
    for path in (wrong, tmp_path / "missing.gguf", tmp_path):
        with running(path) as engine, pytest.raises(ModelLoadFailed):
            ask(engine, HELLO)


def test_a_file_that_was_mended_loads_after_start(tmp_path: Path) -> None:
    path = tmp_path / "mended.gguf"
    path.write_bytes(b"GGUF")
    with running(path) as engine:
        with pytest.raises(ModelLoadFailed):
            ask(engine, HELLO)
        path.write_bytes(NANO.read_bytes())
        engine.start()
        assert ask(engine, HELLO).text


def test_loading_has_a_time_limit(tmp_path: Path) -> None:
    program = install(tmp_path)
    with running(server_path=program, server_args=("--behave", "slow"), policy=Policy(load=0.5)) as engine:
        with pytest.raises(ModelLoadFailed, match=r"within 0\.5 seconds"):
            engine.ready().result(10)


def test_a_death_while_loading_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    policy = Policy(first_pause=0.01, longest_pause=0.02, deaths=3)
    with running(server_path=install(tmp_path), server_args=("--behave", "dies"), policy=policy) as engine:
        with pytest.raises(EngineCrashed, match=r"3 times in a row.*SIGSEGV"):
            engine.ready().result(20)


def test_the_engines_last_words_are_told_without_the_key(tmp_path: Path) -> None:
    with running(server_path=install(tmp_path), server_args=("--behave", "refuses")) as engine:
        with pytest.raises(ModelLoadFailed, match="no such argument, and the key is •••"):
            engine.ready().result(20)


def test_stopping_in_the_middle_of_a_stream_ends_it_in_words(model: Path) -> None:
    with running(model, context_size=8192) as engine:
        left = [5]

        def seen(batch: Batch) -> None:
            left[0] -= 1
            if left[0] == 0:
                engine.stop()

        with pytest.raises((InstanceUnavailable, EngineError), match="stopped") as caught:
            ask(engine, endless(), seen)
        assert caught.value.partial is not None
        assert engine.state == "stopped"
        assert ask(engine, asking("Go on.", max_tokens=2)).finish_reason == "length"  # it can be used again
