"""`lollms doctor`: what is there, what is missing, what is wrong, and what to do about it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from lollms_cli.findings import Check, State
from lollms_cli.output import Output, one_line
from lollms_core.errors import LollmsError

__all__ = ["doctor"]

SMOKE_TEST = (
    "lollms-nano is a smoke-test model: it shows that everything works without a network, and knows almost nothing. "
    "For a real one, get an instruction-tuned model in GGUF form (one of 1 to 8 billion parameters runs on a plain "
    'machine) with `lollms pull ORG/REPO`, and use it by its name or its path: lollms -m NAME "..."; for the server, '
    "name it as default_model in lollms_configs/bindings/lollms_nano.yaml. Or point an instance of openai_binding at "
    "a service."
)
_QUESTION, _ANSWER = "What is the capital of France?", "Paris"


@click.command(short_help="Say what works here and what does not.")
@click.option("--deep", is_flag=True, help="Also start the embedded model and ask it something.")
@click.option("--host", metavar="ADDRESS", help="The server to look at: host, host:port or URL (or LOLLMS_HOST).")
@click.option("--config-dir", type=click.Path(path_type=Path), help="The configuration folder (or LOLLMS_CONFIG_DIR).")
def doctor(deep: bool, host: str | None, config_dir: Path | None) -> int:
    """Look at this installation and say what works, and what to do about what does not.

    The exit code is 0 when nothing is wrong, else 1. Nothing is changed.
    """
    from lollms_cli.doctor_configuration import check_configuration
    from lollms_cli.doctor_server import check_server

    output = Output()
    parts: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("Python", check_python),
        ("lollms", check_installation),
        ("embedded model", lambda: check_model(deep=deep)),
        ("configuration", lambda: check_configuration(config_dir)),
        ("key", check_key),
        ("server", lambda: check_server(host)),
    ]
    wrong = 0
    for subject, part in parts:
        for check in _guarded(subject, part):
            wrong += check.state == "bad"
            output.line(f"{check.state:4}  {check.subject}: {one_line(check.text)}")
    if wrong:
        output.line(f"\n{wrong} thing{'s' if wrong > 1 else ''} to put right.")
    else:
        output.line("\nNothing is wrong.")
    return 1 if wrong else 0


def _guarded(subject: str, part: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The findings of one part; an error in it is one for each of its lines, and the others are still looked at."""
    try:
        yield from part()
    except (LollmsError, OSError) as error:
        for line in str(error).splitlines():
            yield Check("bad", subject, line)


def check_python() -> Iterator[Check]:
    """The interpreter and the system."""
    version = platform.python_version()
    state: State = "ok" if sys.version_info >= (3, 11) else "bad"
    yield Check(state, "Python", f"{version} at {sys.executable}, {platform.system()} {platform.machine()}")


def check_installation() -> Iterator[Check]:
    """The version, where it came from, and which extras are there."""
    from lollms_cli.installation import find_installation, missing

    installation = find_installation()
    yield Check("ok", "lollms", f"{installation.version}, from {installation.source}")
    there: list[str] = []
    absent: list[str] = []
    for extra in installation.extras:
        needs = installation.needs(extra)
        if needs:
            (absent if missing(needs) else there).append(extra)
    yield Check("ok", "extras", f"installed: {', '.join(there) or 'none'}")
    if absent:
        yield Check("note", "extras", f"not installed: {', '.join(absent)} (lollms install EXTRA)")


def check_model(*, deep: bool) -> Iterator[Check]:
    """The embedded model and the engine that runs it."""
    import importlib.util

    from lollms_runtime.models import EMBEDDED, check_gguf, find_model

    path = find_model(EMBEDDED)
    check_gguf(path)
    yield Check("ok", EMBEDDED, f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    yield Check("note", EMBEDDED, SMOKE_TEST)
    if importlib.util.find_spec("xllamacpp") is None:
        yield Check("note", "engine", "xllamacpp is not installed, so no local model can run: lollms install llamacpp")
    elif deep:
        yield _ask_embedded()
    else:
        yield Check("ok", "engine", "xllamacpp is installed (--deep starts it)")


def _ask_embedded() -> Check:
    from lollms_client import LollmsClient

    with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano") as client:
        reply = client.complete(_QUESTION, max_tokens=32, temperature=0.0)
    state: State = "ok" if _ANSWER in reply.text else "bad"
    return Check(state, "engine", f"asked {_QUESTION!r}, it answered {reply.text.strip()!r}")


def check_key() -> Iterator[Check]:
    """The key that is sent to a server on this machine and those for providers, and who can read them."""
    import os

    from lollms_runtime.keys import key_file, stored_key
    from lollms_runtime.provider_keys import provider_key_names

    if os.environ.get("LOLLMS_API_KEY", "").strip():
        yield Check("ok", "key", "LOLLMS_API_KEY is set")
    path = key_file()
    if path is None:
        yield Check("note", "key file", "there is no home folder to keep one in")
    elif stored_key():
        yield Check("ok", "key file", f"{path}, readable by you alone")
    else:
        yield Check("note", "key file", f"none at {path}; the first `lollms serve` writes one")
    if names := provider_key_names():  # raises where others can read the file, or it is damaged
        yield Check("ok", "keys of providers", f"kept for {', '.join(names)}, readable by you alone")
