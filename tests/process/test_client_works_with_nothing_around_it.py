"""The client answers with no home folder, a full disk, a folder that is gone, as another user, and in locale C.

It also answers in a child that was forked while its parent reads a stream.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.chaos import ChaosServer

ROOT = Path(__file__).resolve().parents[2]

ASK = """
import asyncio, sys
from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.errors import LollmsError

address = sys.argv[1]

def ask_everything():
    for binding in ("openai", "lollms", "ollama", "lollms_webui"):
        with LollmsClient(binding, address, model_name="m", service_key="k") as client:
            said = client.generate_text("H\\u00e9", streaming_callback=lambda *_: None)
            assert isinstance(said, str if binding == "openai" else (str, dict)), said
            for name, *args in (["list_models"], ["count_tokens", "x"], ["embed", "x"], ["get_model_info"]):
                try:
                    getattr(client, name)(*args)
                except LollmsError as error:
                    assert str(error)
    nobody = LollmsClient(host_address="http://127.0.0.1:1").generate_text("Hi")
    assert "lollms serve" in nobody["error"], nobody
    assert isinstance(asyncio.run(later()), str)

async def later():
    async with AsyncLollmsClient("openai", address, model_name="m") as client:
        return await client.generate_text("Hi")

"""

FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
"""

NO_FOLDER = """
import os, tempfile
os.chdir(tempfile.mkdtemp())
os.rmdir(os.getcwd())
"""

NOBODY = """
import os
ask_everything()  # so that what it imports is there: the interpreter may lie where the other user cannot read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
"""

FORK = """
import os
client = LollmsClient("openai", address.rsplit("/", 1)[0] + "/stall", model_name="m")
good = LollmsClient("openai", address, model_name="m")
with client.stream("Hi") as stream:
    first = next(stream)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            said = good.generate_text("Hi")
            stream.close()
            code = 0 if isinstance(said, str) and asyncio.run(later()) == said else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert next(stream).text  # the child has not ended the stream of its parent
"""


def run(code: str, address: str, env: dict[str, str]) -> None:
    around = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env}
    done = subprocess.run(
        [sys.executable, "-bb", "-W", "error", "-X", "warn_default_encoding", "-c", code, address],
        env=around,
        cwd="/",
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("first", "env"),
    [
        pytest.param("", {}, id="no home"),
        pytest.param("", {"HOME": "/nonexistent/ä b"}, id="a home that is not there"),
        pytest.param(FULL_DISK, {"HOME": "/nonexistent"}, id="a disk that cannot be written"),
        pytest.param(
            NO_FOLDER,
            {},
            id="a current folder that is gone",
            marks=pytest.mark.skipif(
                (3, 13) <= sys.version_info < (3, 13, 3),
                reason="there, every attribute that a module lacks is a SystemError in such a folder (CPython 130932)",
            ),
        ),
        pytest.param(
            "",
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
            id="locale C",
        ),
        pytest.param(
            NOBODY,
            {"HOME": "/root"},
            id="another user's home",
            marks=pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root becomes another user"),
        ),
    ],
)
def test_it_answers(first: str, env: dict[str, str]) -> None:
    with ChaosServer() as chaos:
        run(ASK + first + "ask_everything()\n", chaos.url("ok"), env)


def test_a_child_that_was_forked_while_a_stream_runs() -> None:
    with ChaosServer() as chaos:
        run(ASK + FORK, chaos.url("ok"), {})
