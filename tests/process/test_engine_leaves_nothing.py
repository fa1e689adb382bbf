"""No process, thread or socket of an engine outlives its owner, however that ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from lollms_runtime.engines.llamacpp import LlamaCppEngine, LlamaCppSettings
from lollms_runtime.models import EMBEDDED, find_model
from tests.support.engines import alive, ask, asking, running, until
from tests.support.stand_in_llama_server import install

pytestmark = pytest.mark.group("engine")

OWNER = """
import sys, time
from pathlib import Path
from lollms_runtime.engines.llamacpp import LlamaCppEngine, LlamaCppSettings
server = sys.argv[2] if len(sys.argv) > 2 else None
engine = LlamaCppEngine(LlamaCppSettings(model=Path(sys.argv[1]), server_path=server and Path(server)))
engine.ready().result(20)
print(engine.pid, flush=True)
sys.stdin.read()
"""


def owner(*more: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process that owns an engine, and the process id of that engine."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(find_model(EMBEDDED)), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_stop_leaves_no_process_and_no_thread() -> None:
    before = set(threading.enumerate())
    with running() as engine:
        ask(engine, asking("Say hello."))
        pid = engine.pid
        assert pid is not None
        engine.stop()
        assert not psutil.pid_exists(pid)
        assert set(threading.enumerate()) == before
        assert engine.state == "stopped" and engine.pid is None
        engine.stop()


def test_stop_while_loading_leaves_nothing() -> None:
    for _ in range(5):
        with running() as engine:
            ready = engine.ready()
            engine.stop()
            assert ready.exception(5) is None or "stopped" in str(ready.exception())


def test_starting_and_stopping_from_many_threads_leaves_one_engine_or_none() -> None:
    with running() as engine:
        threads = [threading.Thread(target=work) for work in (engine.start, engine.stop) * 10]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        engine.start()
        assert ask(engine, asking("Say hello.")).text
        assert len(psutil.Process().children(recursive=True)) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["built-in", "named"])
def test_no_orphan_when_the_owner_is_killed(number: signal.Signals, kind: str, tmp_path: Path) -> None:
    process, pid = owner(*([str(install(tmp_path))] if kind == "named" else []))
    try:
        assert alive(pid)
        process.send_signal(number)
        process.wait(5)
        until(lambda: not alive(pid), 3, "the end of the engine")
    finally:
        ended(process)


def test_no_orphan_when_the_owner_forgets_to_stop() -> None:
    process, pid = owner()
    try:
        process.communicate(timeout=10)
        assert process.returncode == 0
        until(lambda: not alive(pid), 3, "the end of the engine")
    finally:
        ended(process)


def test_ctrl_c_in_the_terminal_does_not_reach_the_engine() -> None:
    process, pid = owner()
    try:
        assert os.getsid(pid) != os.getsid(0)
        assert os.getpgid(pid) != os.getpgid(process.pid)
    finally:
        ended(process)
    until(lambda: not alive(pid), 3, "the end of the engine")


def test_an_engine_nobody_refers_to_ends() -> None:
    engine = LlamaCppEngine(LlamaCppSettings(model=find_model(EMBEDDED)))
    engine.ready().result(20)
    pid = engine.pid
    assert pid is not None
    del engine
    gc.collect()
    until(lambda: not alive(pid), 3, "the end of the engine")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_gets_an_engine_of_its_own() -> None:
    with running(parallel=1) as engine:
        ask(engine, asking("Say hello."))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                text = ask(engine, asking("Say hello.")).text
                os.write(writer, f"{engine.pid} {text}".encode())
                engine.stop()
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        pid, _, text = said.partition(" ")
        assert text and int(pid) != engine.pid
        until(lambda: not alive(int(pid)), 3, "the end of the forked process's engine")
        assert ask(engine, asking("Say hello.")).text
