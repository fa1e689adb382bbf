"""`lollms serve`: start the server."""

from __future__ import annotations

import os
from pathlib import Path

import click

from lollms_cli.address import default_port, port_number
from lollms_core.errors import ConfigError, InvalidRequest, MissingDependency

__all__ = ["config_folder", "serve"]


def _port(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """The port of `--port`; 0 means any free one, which the server then names."""
    if value is None:
        return None
    try:
        return 0 if value == "0" else port_number(value, "it")
    except InvalidRequest as error:
        raise click.BadParameter(str(error), ctx, param) from error


@click.command(short_help="Start the server.")
@click.option(
    "--host", metavar="HOST", help="The address to listen on, instead of the configuration's (or LOLLMS_HOST)."
)
@click.option(
    "--port",
    metavar="PORT",
    callback=_port,
    help="The port, instead of the configuration's (or LOLLMS_PORT); 0 is any free one.",
)
@click.option("--config-dir", type=click.Path(path_type=Path), help="The configuration folder (or LOLLMS_CONFIG_DIR).")
def serve(host: str | None, port: int | None, config_dir: Path | None) -> int:
    """Start the server.

    The configuration folder is --config-dir, else LOLLMS_CONFIG_DIR, else an existing ./lollms_configs, else the
    user's own. Where it is empty, a first configuration is written: this machine only, one generated key, and the
    embedded model.
    """
    host, port = _listen_on(host, port)
    folder = config_folder(config_dir)
    try:
        from lollms_server.core.listen import listen_on
        from lollms_server.core.serve import serve as run
    except ImportError as error:
        if (error.name or "").startswith("lollms"):
            raise
        raise MissingDependency(
            f"The server needs the package {error.name!r}, which is not installed. Run: lollms install server"
        ) from error
    if port != 0 and host in (None, "localhost", "127.0.0.1") and not folder.exists():
        # a port in use is told before a first configuration, which listens on this machine, is written
        listen_on("127.0.0.1", default_port() if port is None else port).close()
    return run(folder, host, port)


def config_folder(explicit: Path | None) -> Path:
    """The configuration folder, by the rule in the help of `serve`. Raises `ConfigError` where there is no home."""
    if explicit is not None:
        return explicit
    named = os.environ.get("LOLLMS_CONFIG_DIR", "").strip()
    if named:
        return Path(named)
    here = Path("lollms_configs")
    return here if here.is_dir() else _user_folder()


def _user_folder() -> Path:
    from lollms_runtime.keys import key_file

    key = key_file()
    if key is None:
        raise ConfigError(
            "There is no home folder to keep the configuration in. Name one with --config-dir or LOLLMS_CONFIG_DIR."
        )
    return key.parent / "lollms_configs"


def _listen_on(host: str | None, port: int | None) -> tuple[str | None, int | None]:
    """What the flags say, else the environment; `LOLLMS_HOST` may hold the port too."""
    from lollms_cli.address import listen_address

    if host is None and (named := os.environ.get("LOLLMS_HOST", "").strip()):
        host, named_port = listen_address(named)
        port = named_port if port is None else port
    if port is None and (text := os.environ.get("LOLLMS_PORT", "").strip()):
        port = 0 if text == "0" else default_port()
    return host, port
