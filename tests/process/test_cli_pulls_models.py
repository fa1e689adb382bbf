"""`lollms pull` as people use it: in a pipe and on a terminal, interrupted and gone on with, from a URL and a hub."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lollms_runtime.models import EMBEDDED, find_model
from tests.support.chaos import ChaosServer
from tests.support.command_line import ended, home, lollms, on_a_terminal, read_until, start
from tests.support.model_server import COMMIT, ServedFile, hub_of, model_bytes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses POSIX terminals and signals")

MODEL = model_bytes()


@pytest.fixture
def chaos() -> Iterator[ChaosServer]:
    with ChaosServer() as server:
        yield server


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return home(tmp_path, TERM="xterm")


def models(env: dict[str, str]) -> Path:
    return Path(env["LOLLMS_HOME"]) / "models"


def test_a_url_in_a_pipe(chaos: ChaosServer, env: dict[str, str]) -> None:
    chaos.add("file", ServedFile(MODEL))
    url = chaos.url("file/tiny.gguf")
    done = lollms("pull", "--allow-private", url, env=env)
    path = models(env) / "tiny.gguf"
    assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
    assert path.read_bytes() == MODEL
    lines = done.stderr.splitlines()
    assert lines[-1] == 'Use it: lollms -m tiny "..."'
    assert "tiny.gguf: 100 % of 300 kB" in lines
    assert 2 <= len(lines) <= 12
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    again = lollms("pull", "--allow-private", url, env=env)
    assert (again.returncode, again.stdout) == (0, f"{path}\n")
    assert "there already" in again.stderr
    assert len(chaos.requests) == 1


def test_quiet_says_only_the_path(chaos: ChaosServer, env: dict[str, str]) -> None:
    chaos.add("file", ServedFile(MODEL))
    done = lollms("pull", "-q", "--allow-private", chaos.url("file/tiny.gguf"), env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{models(env) / 'tiny.gguf'}\n", "")


def test_a_bar_on_a_terminal(chaos: ChaosServer, env: dict[str, str]) -> None:
    chaos.add("file", ServedFile(MODEL))
    code, shown = on_a_terminal("pull", "--allow-private", chaos.url("file/tiny.gguf"), env=env)
    assert code == 0, shown
    assert b"\x1b[" in shown
    assert b"tiny.gguf" in shown
    assert "━".encode() in shown
    assert b"Use it" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")  # the cursor is back


def test_a_dumb_terminal_gets_lines(chaos: ChaosServer, env: dict[str, str]) -> None:
    chaos.add("file", ServedFile(MODEL))
    env["TERM"] = "dumb"
    code, shown = on_a_terminal("pull", "--allow-private", chaos.url("file/tiny.gguf"), env=env)
    assert code == 0
    assert b"100 % of 300 kB" in shown and b"\x1b" not in shown


def test_ctrl_c_keeps_what_came_and_says_how_to_go_on(chaos: ChaosServer, env: dict[str, str]) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[150_000], stalls=True))
    url = chaos.url("file/tiny.gguf")
    with ended(start("pull", "--allow-private", url, env=env)) as process:
        read_until(process.stderr, b"40 %")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"Go on with: lollms pull {url} --allow-private".encode() in said
    assert b"Traceback" not in said
    assert (models(env) / "tiny.gguf.part").stat().st_size > 0
    done = lollms("pull", url, "--allow-private", env=env)
    assert done.returncode == 0
    assert (models(env) / "tiny.gguf").read_bytes() == MODEL
    assert chaos.requests[-1].headers["range"].startswith("bytes=")


def test_ctrl_c_on_a_terminal(chaos: ChaosServer, env: dict[str, str]) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[150_000], stalls=True))
    url = chaos.url("file/tiny.gguf")
    code, shown = on_a_terminal("pull", "--allow-private", url, env=env, typed=b"\x03", after=b"150.0/300.0 kB")
    assert code == 130, shown
    assert b"Go on with: lollms pull" in shown
    assert b"Traceback" not in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert (models(env) / "tiny.gguf.part").stat().st_size == 150_000


def test_a_split_model_by_url(chaos: ChaosServer, env: dict[str, str]) -> None:
    contents = {f"big-0000{n}-of-00002.gguf": ServedFile(model_bytes(1000, seed=n)) for n in (1, 2)}

    async def mode(connection: Any, seen: Any) -> None:
        await contents[seen.path.partition("?")[0].rpartition("/")[2]](connection, seen)

    chaos.add("files", mode)
    done = lollms("pull", "--allow-private", chaos.url("files/big-00001-of-00002.gguf?key=a"), env=env)
    assert done.returncode == 0, done.stderr
    assert [(models(env) / name).read_bytes() for name in contents] == [file.content for file in contents.values()]
    assert "lollms -m big " in done.stderr


def test_a_killed_pull_goes_on_too(chaos: ChaosServer, env: dict[str, str]) -> None:
    chaos.add("file", ServedFile(MODEL, cuts=[150_000], stalls=True))
    with ended(start("pull", "--allow-private", chaos.url("file/tiny.gguf"), env=env)) as process:
        read_until(process.stderr, b"40 %")
        process.kill()
        process.wait()
    assert lollms("pull", "--allow-private", chaos.url("file/tiny.gguf"), env=env).returncode == 0
    assert (models(env) / "tiny.gguf").read_bytes() == MODEL
    assert "range" in chaos.requests[-1].headers


def test_addresses_inside_need_a_word(chaos: ChaosServer, env: dict[str, str]) -> None:
    done = lollms("pull", chaos.url("file/tiny.gguf"), env=env)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "--allow-private" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not chaos.connections


@pytest.mark.parametrize(
    "arguments",
    [
        ["pull"],
        ["pull", "tiny"],
        ["pull", "https://example.com/download?id=3"],
        ["pull", "--sha256", "abc", "https://example.com/a.gguf"],
        ["pull", "https://example.com/a-00002-of-00003.gguf"],
    ],
)
def test_wrong_use_is_exit_2(env: dict[str, str], arguments: list[str]) -> None:
    done = lollms(*arguments, env=env)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert not models(env).exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "con", "a\\b", "x" * 300])
def test_odd_names_are_refused(chaos: ChaosServer, env: dict[str, str], name: str, tmp_path: Path) -> None:
    chaos.add("file", ServedFile(MODEL))
    done = lollms("pull", "--allow-private", "--name", name, chaos.url("file/tiny.gguf"), env=env)
    assert done.returncode == 1
    assert not chaos.requests
    assert not list(tmp_path.rglob("*evil*"))


def test_checksums_and_pages_are_errors(chaos: ChaosServer, env: dict[str, str]) -> None:
    chaos.add("file", ServedFile(MODEL))
    chaos.add("page", ServedFile(b"<html>Log in \x1b]0;evil\x07</html>", kind="text/html"))
    wrong = lollms("pull", "--allow-private", "--sha256", "0" * 64, chaos.url("file/tiny.gguf"), env=env)
    page = lollms("pull", "--allow-private", chaos.url("page/tiny.gguf"), env=env)
    assert (wrong.returncode, page.returncode) == (1, 1)
    assert hashlib.sha256(MODEL).hexdigest() in wrong.stderr
    assert "not a GGUF model (text/html)" in page.stderr
    assert list(models(env).iterdir()) == []
    assert lollms("pull", "--allow-private", "--name", "my", chaos.url("file/tiny.gguf"), env=env).returncode == 0
    assert (models(env) / "my.gguf").exists()


# ---- the hub

REPO = "org/Tiny-GGUF"


def hub(chaos: ChaosServer, env: dict[str, str], token: str = "", **files: ServedFile) -> dict[str, ServedFile]:
    env["HF_ENDPOINT"] = chaos.origin
    return hub_of(chaos, REPO, {f"{name.replace('__', '-')}.gguf": file for name, file in files.items()}, token=token)


def test_a_name_on_the_hub(chaos: ChaosServer, env: dict[str, str]) -> None:
    hub(chaos, env, Tiny__Q4_K_M=ServedFile(MODEL), Tiny__Q8_0=ServedFile(model_bytes(seed=3)))
    done = lollms("pull", REPO, env=env)
    path = models(env) / REPO / "Tiny-Q4_K_M.gguf"
    assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
    assert path.read_bytes() == MODEL
    note = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
    assert (note["commit"], note["sha256"]) == (COMMIT, hashlib.sha256(MODEL).hexdigest())
    assert f'Use it: lollms -m {REPO}:Q4_K_M "..."' in done.stderr
    assert lollms("pull", f"{REPO}:q8_0", env=env).returncode == 0
    assert lollms("pull", f"{REPO}/Tiny-Q8_0.gguf", env=env).stderr.count("there already") == 1
    assert lollms("pull", f"{chaos.origin}/{REPO}/blob/main/Tiny-Q8_0.gguf", env=env).returncode == 0


def test_a_split_model_comes_with_all_its_parts(chaos: ChaosServer, env: dict[str, str]) -> None:
    parts = {f"Big-Q4_K_M-0000{n}-of-00003": ServedFile(model_bytes(1000, seed=n)) for n in (1, 2, 3)}
    hub(chaos, env, **parts)
    done = lollms("pull", REPO, env=env)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (models(env) / REPO).glob("*.gguf")) == [f"{name}.gguf" for name in parts]
    assert done.stdout.endswith("Big-Q4_K_M-00001-of-00003.gguf\n")


def test_several_models_are_listed_for_the_user_to_choose(chaos: ChaosServer, env: dict[str, str]) -> None:
    hub(chaos, env, One=ServedFile(MODEL), Two=ServedFile(MODEL))
    done = lollms("pull", REPO, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "  One.gguf  300 kB\n  Two.gguf  300 kB\n" in done.stderr
    assert not models(env).exists()


def test_a_token_goes_to_the_hub_and_no_further(chaos: ChaosServer, env: dict[str, str]) -> None:
    hub(chaos, env, token="hf_canary", Tiny__Q4_K_M=ServedFile(MODEL))
    refused = lollms("pull", REPO, env=env)
    assert refused.returncode == 4
    assert "HF_TOKEN" in refused.stderr and "gated" in refused.stderr
    env["HF_TOKEN"] = "hf_canary"
    done = lollms("pull", REPO, env=env)
    assert done.returncode == 0, done.stderr
    storage = chaos.with_elsewhere()
    assert storage.requests and all("hf_canary" not in repr(seen.raw_headers) for seen in storage.requests)
    kept = b"".join(path.read_bytes() for path in models(env).rglob("*.json"))
    assert b"hf_canary" not in kept and "hf_canary" not in done.stderr + refused.stderr


def test_what_the_hub_says_of_the_file_is_checked(chaos: ChaosServer, env: dict[str, str]) -> None:
    env["HF_ENDPOINT"] = chaos.origin
    hub_of(chaos, REPO, {"Tiny.gguf": ServedFile(MODEL)}, wrong={"Tiny.gguf": "1" * 64})
    for asked in (REPO, f"{chaos.origin}/{REPO}/resolve/{COMMIT}/Tiny.gguf"):
        done = lollms("pull", asked, env=env)
        assert done.returncode == 1
        assert "checksum" in done.stderr
    assert not list(models(env).rglob("*.gguf"))


def test_what_is_not_there_is_said(chaos: ChaosServer, env: dict[str, str]) -> None:
    hub(chaos, env, Tiny__Q4_K_M=ServedFile(MODEL))
    for asked, words in ((f"{REPO}:Q9_X", "Tiny-Q4_K_M.gguf"), ("org/other", "no repository org/other")):
        done = lollms("pull", asked, env=env)
        assert done.returncode == 1
        assert words in done.stderr


def test_a_pulled_model_answers_and_can_be_removed(chaos: ChaosServer, env: dict[str, str]) -> None:
    hub(chaos, env, Nano__Q8_0=ServedFile(find_model(EMBEDDED).read_bytes()))
    done = lollms("pull", REPO, env=env)
    assert done.returncode == 0, done.stderr
    called = re.search(r"lollms -m (\S+)", done.stderr)
    assert called is not None
    said = lollms("-m", called[1], "-o", "max_tokens", "4", "Hello", env=env)
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip()
    assert lollms("rm", called[1], env=env).returncode == 2  # nobody can be asked
    gone = lollms("rm", "--yes", called[1], env=env)
    assert gone.returncode == 0, gone.stderr
    assert list(models(env).rglob("*")) == []
    again = lollms("rm", "--yes", called[1], env=env)
    assert again.returncode == 1 and "`lollms models -b pythonllamacpp` lists what is there" in again.stderr
