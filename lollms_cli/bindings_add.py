"""`lollms bindings add`: a new instance of a binding type, by a form on the terminal or by `--set`."""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from lollms_cli.output import Output
from lollms_core.errors import ConfigError, InvalidRequest, LollmsError, MissingDependency

if TYPE_CHECKING:
    from lollms_core.config.schema import SchemaPath
    from lollms_server.core.bindings.instances import Card, Instance
    from lollms_server.core.config import LoadedConfig

__all__ = ["add_binding", "configuration", "type_cards"]

_ENDING = "_binding"
_LONGEST_SHOWN = 32  # characters; keys are longer
_ON_THE_LINE = (
    "What stands behind the type is not understood and not repeated: it may be a key, which does not belong on the "
    "command line. Settings are given with --set NAME=VALUE, a key as --set NAME=env:VARIABLE."
)


class _Add(click.Command):
    """The command, which repeats no word that it does not know: it may be a key."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(f"There is no such option. {_ON_THE_LINE}", ctx) from error


@click.command("add", cls=_Add, short_help="Add an instance to a server's configuration.")
@click.argument("type_name", metavar="[TYPE]", required=False)
@click.argument("rest", nargs=-1, metavar="")
@click.option("--name", metavar="NAME", help="The name of the instance; without it, one made from the type.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting. For a secret: NAME=env:VARIABLE takes it from the environment, NAME=- from standard input.",
)
@click.option("--default", "as_default", is_flag=True, help="Use it where a request for text names no instance.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; what is not set keeps its default.")
@click.option("--config-dir", type=click.Path(path_type=Path), help="The configuration folder (or LOLLMS_CONFIG_DIR).")
@click.option("--json", "json_", is_flag=True, help="Print what was added as JSON; nothing is asked.")
def add_binding(
    type_name: str | None,
    rest: tuple[str, ...],
    name: str | None,
    settings: tuple[str, ...],
    as_default: bool,
    yes: bool,
    config_dir: Path | None,
    json_: bool,
) -> int:
    """Add an instance of the binding type TYPE to a server's configuration.

    On a terminal every setting of the type is asked for, with its default; a key is typed unseen. Elsewhere, and with
    --yes, the settings are those of --set. The instance gets a file that only you can read, and a line in bindings_map.
    Where no instance is the default for text yet, it becomes that.

    \b
      lollms bindings add
      lollms bindings add ollama --name fast --set default_model=llama3.2 --yes
      lollms bindings add openai --set api_key=env:OPENAI_API_KEY --default --yes
      pass show openai | lollms bindings add openai --set api_key=- --yes
    """
    if rest:
        raise click.UsageError(_ON_THE_LINE)
    output = Output()
    asks = not (yes or json_) and sys.stdin is not None and sys.stdin.isatty()
    try:
        return _add(output, type_name, name, settings, as_default, asks, config_dir, json_)
    except (KeyboardInterrupt, click.Abort):
        output.message("\nlollms: nothing was added")
        raise


def _add(
    output: Output,
    type_name: str | None,
    name: str | None,
    settings: tuple[str, ...],
    as_default: bool,
    asks: bool,
    config_dir: Path | None,
    json_: bool,
) -> int:
    from lollms_cli.bindings_files import alone
    from lollms_cli.bindings_form import ask_settings, read_settings

    loaded = configuration(config_dir)
    cards = type_cards(loaded, output)
    card = _card(type_name, cards, asks, output)
    name = _name(name, card, loaded, asks)
    values = read_settings(settings, card.schema)
    if asks:
        values = ask_settings(card.schema, values, output.message)
    _check_required(card, values)
    default = as_default or _wants_default(card, name, loaded, asks)
    with alone(loaded.file.resolve()):
        file = _write(loaded, card, name, values, default)
    _report(output, card, name, file, default, json_)
    return 0


def configuration(config_dir: Path | None) -> LoadedConfig:
    """The server's configuration. Raises `ConfigError`, and `MissingDependency` where no server is installed."""
    from lollms_cli.serve import config_folder

    try:
        from lollms_server.core.config import load_config
    except ImportError as error:
        if (error.name or "").startswith("lollms"):
            raise
        raise MissingDependency(
            f"Instances belong to a server, which needs the package {error.name!r}. Run: lollms install server"
        ) from error
    return load_config(config_folder(config_dir))


def type_cards(loaded: LoadedConfig, output: Output) -> Mapping[str, Card]:
    """The binding types that the server would find, by name; folders that cannot be used are said."""
    from lollms_server.core.bindings.discovery import SHIPPED, discover

    folders = loaded.folders
    places = [SHIPPED, *(f for f in (folders.example_bindings, folders.bindings) if f is not None and f != SHIPPED)]
    cards, problems = discover(places)
    for problem in problems:
        output.message(f"lollms: problem: binding folder {problem.name}: {problem.told}")
    return cards


