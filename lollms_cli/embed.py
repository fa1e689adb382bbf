"""`lollms embed`: texts as vectors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import click

from lollms_cli.completing import complete_models
from lollms_cli.options import BINDING, HOST, QUIET
from lollms_cli.output import Output
from lollms_core.errors import InvalidRequest, LollmsError, ProtocolError, UnsupportedFeature

__all__ = ["embed"]

_AT_ONCE = 32


@click.command(short_help="Turn texts into vectors.")
@click.argument("texts", nargs=-1, metavar="TEXT... | -")
@click.option(
    "-m",
    "--model",
    metavar="MODEL",
    shell_complete=complete_models,
    help="A model for embeddings, by name or as the path of a GGUF file.",
)
@BINDING
@HOST
@click.option("--lines", is_flag=True, help="Each line of standard input is a text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all vectors.")
@QUIET
def embed(
    texts: tuple[str, ...],
    model: str | None,
    binding: str | None,
    host: str | None,
    lines: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Turn each TEXT into a vector: a line of JSON for each, in their order.

    \b
    Examples:
      lollms embed -b ollama -m nomic-embed-text "a text" "another"
      lollms embed -b pythonllamacpp -m model.gguf "a text"
      lollms embed - < whole_file.txt
      lollms embed --lines < one_text_per_line.txt > vectors.jsonl
    """
    from lollms_cli.backend import choose_backend, in_words_of_the_command
    from lollms_cli.prompt import open_client
    from lollms_cli.showing import asking

    output = Output(quiet=quiet)
    given = _given(texts, lines=lines)
    backend = choose_backend(host, model, binding)
    output.note(f"lollms: {backend.sentence}")
    arguments = backend.arguments
    if backend.is_engine:
        arguments = {**arguments, "llm_binding_config": {"embedding": True}}
    vectors: list[Any] = []
    try:
        with asking(), open_client(arguments) as client:
            while some := list(islice(given, _AT_ONCE)):
                found = client.embed(some)
                if len(found) != len(some):
                    raise ProtocolError(f"{len(some)} texts were sent and {len(found)} vectors came back.")
                if as_json:
                    vectors.extend(found)
                for vector in () if as_json else found:
                    output.line(json.dumps(vector, separators=(",", ":")))
            if as_json:
                output.line(json.dumps({"model": client.get_model_name() or "", "embeddings": vectors}))
    except LollmsError as error:
        told = in_words_of_the_command(error, backend)
        if isinstance(error, UnsupportedFeature) and backend.is_server:
            told = UnsupportedFeature(
                f"The server at {backend.arguments['host_address']} says: {error} That is the file of the instance, in "
                "the folder bindings of its configuration. Without the server: lollms embed -b pythonllamacpp"
            )
        raise told from error


def _given(texts: Sequence[str], *, lines: bool) -> Iterator[str]:
    """The texts, none of which is empty. Raises `UsageError` when there are none."""
    from lollms_cli.prompt import read_piped, utf8

    if lines and texts not in ((), ("-",)):
        raise click.UsageError("--lines reads standard input: leave the texts out.")
    if not texts and not lines:
        raise click.UsageError('There is no text. For example: lollms embed "a text", or: lollms embed - < file')
    if list(texts).count("-") > 1:
        raise click.UsageError("- stands for standard input, which can be read only once.")
    if (lines or "-" in texts) and (sys.stdin is None or sys.stdin.isatty()):
        raise click.UsageError("Nothing is piped in. For example: lollms embed - < file")
    if lines:
        return _whole(read_piped().splitlines(), "Line")
    return _whole([read_piped() if text == "-" else utf8(text) for text in texts], "Text")


def _whole(texts: Iterable[str], what: str) -> Iterator[str]:
    """The texts. Raises `InvalidRequest` before any is used: a vector left out would shift all that follow."""
    every = list(texts)
    for number, text in enumerate(every, 1):
        if not text.strip():
            raise InvalidRequest(f"{what} {number} is empty: there is nothing to embed.")
    if not every:
        raise InvalidRequest("What is piped in is empty: there is nothing to embed.")
    return iter(every)
