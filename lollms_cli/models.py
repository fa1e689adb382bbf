"""`lollms models`: the models of who would answer, and the one to use when none is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from typing_extensions import override

from lollms_cli.completing import complete_bindings, complete_models
from lollms_cli.options import BINDING, HOST, QUIET
from lollms_cli.output import Output
from lollms_core.errors import InvalidRequest, LollmsError

__all__ = ["models"]


class _Models(click.Group):
    """The group, for which `list` may be left out."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if (not args and not ctx.resilient_parsing) or (args and args[0].startswith("-") and args[0] not in _HELP):
            args = ["list", *args]
        return super().parse_args(ctx, args)


_HELP = ("-h", "--help", "--")


@click.group(cls=_Models, short_help="List models, choose the default one.")
def models() -> None:
    """List the models of the server, the binding or this machine, and choose the default one.

    \b
    Examples:
      lollms models
      lollms models -b ollama
      lollms models default -b ollama llama3.2
    """


@models.command("list", short_help="List models.")
@BINDING
@HOST
@click.option("--json", "json_", is_flag=True, help="Print all that is known of them as JSON.")
@QUIET
def list_models(binding: str | None, host: str | None, json_: bool, quiet: bool) -> None:
    """List models: name, context in tokens, size in GB.

    They are those of --binding, else of the server of --host or LOLLMS_HOST, else of a running one on this machine
    whose key is known, else those that lie on this machine.
    """
    from lollms_cli.backend import choose_backend, in_words_of_the_command
    from lollms_cli.prompt import open_client
    from lollms_cli.showing import asking
    from lollms_cli.tables import as_json, as_table

    output = Output(quiet=quiet)
    backend = choose_backend(host, "", binding)
    try:
        with asking(), open_client(backend.arguments) as client:
            found = [_entry(each) for each in client.list_models()]
    except LollmsError as error:
        raise in_words_of_the_command(error, backend) from error
    output.note(f"lollms: {backend.place}")
    if json_:
        as_json(output, {"models": found})
        return
    rows = [(each.get("model_name"), _context(each), _gigabytes(each)) for each in found]
    as_table(output, ("model", "context", "GB"), rows, "lollms: there are no models.")


@models.command("default", short_help="Show or choose the model to use when none is named.")
@click.argument("name", required=False, shell_complete=complete_models)
@click.option(
    "-b",
    "--binding",
    metavar="NAME",
    shell_complete=complete_bindings,
    help="The client binding it belongs to, such as ollama.",
)
@click.option("--unset", is_flag=True, help="Have no default any more.")
def default(name: str | None, binding: str | None, unset: bool) -> int:
    """Show the model that is used without -m, or choose it. LOLLMS_MODEL overrides it."""
    from lollms_cli.defaults import default_model, keep_default

    output = Output()
    if unset:
        if name or binding:
            raise click.UsageError("--unset takes no model and no binding.")
        keep_default("")
        output.message("lollms: there is no default model any more")
        return 0
    if name is None and binding is None:
        chosen = default_model()
        if not chosen.model and not chosen.binding:
            output.message("lollms: no default model is chosen. Choose one with: lollms models default NAME")
            return 1
        output.line(chosen.model or "-")
        output.note(f"lollms: from {chosen.source}{f', binding {chosen.binding}' if chosen.binding else ''}")
        return 0
    if name is not None and not name.strip():
        raise InvalidRequest("The name of the model is empty. To have no default: lollms models default --unset")
    if binding:
        from lollms_cli.backend import check_binding

        check_binding(binding)
    path = keep_default(name or "", binding or "")
    output.message(f"lollms: {name or binding} is now used where nothing else is named ({path})")
    if name and (doubt := _doubt(name, binding)):
        output.message(f"lollms: but {doubt} To have no default any more: lollms models default --unset")
    return 0


def _doubt(name: str, binding: str | None) -> str:
    """Why a model may not be there, "" where nothing speaks against it.

    Only this machine and a lollms server are asked: a name may be chosen while its provider is away.
    """
    from lollms_cli.backend import choose_backend, is_on_this_machine
    from lollms_cli.chat_session import names_of
    from lollms_cli.prompt import open_client
    from lollms_cli.showing import asking

    try:
        backend = choose_backend(None, name, binding)
        if backend.is_engine:
            return (
                "" if is_on_this_machine(name) else f"no model {name!r} lies on this machine, and no server was asked."
            )
        if not backend.is_server:
            return ""
        with asking(), open_client(backend.arguments) as client:
            there = names_of(client.list_models())
    except LollmsError as error:
        return f"whether it is there is not known: {error}"
    address = backend.arguments["host_address"]
    return "" if name in there else f"the server at {address} has no model {name!r}. It has: {', '.join(there) or '-'}."


def _entry(found: object) -> dict[str, Any]:
    """A model as a dictionary, also where a binding gives names alone."""
    return dict(found) if isinstance(found, Mapping) else {"model_name": str(found)}


def _context(model: Mapping[str, Any]) -> object:
    return next((model[name] for name in ("context_size", "context_length") if model.get(name)), None)


def _gigabytes(model: Mapping[str, Any]) -> str | None:
    found = model.get("size_gb")
    if not isinstance(found, (int, float)):
        size = model.get("size")
        found = size / 1e9 if isinstance(size, (int, float)) and not isinstance(size, bool) else None
    return None if found is None else f"{found:.2f}" if found >= 0.01 else f"{found:.3f}"
