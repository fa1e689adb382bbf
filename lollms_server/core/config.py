"""Reading the main configuration, and refusing to start on anything doubtful.

Three rules keep damage from opening a server. `security.allowed_api_keys` must be in the file: its absence is an
error, never "no keys". A file that our first start wrote announces in its first line that its last line is
`# end of configuration`; without that line it is taken for cut off, wherever the cut is. And the address to listen on
is an IP address or the word `localhost`, so that no single wrong character in what first start writes names another
place. A file written by hand needs no end line: cut off before or within its keys it is refused, cut off later it
still asks for a key.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

import lollms_server
from lollms_core.config.schema import suggestion
from lollms_core.errors import ConfigError, StorageError
from lollms_runtime.files import open_to_others
from lollms_runtime.secrets import Scrubber
from lollms_runtime.yaml_file import FieldPath, YamlFile, load_yaml
from lollms_server.core.keyring import KeyRing
from lollms_server.core.settings import MainConfig, bind_host

__all__ = [
    "END_LINE",
    "FIRST_LINE",
    "Folders",
    "LoadedConfig",
    "MainConfig",
    "check_exposure",
    "find_main_config",
    "load_config",
    "read_keys",
]

END_LINE = "# end of configuration"
FIRST_LINE = f"# Configuration of the lollms server. It is complete when its last line is: {END_LINE}"
_READABLE = (".yaml", ".yml")
_EXPOSED_KEY = 16
_ENCRYPTED = "gAAAA"
_KEYS = ("security", "allowed_api_keys")
_SHIPPED = Path(lollms_server.__file__).resolve().parent


@dataclass(frozen=True)
class Folders:
    """Absolute paths of everything the configuration points to; shipped examples that do not exist are None."""

    instances: Path
    personalities: Path
    bindings: Path
    functions: Path
    models: Path
    example_personalities: Path | None
    example_bindings: Path | None
    example_functions: Path | None


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration that may be used.

    `root` is the folder that relative paths start at, `notices` are sentences for the log, and `scrubber` knows the
    secrets read so far: give it to `load_instance` and to the logs. `further` are instances that are not in the files.
    """

    config: MainConfig
    file: Path
    config_dir: Path
    root: Path
    folders: Folders
    keys: KeyRing
    scrubber: Scrubber
    notices: tuple[str, ...] = field(default=())
    further: frozenset[str] = frozenset()


def find_main_config(config_dir: Path) -> Path | None:
    """The main configuration file of a folder, in the documented order of formats; None when there is none."""
    for name in MainConfig.FILE_NAMES:
        path = config_dir / name
        if os.path.lexists(path):  # also a broken link; a path that cannot exist is simply not there
            return path
    return None


def load_config(
    config_dir: Path,
    environ: Mapping[str, str] | None = None,
    *,
    host: str | None = None,
    further: Collection[str] = (),
) -> LoadedConfig:
    """Read, check and resolve the main configuration of a folder.

    `host` takes the place of `server.host`, as `--host` does; the result's `config.server.host` is the address to
    listen on. `further` names instances that the caller makes in code and hands to `create_app`, so that a default may
    name one of them; every other default must be in `bindings_map`.

    Raises ConfigError (exit code 78) whose lines have the form `file:line: field: sentence`.
    """
    env = os.environ if environ is None else environ
    config_dir = Path(os.path.abspath(config_dir))
    file = find_main_config(config_dir)
    if file is None:
        raise ConfigError(f"There is no main_config.yaml in {config_dir}. Run 'lollms serve' to have one made there.")
    if file.suffix not in _READABLE:
        raise ConfigError(f"{file}: this version reads main_config.yaml only. Convert the file to YAML.")
    if env.get("LOLLMS_ENCRYPTION_KEY"):
        raise ConfigError(
            "LOLLMS_ENCRYPTION_KEY is set, but this version cannot read encrypted settings. Unset it, and write the "
            "settings in clear in files with mode 0600."
        )
    notices = _check_modes(file, config_dir)
    document = load_yaml(file)
    _check_complete(document)
    config = _validated(document)
    if dangling := list(_dangling(config, document, {*config.bindings_map, *further})):
        raise ConfigError("\n".join(dangling))
    if config.security.encryption_key is not None:
        raise document.error(
            ("security", "encryption_key"), "this version cannot read encrypted settings; remove the key."
        )
    try:
        address = check_exposure(config, host)
    except ConfigError as error:
        raise (error if host else document.error(("server", "host"), error.message)) from None
    config = config.model_copy(update={"server": config.server.model_copy(update={"host": address})})
    scrubber = Scrubber()
    scrubber.add(*config.plain_keys())
    root = config_dir.parent
    return LoadedConfig(
        config=config,
        file=file,
        config_dir=config_dir,
        root=root,
        folders=_folders(config, document, config_dir, root),
        keys=KeyRing(config.api_keys()),
        scrubber=scrubber,
        notices=(*notices, *_notices(config, file, further)),
        further=frozenset(further),
    )


