"""`lollms bindings test`: real, small calls to a binding, and a line for each thing that works or does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lollms_cli.completing import complete_bindings
from lollms_cli.options import SERVER
from lollms_cli.output import Output, one_line
from lollms_core.errors import LollmsError, ModelLoadFailed, NotFound

if TYPE_CHECKING:
    from lollms_cli.backend import Backend
    from lollms_cli.bindings_probes import Finding

__all__ = ["test_binding"]

_LISTED = 20


@click.command("test", short_help="Make real calls and say what works.")
@click.argument("name", required=False)
@click.option(
    "-b", "--binding", metavar="NAME", shell_complete=complete_bindings, help="A binding of the library, e.g. ollama."
)
@click.option("--address", metavar="URL", help="Where the binding's server is; with --binding.")
@click.option("-m", "--model", metavar="MODEL", help="The model to ask, instead of the default.")
@click.option("--config-dir", type=click.Path(path_type=Path), help="Load the instance from this configuration folder.")
@click.option("--json", "json_", is_flag=True, help="Print what was found as JSON.")
@SERVER
def test_binding(
    name: str | None,
    binding: str | None,
    address: str | None,
    model: str | None,
    config_dir: Path | None,
    json_: bool,
    host: str | None,
) -> int:
    """Make real calls to the instance NAME, or to a binding of the library, and say what works.

    Eight or nine small calls are made, which cost a few hundred tokens in all. The exit code is 0 only if a question
    is answered with text; whatever else is missing is said, and no error. Each line begins with ok, with no (it cannot
    do this), - (not tried) or bad (it should work and does not).

    A running server is asked for its instance; with --config-dir, or where no server has it, the instance is loaded
    here, from the configuration.

    \b
      lollms bindings test my_openai
      lollms bindings test --binding ollama --model llama3.2
      lollms bindings test --binding openai --address http://localhost:1234/v1
    """
    if (name is None) == (binding is None):
        raise click.UsageError("Name one instance of a server, or one binding of the library with --binding.")
    if address and not binding:
        raise click.UsageError("--address goes with --binding. Another server's instances are tested with --host.")
    if binding and (host or config_dir):
        raise click.UsageError("--host and --config-dir are about instances; a binding has its --address.")
    output = Output()
    report = _Report(output, json_)
    if binding:
        works = _library(binding, address, model or "", report)
    else:
        works = _instance(str(name), model or "", host, config_dir, report)
    report.end(works)
    return 0 if works else 1


class _Report:
    """What is found, as lines at once or as JSON at the end."""

    def __init__(self, output: Output, as_json: bool) -> None:
        self._output = output
        self._as_json = as_json
        self._found: list[Finding] = []
        self._subject = ""

    def about(self, subject: str) -> None:
        """Who is tested."""
        self._subject = subject
        self._output.note(f"lollms: testing {one_line(subject)}")

    def say(self, finding: Finding) -> None:
        """One thing that was found."""
        self._found.append(finding)
        if not self._as_json:
            words = one_line(finding.words)
            self._output.line(f"{finding.state:3}  {finding.name}: {words} ({finding.seconds:.2f} s)")

    def end(self, works: bool) -> None:
        """All was tried that makes sense."""
        if not self._as_json:
            if not works:
                self._output.line("It does not work: there is no text answer. The rest was not tried.")
            return
        from lollms_cli.tables import as_json

        found = [{**each._asdict(), "seconds": round(each.seconds, 3)} for each in self._found]
        as_json(self._output, {"subject": self._subject, "works": works, "findings": found})


def _library(binding: str, address: str | None, model: str, report: _Report) -> bool:
    from lollms_cli.backend import choose_backend

    backend = choose_backend(address, model, binding)
    where = backend.arguments.get("host_address")
    place = f" at {where.rpartition('@')[2]}" if where else ""  # before an @ there may be a password
    report.about(f"the binding {binding} of the library{place}")
    return _try_client(backend, {}, model, report)


def _instance(name: str, model: str, host: str | None, config_dir: Path | None, report: _Report) -> bool:
    if config_dir is None:
        from lollms_cli.backend import server_address

        named = server_address(host)
        if (address := named or _local_server(name)) and (named is None or _check_there(name, named)):
            from lollms_cli.backend import choose_backend

            report.about(f"{name} of the server at {address}")
            return _try_client(choose_backend(address, model, "lollms"), {"instance": name}, model, report)
    return _load_and_try(name, model, config_dir, report)


def _try_client(backend: Backend, config: dict[str, Any], model: str, report: _Report) -> bool:
    import asyncio

    from lollms_cli.bindings_probes import probe
    from lollms_cli.bindings_subjects import LibrarySubject
    from lollms_client import LollmsClient

    with LollmsClient(**backend.arguments, llm_binding_config=config) as client:
        binding = client.llm
        if binding is None:
            raise NotFound("There is no such binding.")

        async def run() -> bool:
            try:
                return await probe(LibrarySubject(binding, backend, model), report.say)
            finally:
                if (close := getattr(binding, "aclose", None)) is not None:
                    await close()

        return asyncio.run(run())


def _load_and_try(name: str, model: str, config_dir: Path | None, report: _Report) -> bool:
    import asyncio

    from lollms_cli.bindings_add import configuration, type_cards
    from lollms_cli.bindings_probes import Finding, probe
    from lollms_cli.bindings_subjects import loaded_here

    loaded = configuration(config_dir)
    kind = loaded.config.bindings_map.get(name)
    if kind is None:
        raise NotFound(_none_of_that_name(name, f"bindings_map of {loaded.file}", list(loaded.config.bindings_map)))
    card = type_cards(loaded, Output(quiet=True)).get(kind)
    if card is None:
        raise NotFound(f"bindings_map of {loaded.file} gives {name} the type {kind}, and there is none of that name.")
    report.about(f"{name}, an instance of {kind}, loaded here from {loaded.file.parent}")

    async def run() -> bool:
        try:
            async with loaded_here(name, card, loaded, model) as subject:
                return await probe(subject, report.say)
        except ModelLoadFailed as error:
            report.say(Finding("loaded", "bad", 0.0, loaded.scrubber.clean(str(error))))
            return False

    return asyncio.run(run())


# ---- running servers -----------------------------------------------------------------------------------------------


def _local_server(name: str) -> str:
    """The address of this machine's server, if it has the instance and we may ask it; else ""."""
    from lollms_cli.address import default_port
    from lollms_cli.server_calls import health

    address = f"http://127.0.0.1:{default_port()}"
    try:
        return address if health(address) is not None and name in _instances_of(address) else ""
    except LollmsError:
        return ""


def _check_there(name: str, address: str) -> bool:
    """True where a named server has the instance. Raises `NotFound`, and what asking it raises."""
    there = _instances_of(address)
    if name not in there:
        raise NotFound(_none_of_that_name(name, f"the server at {address}", there))
    return True


def _instances_of(address: str) -> list[str]:
    from lollms_cli.server_calls import ask_server

    said = ask_server("GET", address, "list_bindings", "binding_instances").get("binding_instances")
    return sorted(said) if isinstance(said, dict) else []


def _none_of_that_name(name: str, where: str, there: list[str]) -> str:
    listed = ", ".join(there[:_LISTED]) or "none"
    return f"There is no instance {name[:100]!r} in {where}. There are: {listed}. Add one with: lollms bindings add"