def _card(type_name: str | None, cards: Mapping[str, Card], asks: bool, output: Output) -> Card:
    """The type that is meant; `openai` is enough for openai_binding. Raises `UsageError`."""
    listed = ", ".join(sorted(cards))
    if type_name is None and asks:
        for _, each in sorted(cards.items()):
            output.message(f"  {each.type_name:28} {each.display_name}")
        type_name = click.prompt("Type", err=True, type=str)
    if not type_name:
        raise click.UsageError(f"Name the type of the instance. There are: {listed}.")
    found = cards.get(type_name) or cards.get(f"{type_name}{_ENDING}")
    if found is not None:
        return found
    if not type_name.isidentifier() or len(type_name) > _LONGEST_SHOWN:  # it may be a key: not to be repeated
        raise click.UsageError(f"There is no such binding type. There are: {listed}.")
    near = difflib.get_close_matches(type_name, [*cards, *(each.removesuffix(_ENDING) for each in cards)], 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise click.UsageError(f"There is no binding type {type_name!r}.{hint} There are: {listed}.")


def _name(name: str | None, card: Card, loaded: LoadedConfig, asks: bool) -> str:
    """A name that nothing has yet. Raises `InvalidRequest`."""
    free = _free_name(card, loaded)
    while True:
        chosen = name or (click.prompt("Name of the instance", default=free, err=True, type=str) if asks else free)
        try:
            _check_name(chosen, loaded)
        except InvalidRequest as error:
            if name or not asks:
                raise
            click.echo(f"  {error}", err=True)
        else:
            return chosen


def _free_name(card: Card, loaded: LoadedConfig) -> str:
    base = card.type_name.removesuffix(_ENDING).lower()
    count = 1
    while _is_taken(name := base if count == 1 else f"{base}_{count}", loaded):
        count += 1
    return name


def _check_name(name: str, loaded: LoadedConfig) -> None:
    from lollms_core.safety.names import check_file_name

    check_file_name(name)
    if taken := _is_taken(name, loaded):
        raise InvalidRequest(f"The name {name} is taken: {taken}. Choose another one with --name.")


def _is_taken(name: str, loaded: LoadedConfig) -> str:
    """Who has a name; "" where nobody has."""
    if name in loaded.config.bindings_map:
        return f"bindings_map of {loaded.file} has an instance of that name"
    folder = loaded.folders.instances
    with contextlib.suppress(OSError):  # a folder that is not there yet holds nothing
        for entry in sorted(os.listdir(folder)):
            if Path(entry).stem == name:
                return f"there is a file {folder / entry}"
    return ""


def _check_required(card: Card, values: Mapping[SchemaPath, Any]) -> None:
    from lollms_cli.bindings_form import questions_of

    missing = [each.name for each in questions_of(card.schema) if each.leaf.required and each.path not in values]
    if missing:
        raise click.UsageError(f"{card.type_name} needs {', '.join(missing)}: give it with --set NAME=VALUE.")


def _wants_default(card: Card, name: str, loaded: LoadedConfig, asks: bool) -> bool:
    """Whether requests for text without an instance are to get this one; without a terminal, only where none does."""
    now = loaded.config.defaults.ttt_binding
    if "text" not in card.supported_output_modalities:
        return False
    if not asks:
        return now is None
    instead = f" in the place of {now}" if now else ""
    return click.confirm(f"\nUse {name} where a request names no instance{instead}?", default=now is None, err=True)


def _write(loaded: LoadedConfig, card: Card, name: str, values: Mapping[SchemaPath, Any], default: bool) -> Path:
    """Write the instance and then its line in the main configuration; both or none. Raises `LollmsError`.

    What the server would refuse is refused here, in the same words. The file alone is of no use to a server, so it can
    be read as a server would read it before anything names it.
    """
    from lollms_cli.bindings_files import instance_text, with_setting
    from lollms_runtime.files import private_dir, read_text_strict, write_atomic
    from lollms_server.core.bindings.instances import load_instance

    main = loaded.file.resolve()
    file = private_dir(loaded.folders.instances) / f"{name}.yaml"
    try:
        content = instance_text(card.type_name, name, card.display_name, card.schema, values)
        write_atomic(file, content, exclusive=True)
    except FileExistsError:
        raise InvalidRequest(f"There is a file {file} by now. Nothing was added.") from None
    try:
        _check_instance(load_instance(file, card, loaded.scrubber), card, loaded)
        text = with_setting(read_text_strict(main), "bindings_map", name, card.type_name, str(main))
        if default:
            text = with_setting(text, "defaults", "ttt_binding", name, str(main))
        write_atomic(main, text, stat.S_IMODE(main.stat().st_mode))
    except BaseException as error:
        with contextlib.suppress(OSError):
            file.unlink()
        if isinstance(error, ConfigError):
            raise ConfigError(f"{error.message}\nNothing was added.") from error
        if isinstance(error, OSError) and not isinstance(error, LollmsError):
            raise ConfigError(f"{main} cannot be written: {error.strerror}. Nothing was added.") from error
        raise
    return file


def _check_instance(instance: Instance, card: Card, loaded: LoadedConfig) -> None:
    """Raises `ConfigError` where no binding can be made of an instance; a missing package is said when it is added."""
    from lollms_cli.bindings_made import check_made

    with contextlib.suppress(MissingDependency):
        check_made(card, instance, loaded)


def _report(output: Output, card: Card, name: str, file: Path, default: bool, json_: bool) -> None:
    from lollms_runtime.third_party import missing_requirements

    if json_:
        from lollms_cli.tables import as_json

        as_json(output, {"name": name, "type": card.type_name, "file": str(file), "default_for_text": default})
    else:
        output.line(f"Added {name}, an instance of {card.type_name}: {file}")
        if default:
            output.line(f"{name} is the default for text.")
    if lacking := missing_requirements(card.requirements):
        output.message(f"lollms: {card.type_name} needs packages that are not installed: {', '.join(lacking)}")
    output.message(f"lollms: a running server takes it up with `lollms reload`; try it: lollms bindings test {name}")