def read_keys(
    config_dir: Path,
    environ: Mapping[str, str] | None = None,
    *,
    host: str | None = None,
    further: Collection[str] = (),
    scrubber: Scrubber | None = None,
) -> list[str]:
    """The allowed keys as the file has them now, for reloading; `scrubber` learns those that are written in clear.

    Raises ConfigError when the file cannot be used, also when it may not be for the address `host`.
    """
    config = load_config(config_dir, environ, host=host, further=further).config
    if scrubber is not None:
        scrubber.add(*config.plain_keys())
    return config.api_keys()


def check_exposure(config: MainConfig, host: str | None = None) -> str:
    """The IP address to listen on, once it is clear that this opens the server to nobody by accident.

    `host` overrides the configured address (`--host`, LOLLMS_HOST). Raises ConfigError.
    """
    try:
        address = bind_host(host) if host else config.server.host
    except ValueError as error:
        raise ConfigError(f"{host!r} cannot be listened on: the host {error}") from error
    security = config.security
    if not config.listens_beyond_loopback(address) or security.allow_unauthenticated:
        return address
    if not security.allowed_api_keys:
        raise ConfigError(
            f"{address} can be reached by other machines, but security.allowed_api_keys is empty: anybody "
            "could use this server. Add a key there, listen on 127.0.0.1, or, if you really want an open server, set "
            "security.allow_unauthenticated: true in the file."
        )
    if any(len(key) < _EXPOSED_KEY for key in config.plain_keys()):
        raise ConfigError(
            f"{address} can be reached by other machines, but security.allowed_api_keys holds a key of "
            f"less than {_EXPOSED_KEY} characters, which can be guessed. Use a longer one."
        )
    return address


def _check_modes(file: Path, config_dir: Path) -> list[str]:
    """Refuse files that others could change, as they could switch authentication off; note weaker faults."""
    notices = []
    for path in (config_dir, file):
        try:
            others = open_to_others(path)
        except StorageError as error:
            raise ConfigError(error.message) from error
        if others == "everybody can write":
            command = f"chmod o-w '{path}'"
            raise ConfigError(f"{path}: everybody can write here and could open the server. Run: {command}")
        if others == "the group can write" or (others and path is file):
            notices.append(f"{path}: {others} this. Run: chmod {'0700' if path is config_dir else '0600'} '{path}'")
    return notices


def _check_complete(document: YamlFile) -> None:
    lines = document.text.splitlines()
    if not document.text.strip():
        raise document.error(
            (),
            "the file is empty, without security. Restore it, or delete it: the next start then writes a new one.",
        )
    if lines and lines[0].startswith(_ENCRYPTED):
        raise document.error((), "the file is encrypted, and this version cannot read encrypted settings.")
    if not lines or lines[0].rstrip() != FIRST_LINE:
        last = max((line for path, line in document.lines.items() if path[:2] == _KEYS), default=0)
        if last == len(lines) and not document.text.endswith("\n"):
            raise document.error(_KEYS, "the file ends within this line, and the key may be cut off; end the line.")
        return
    written = [number for number, line in enumerate(lines, 1) if line.strip()]
    if lines[written[-1] - 1].rstrip() != END_LINE:
        raise ConfigError(
            f"{document.name}:{written[-1]}: the file must end with the line '{END_LINE}', as its first line says; it "
            "seems to be cut off. Restore the missing part, or put that line at the end if nothing is missing."
        )


def _dangling(config: MainConfig, document: YamlFile, instances: Collection[str]) -> Iterator[str]:
    """A sentence for each default instance that does not exist."""
    for name in type(config.defaults).model_fields:
        instance = getattr(config.defaults, name)
        if name.endswith("_binding") and instance is not None and instance not in instances:
            hint = suggestion(instance, sorted(instances))
            yield document.place(("defaults", name), f"there is no instance {instance!r} in bindings_map.{hint}")


