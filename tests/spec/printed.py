"""What the tests of printed examples share: programs, commands and requests against a running server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.spec.blocks import all_blocks
from tests.spec.live import Live

__all__ = [
    "RUN",
    "ask",
    "curl",
    "edited",
    "has_form_of",
    "personality",
    "printed",
    "prompted",
    "put",
    "python",
    "runs",
]

RUN: dict[str, str] = {}
"""The blocks that tests run, and the test of each; see `runs`."""


def runs(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Note that a test runs these blocks."""

    def note(test: Callable[..., None]) -> Callable[..., None]:
        RUN.update(dict.fromkeys(names, test.__name__))
        return test

    return note


def edited(text: str, old: str, new: str) -> str:
    assert old in text, f"{old!r} is not in the example"
    return text.replace(old, new)


def python(code: str, folder: Path, env: dict[str, str]) -> str:
    """Run a program; returns what it printed on both streams, without colours."""
    file = folder / "example.py"
    file.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-u", str(file)],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def curl(command: str, live: Live, folder: Path) -> str:
    """Run a printed curl command against the server."""
    text = edited(edited(command, "http://localhost:9601", live.url), "YOUR_API_KEY", live.key)
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, capture_output=True, encoding="utf-8", timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(name: str) -> Any:
    """A printed JSON object, without its comments and ellipses."""
    text = re.sub(r"^\s*//.*$|(?<=[,\s])//.*$|/\*.*?\*/|\.\.\.(?=\])", "", all_blocks()[name].text, flags=re.M)
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", text))


def ask(server: Live, path: str, body: object = None, status: int = 200) -> Any:
    """What the server answers, which must have that status; a body makes it a POST."""
    headers = {"X-API-Key": server.key, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}/api/v1/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            code, said = reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            code, said = error.code, json.load(error)
    assert code == status, said
    return said


def has_form_of(said: dict[str, Any], example: dict[str, Any]) -> bool:
    """Whether all fields of an example are there, with values of the same type where both have one."""
    pairs = [(said[name], value) for name, value in example.items() if name in said]
    return len(pairs) == len(example) and all(
        a is None or b is None or type(a) is type(b) or {type(a), type(b)} == {int, float} for a, b in pairs
    )


def prompted(text: str, **more: Any) -> dict[str, Any]:
    return {"input_data": [{"type": "text", "role": "user_prompt", "data": text}], **more}


def put(path: Path, text: str) -> None:
    """Write a file that the server trusts: nobody else may write there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def personality(folder: Path, name: str, script: str) -> None:
    """A scripted personality, as chapter 9 of the server's document says."""
    place = folder / "personal_personalities" / name
    fields = {"author": "me", "version": "1.0", "personality_description": "A test.", "personality_conditioning": "Be."}
    put(place / "config.yaml", json.dumps({"name": name, **fields, "script_path": "scripts/workflow.py"}))
    put(place / "scripts" / "workflow.py", script)
