"""Every command, flag, setting, route, field, extra, binding and variable stands in the documents; every link leads."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

import lollms_server.api
from lollms_cli.commands import COMMANDS, cli
from lollms_core.errors import MEANINGS
from lollms_core.types import Params
from lollms_runtime.yaml_file import load_yaml
from lollms_server.api.models import GenerateRequest, HealthResponse, InputData, OutputData, StreamChunk
from lollms_server.core.bindings.instances import load_card
from lollms_server.core.settings import MainConfig

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PACKAGES = ("lollms_core", "lollms_runtime", "lollms_client", "lollms_server", "lollms_cli")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def python_blocks(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S)


def test_every_command_and_flag() -> None:
    text = read("DOC_USE.md")
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        row = next(line for line in text.splitlines() if line.startswith("| `lollms") and f"`lollms {name}" in line)
        flags = [flag for parameter in command.params for flag in parameter.opts if flag.startswith("-")]
        assert not [flag for flag in flags if f"`{flag}" not in row], name


def settings(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Dotted names of all settings with their defaults."""
    found: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found.update(settings(kind, f"{prefix}{name}."))
        elif info.alias is None:
            found[f"{prefix}{name}"] = info.default
    return found


@pytest.mark.parametrize(("name", "default"), settings(MainConfig).items())
def test_every_setting_and_its_default(name: str, default: Any) -> None:
    lines = read("docs/configuration.md").partition("## Binding instances")[0].splitlines()
    rows = [line for line in lines if line.startswith("|") and f"`{name}`" in line.split("|")[1]]
    assert len(rows) == 1, f"{name} has {len(rows)} rows"
    if isinstance(default, bool):
        assert f"`{str(default).lower()}`" in rows[0]
    elif isinstance(default, int | str):
        assert f"`{default}`" in rows[0]


def test_no_setting_is_described_that_is_not_there() -> None:
    first = read("docs/configuration.md").partition("## Binding instances")[0]
    described = {name for name in re.findall(r"`([a-z]+\.[a-z_]+)`", first) if not name.endswith((".yaml", ".sh"))}
    assert described <= set(settings(MainConfig))


def shipped_cards() -> list[Path]:
    return sorted((ROOT / "lollms_server" / "zoos" / "bindings").glob("*/binding_card.yaml"))


def test_every_setting_of_the_shipped_bindings() -> None:
    text = read("docs/configuration.md")
    assert shipped_cards()
    for file in shipped_cards():
        card = load_card(file.parent)
        section = text.partition(f"### {card.type_name}\n")[2].partition("\n###")[0]
        assert section, f"{card.type_name} has no section"
        assert not [name for name in own_fields(card.schema.fields) if f"`{name}`" not in section], card.type_name


def own_fields(fields: Any) -> list[str]:
    return [name for name in fields if name not in ("type", "binding_instance_name")]


def test_every_route() -> None:
    text = read("docs/api.md")
    routes = [
        (method, route.path)
        for found in pkgutil.iter_modules(lollms_server.api.__path__, "lollms_server.api.")
        for route in getattr(getattr(importlib.import_module(found.name), "router", None), "routes", [])
        for method in route.methods
    ]
    assert ("POST", "/api/v1/generate") in routes
    assert not [f"{method} {path}" for method, path in routes if f"`{method} {path}`" not in text]


@pytest.mark.parametrize("model", [GenerateRequest, InputData, OutputData, StreamChunk, HealthResponse])
def test_every_field_of_a_body(model: type[BaseModel]) -> None:
    text = read("docs/api.md")
    assert not [name for name in model.model_fields if f"`{name}`" not in text and f'"{name}"' not in text]


def test_every_status_and_parameter() -> None:
    text = read("docs/api.md")
    statuses = {row.http_status for row in MEANINGS.values()}
    assert not [status for status in statuses if not re.search(rf"^\|[^|]*\b{status}\b", text, re.M)]
    row = next(line for line in text.splitlines() if line.startswith("| `parameters`"))
    left_out = {"n_threads", "ctx_size", "extra"}  # of the library's local binding
    assert not [name for name in Params.__struct_fields__ if name not in left_out and f"`{name}`" not in row]


def test_every_exit_code() -> None:
    text = read("DOC_USE.md")
    codes = {row.exit_code for row in MEANINGS.values()} | {0}
    assert not [code for code in codes if not re.search(rf"^\| {code} ", text, re.M)]


def test_every_extra() -> None:
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    assert not [extra for extra in extras if f"`{extra}`" not in read("DOC_USE.md")]


def test_every_client_binding_and_its_settings() -> None:
    files = sorted((ROOT / "lollms_client" / "llm_bindings").glob("*/description.yaml"))
    assert files
    text = read("DOC_USE.md").partition("## The Python library")[2]
    for file in files:
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{file.parent.name}`"))
        described = [each["name"] for each in load_yaml(file).values["input_parameters"]]
        assert not [name for name in described if f"`{name}`" not in row], file.parent.name


def test_every_variable() -> None:
    documents = read("DOC_USE.md") + read("docs/configuration.md")
    used: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            texts = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
            used.update(text for text in texts if re.fullmatch(r"LOLLMS_[A-Z_]+", text))
    assert {"LOLLMS_API_KEY", "LOLLMS_HOST", "LOLLMS_CONFIG_DIR"} <= used
    assert not [name for name in used if name not in documents]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        aim = (document.parent / path).resolve() if path else document
        assert aim.exists(), f"{document.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", aim.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_example_compiles(document: Path) -> None:
    for code in python_blocks(document):
        compile(code, str(document), "exec")


def test_no_hint_names_a_distribution_of_somebody_else() -> None:
    wrong = re.compile(r"pip3? install (-\S+ )*[\"']?lollms(_|-)?(client|suite|server)?[\"'\s\[`]")
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    for package in PACKAGES:
        texts.update({path: path.read_text(encoding="utf-8") for path in (ROOT / package).rglob("*.py")})
    assert not [path for path, text in texts.items() if wrong.search(text)]
