"""`lollms install EXTRA` with a real pip and no network: the list, the question, wheels only, hashes, exactly that."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.command_line import on_a_terminal

ROOT = Path(__file__).resolve().parents[2]
SUITE = """\
Metadata-Version: 2.1
Name: lollms-suite
Version: 0.1.0
Provides-Extra: tokens
Provides-Extra: nothing
Requires-Dist: lollms-test-part>=1; extra == "tokens"
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def wheel(folder: Path, name: str, version: str, metadata: str, files: dict[str, str]) -> Path:
    """Write a wheel by hand."""
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return target


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A wheelhouse, and a record that says we were installed from a wheel in it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    part = "Metadata-Version: 2.1\nName: lollms-test-part\nVersion: 1.5\n"
    wheel(folder, "lollms_test_part", "1.5", part, {"lollms_test_part.py": "answer = 42\n"})
    suite = wheel(folder, "lollms_suite", "0.1.0", SUITE, {})
    info = tmp_path / "site" / "lollms_suite-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(SUITE, encoding="utf-8")
    (info / "direct_url.json").write_text(json.dumps({"url": suite.as_uri(), "archive_info": {}}), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path, house: Path) -> Run:
    def go(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "site", tmp_path / "target", ROOT))),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(house),
            "PIP_TARGET": str(tmp_path / "target"),
        }
        (tmp_path / "here").mkdir(exist_ok=True)
        (tmp_path / "here" / "pip.py").write_text("raise SystemExit('a stranger was run')", encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-P", "-m", "lollms_cli", "install", *arguments],
            cwd=tmp_path / "here",
            env=environment,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return go


def is_installed(tmp_path: Path) -> bool:
    return (tmp_path / "target" / "lollms_test_part.py").exists()


def test_it_shows_the_exact_list_and_installs_it(run: Run, tmp_path: Path) -> None:
    done = run("tokens", "--yes")
    assert done.returncode == 0, done.stderr
    assert "tokens needs 1 package:\n  lollms-test-part 1.5  file://" in done.stdout
    assert is_installed(tmp_path)
    again = run("tokens")
    assert again.returncode == 0
    assert again.stdout == "Everything that tokens needs is installed.\n"


def test_without_a_terminal_it_installs_nothing_and_names_the_flag(run: Run, tmp_path: Path) -> None:
    done = run("tokens")
    assert done.returncode == 2
    assert "lollms-test-part 1.5" in done.stdout
    assert "--yes" in done.stderr
    assert not is_installed(tmp_path)


def test_a_source_package_is_never_built(run: Run, house: Path, tmp_path: Path) -> None:
    (house / "lollms_test_part-1.5-py3-none-any.whl").unlink()
    script = f"open({str(tmp_path / 'built')!r}, 'w', encoding='utf-8')".encode()
    with tarfile.open(house / "lollms_test_part-1.5.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("lollms_test_part-1.5/setup.py")
        entry.size = len(script)
        archive.addfile(entry, BytesIO(script))
    done = run("tokens", "--yes")
    assert done.returncode == 1
    assert "lollms: error: pip cannot install tokens: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "built").exists()


def test_hashes_are_required_where_they_are_asked_for(run: Run, house: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((house / "lollms_test_part-1.5-py3-none-any.whl").read_bytes()).hexdigest()
    listed = tmp_path / "lock.txt"
    listed.write_text(f"lollms-test-part==1.5 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    wrong = run("tokens", "--yes", "--require-hashes", str(listed))
    assert wrong.returncode == 1
    assert not is_installed(tmp_path)

    listed.write_text("", encoding="utf-8")
    lacking = run("tokens", "--yes", "--require-hashes", str(listed))
    assert lacking.returncode == 1
    assert not is_installed(tmp_path)

    listed.write_text(f"lollms-test-part==1.5 --hash=sha256:{digest}\n", encoding="utf-8")
    right = run("tokens", "--yes", "--require-hashes", str(listed))
    assert right.returncode == 0, right.stderr
    assert is_installed(tmp_path)


def test_an_extra_that_needs_nothing_asks_nothing(run: Run) -> None:
    done = run("nothing")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_extra_gets_a_suggestion(run: Run) -> None:
    done = run("token")
    assert done.returncode == 2
    assert "Did you mean 'tokens'?" in done.stderr


def test_without_a_name_the_extras_are_listed(run: Run) -> None:
    done = run()
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["tokens       needs lollms-test-part", "nothing      needs nothing more"]


@pytest.mark.parametrize(("typed", "code", "stopped"), [(b"n\n", 1, False), (b"\x03", 130, True)])
def test_no_and_ctrl_c_at_the_question_say_that_nothing_was_installed(
    typed: bytes, code: int, stopped: bool, house: Path, tmp_path: Path
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "site", tmp_path / "target", ROOT))),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(house),
        "PIP_TARGET": str(tmp_path / "target"),
    }
    ended, shown = on_a_terminal("install", "tokens", env=environment, typed=typed, after=b"[y/N]")
    assert ended == code
    assert b"lollms: nothing was installed\r\n" in shown
    assert (b"lollms: stopped" in shown) is stopped
    assert not is_installed(tmp_path)
