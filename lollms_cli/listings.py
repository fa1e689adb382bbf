"""`lollms bindings list`, `lollms personalities list`, `lollms functions list`: what a server has, and what failed.

The bindings can also be listed without a server: those of the library, and the instances of a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from typing_extensions import override

from lollms_cli.bindings_add import add_binding
from lollms_cli.bindings_try import test_binding
from lollms_cli.options import SAID_AS_JSON, SERVER
from lollms_cli.output import Output

__all__ = ["bindings", "functions", "personalities"]


class Subject(click.Group):
    """Commands about one kind of thing: alone, its help. Other words behind its name are a prompt without quotes."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            known = ", ".join(f"`lollms {self.name} {name}`" for name in self.commands)
            raise click.UsageError(
                f"There is only {known}. To send words to a model: lollms prompt {self.name} ...", ctx
            )
        return super().resolve_command(ctx, args)


@click.group(cls=Subject, short_help="List, add and test bindings.")
def bindings() -> None:
    """The binding types and instances of a server, and the bindings of the library."""


bindings.add_command(add_binding)
bindings.add_command(test_binding)


@bindings.command("list", short_help="List the instances, or with --types the types.")
@click.option("--types", is_flag=True, help="List the binding types that instances can be made of.")
@click.option("--library", is_flag=True, help="List the bindings of the library, which need no server.")
@click.option("--config-dir", type=click.Path(path_type=Path), help="List what this configuration has; asks no server.")
@SAID_AS_JSON
@SERVER
def list_bindings(types: bool, library: bool, config_dir: Path | None, json_: bool, host: str | None) -> None:
    """List the binding instances of a server: name, type, state, model and what they are the default for.

    What could not be loaded is said on standard error, with the reason.
    """
    if library or config_dir is not None:
        return _list_without_server(types, library, config_dir, json_, host)
    ask = _asker(host)
    said, active = ask("list_bindings", "binding_instances"), ask("list_active_bindings", "bindings")
    loaded = _part(active, "bindings")
    if json_:
        return _print_json({**said, "active": sorted(loaded)})
    if types:
        found = _part(said, "binding_types")
        columns = ("display_name", "version", "supported_input_modalities", "supported_output_modalities")
        return _print(("type", "name", "version", "in", "out"), _rows(found, columns), "There are no types.", said)
    defaults = _part(ask("get_default_bindings", "defaults"), "defaults")
    failed = {each.get("name") for each in said.get("problems") or () if isinstance(each, dict)}
    rows = []
    for name, kind, model in _rows(_part(said, "binding_instances"), ("type", "default_model")):
        state = "loaded" if name in loaded else "failed" if name in failed else "loading"
        uses = [key.removesuffix("_binding") for key, chosen in defaults.items() if chosen == name]
        rows.append((name, kind, state, model, uses))
    return _print(("instance", "type", "state", "model", "default for"), rows, "There are no instances.", said)


def _list_without_server(types: bool, library: bool, config_dir: Path | None, json_: bool, host: str | None) -> None:
    from lollms_cli.bindings_here import configured, library_bindings

    if library:
        if types or config_dir is not None or host:
            raise click.UsageError("--library stands alone: it is about this installation and no server.")
        said = library_bindings()
        if json_:
            return _print_json(said)
        headings = ("binding", "title", "key", "address")
        rows = _rows(_part(said, "bindings"), headings[1:])
        output = Output()
        if not output.on_terminal:  # what goes to a program has no headings; whoever looks on still sees them
            output.note("\t".join(headings).upper())
        return _print(headings, rows, "There are no bindings.", said)
    if host:
        raise click.UsageError("Name a server with --host, or a configuration with --config-dir, and not both.")
    said = configured(config_dir)
    if json_:
        return _print_json(said)
    if types:
        rows = _rows(_part(said, "binding_types"), ("display_name", "version", "in", "out"))
        return _print(("type", "name", "version", "in", "out"), rows, "There are no types.", said)
    rows = _rows(_part(said, "binding_instances"), ("type", "state", "default_model", "default_for"))
    return _print(("instance", "type", "state", "model", "default for"), rows, "There are no instances.", said)


@click.group(cls=Subject, short_help="List the personalities of a server.")
def personalities() -> None:
    """The personalities of a server."""


@personalities.command("list", short_help="List the personalities.")
@SAID_AS_JSON
@SERVER
def list_personalities(json_: bool, host: str | None) -> None:
    """List the personalities of a server: name, category, version, whether a script runs, description.

    What could not be loaded is said on standard error, with the reason.
    """
    said = _asker(host)("list_personalities", "personalities")
    if json_:
        return _print_json(said)
    columns = ("category", "version", "is_scripted", "description")
    rows = _rows(_part(said, "personalities"), columns)
    headings = ("name", "category", "version", "scripted", "description")
    return _print(headings, rows, "There are no personalities.", said)


@click.group(cls=Subject, short_help="List the functions of a server.")
def functions() -> None:
    """The functions of a server, which personalities and models can call."""


@functions.command("list", short_help="List the functions.")
@SAID_AS_JSON
@SERVER
def list_functions(json_: bool, host: str | None) -> None:
    """List the functions of a server, each named file.function.

    What could not be loaded is said on standard error, with the reason.
    """
    said = _asker(host)("list_functions", "functions")
    if json_:
        return _print_json(said)
    names = said.get("functions")
    rows = [(name,) for name in names] if isinstance(names, list) else []
    return _print(("function",), rows, "There are no functions.", said)


def _asker(host: str | None) -> Callable[[str, str], dict[str, Any]]:
    from lollms_cli.server_calls import ask_server, named_or_local

    address = named_or_local(host)
    return lambda path, has: ask_server("GET", address, path, has)


def _print(headings: tuple[str, ...], rows: list[tuple[Any, ...]], nothing: str, said: Mapping[str, Any]) -> None:
    from lollms_cli.tables import as_table, say_problems

    output = Output()
    as_table(output, headings, rows, f"lollms: {nothing}")
    say_problems(output, said.get("problems"))


def _print_json(said: Mapping[str, Any]) -> None:
    from lollms_cli.tables import as_json

    as_json(Output(), said)


def _part(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object inside of an answer whose values are objects, or names; {} where there is none."""
    part = said.get(name)
    return part if isinstance(part, dict) else {}


def _rows(found: Mapping[str, Any], columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    things = {name: each for name, each in found.items() if isinstance(each, dict)}
    return [(name, *(each.get(column) for column in columns)) for name, each in sorted(things.items())]
