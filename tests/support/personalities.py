"""Folders of personalities for tests, and asking them over a running server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lollms_server.core.bindings import Binding
from lollms_server.core.config import LoadedConfig, load_config
from tests.support.raw_http import Answer, ask, prompt
from tests.support.server import Served, running_server, write_config

REQUIRED = {
    "version": "1.0",
    "author": "somebody",
    "personality_description": "A test.",
    "personality_conditioning": "Be brief.",
}


def write_personality(root: Path, folder: str, script: str | None = None, **fields: Any) -> Path:
    """Write a personality's folder; its name is that of the folder unless `fields` say otherwise."""
    place = root / folder
    (place / "scripts").mkdir(parents=True, exist_ok=True)
    config = {"name": folder, **REQUIRED, **fields}
    if script is not None:
        config = {"script_path": "scripts/workflow.py", **config}
        (place / "scripts" / "workflow.py").write_text(textwrap.dedent(script), encoding="utf-8")
    (place / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    return place


def loaded_config(folder: Path, **config: Any) -> LoadedConfig:
    """A configuration whose own personalities lie in `folder / "personal_personalities"`."""
    return load_config(write_config(folder, config), environ={})


@contextlib.contextmanager
def serving(
    scripts: Mapping[str, str | None],
    bindings: Mapping[str, Binding],
    *,
    fields: Mapping[str, Any] | None = None,
    beside: Mapping[str, str] | None = None,
    functions: str = "",
    **config: Any,
) -> Iterator[Served]:
    """A server with these personalities (name: script, None for none) and bindings, the first of them the default.

    `beside` are further files of each personality by path, `functions` the source of `own.py` in the own functions.
    """
    with tempfile.TemporaryDirectory(prefix="lollms-test-") as place:
        folder = Path(place)
        for name, script in scripts.items():
            made = write_personality(folder / "personal_personalities", name, script, **(fields or {}))
            for path, text in (beside or {}).items():
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                (made / path).write_text(text, encoding="utf-8")
        if functions:
            (folder / "personal_functions").mkdir()
            (folder / "personal_functions" / "own.py").write_text(textwrap.dedent(functions), encoding="utf-8")
        main = {"defaults": {"ttt_binding": next(iter(bindings))}, **config}
        loaded = load_config(write_config(folder, main), environ={}, further=tuple(bindings))
        with running_server(bindings, loaded=loaded) as server:
            for manager in (server.services.personalities, server.services.functions):
                asyncio.run_coroutine_threadsafe(manager.settled(), server.loop).result(30)
            yield server


def answer_of(server: Served, personality: str, text: str = "hello", **body: Any) -> Answer:
    """What the server answers to one prompt for a personality."""
    whole = {**prompt(text), "personality": personality, **body}
    return ask(server.port, "POST", "/api/v1/generate", whole, server.headers)