def _validated(document: YamlFile) -> MainConfig:
    try:
        return MainConfig.model_validate(document.values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    problems = []
    for detail in details:
        path, kind = detail["loc"], str(detail["type"])
        # A wrong name or the branch of a union adds words to the place that are not in the file.
        while path and kind != "missing" and path not in document.lines:
            path, kind = path[:-1], "other"
        problems.append(document.place(path, _sentence(kind, detail, path)))
    raise ConfigError("\n".join(dict.fromkeys(problems)))


def _sentence(kind: str, detail: Mapping[str, Any], path: FieldPath) -> str:
    """A problem in words that never contain the value at fault."""
    context = detail.get("ctx") or {}
    sentences = {
        "missing": "is missing from the file.",
        "string_type": "must be text; put it in quotes if it looks like a number.",
        "int_type": "must be a whole number without quotes.",
        "bool_type": "must be true or false.",
        "list_type": "must be a list.",
        "dict_type": "must be a mapping of names to values; write {} for none.",
        "model_type": "must hold 'name: value' lines; leave the section out for the defaults.",
        "literal_error": f"must be one of {context.get('expected', '')}.",
        "greater_than_equal": f"must be at least {context.get('ge')}.",
        "less_than_equal": f"must be at most {context.get('le')}.",
        "string_too_long": f"must have at most {context.get('max_length')} characters.",
        "string_too_short": "must not be empty.",
        "too_long": f"must have at most {context.get('max_length')} entries.",
        "string_pattern_mismatch": "has a character that is not allowed here.",
    }
    if kind == "missing" and path == _KEYS:
        return "is missing; write a list of keys, or [] for a server without keys on this machine only."
    if kind == "missing" and path == ("security",):
        return "is missing; write the section with allowed_api_keys."
    if kind == "extra_forbidden":
        return f"is not a setting.{suggestion(str(path[-1]), _known(path[:-1]))}"
    if kind == "value_error":
        return str(context.get("error", "cannot be used."))
    return sentences.get(kind, "has a name or a value that cannot be used here.")


def _known(path: FieldPath) -> list[str]:
    """The names that a section of the model knows."""
    model: Any = MainConfig
    for part in path:
        model = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return [info.alias or name for name, info in model.model_fields.items()]


def _folders(config: MainConfig, document: YamlFile, config_dir: Path, root: Path) -> Folders:
    paths = config.paths
    base = config_dir
    if paths.config_base_dir is not None:
        base = _absolute(root, paths.config_base_dir)
        if not base.is_dir():
            raise document.error(("paths", "config_base_dir"), f"there is no folder {base}; remove the setting.")
    return Folders(
        instances=_absolute(base, paths.instance_bindings_folder),
        personalities=_absolute(root, paths.personalities_folder),
        bindings=_absolute(root, paths.bindings_folder),
        functions=_absolute(root, paths.functions_folder),
        models=_absolute(root, paths.models_folder),
        example_personalities=_example(root, paths.example_personalities_folder),
        example_bindings=_example(root, paths.example_bindings_folder),
        example_functions=_example(root, paths.example_functions_folder),
    )


def _absolute(base: Path, text: str) -> Path:
    return Path(os.path.abspath(base / os.path.expanduser(text)))


def _example(root: Path, text: str | None) -> Path | None:
    """A folder of examples: the one that is written, or for `zoos/...` the one that comes with the program."""
    if text is None:
        return None
    path = _absolute(root, text)
    if path.is_dir() or not text.startswith("zoos/"):
        return path
    shipped = _absolute(_SHIPPED, text)
    return shipped if shipped.is_dir() else None


def _notices(config: MainConfig, file: Path, further: Collection[str]) -> list[str]:
    notices = []
    if not config.bindings_map and not further:
        notices.append(f"{file}: bindings_map is empty: there is nothing that could generate an answer.")
    if "null" in config.server.allowed_origins:
        notices.append(f"{file}: server.allowed_origins holds 'null', which is ignored: any local page could claim it.")
    if not config.security.allowed_api_keys:
        notices.append(f"{file}: security.allowed_api_keys is empty: every program on this machine may use the server.")
    if config.security.allow_unauthenticated and not config.security.allowed_api_keys:
        notices.append(f"{file}: security.allow_unauthenticated is true: whoever reaches the server may use it.")
    if config.webui.enable_ui:
        notices.append(f"{file}: webui.enable_ui is true, but this version has no web interface yet.")
    return notices
