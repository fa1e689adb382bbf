"""`lollms extract`: what texts say, as JSON of a given shape."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from lollms_cli.completing import complete_files
from lollms_cli.options import BINDING, HOST, MODEL, PARAMETERS, QUIET, SYSTEM, WithParameters
from lollms_cli.output import Output, one_line
from lollms_cli.progress import can_draw, show_step, steps_of
from lollms_cli.prompt import open_client, read_options, utf8
from lollms_cli.showing import asking
from lollms_core.errors import ContextTooLong, InvalidRequest, LollmsError, StructuredOutputError, UnsupportedFeature

if TYPE_CHECKING:
    from lollms_cli.progress import Shown
    from lollms_cli.text_files import TextFile
    from lollms_cli.working import Costs
    from lollms_client import LollmsClient
    from lollms_client.lollms_types import MSG_TYPE
    from lollms_core.types import Attempt

__all__ = ["extract"]

_TAKEN = ("prompt", "images", "schema", "system_prompt", "max_retries", "use_override", "output_format")
_PART = 1500  # tokens; less where they would be more than half of the model's context
_SURELY_SHORT = 200  # characters for which it is not worth to count tokens
_OVERLAP = 10  # a tenth of a part stands in the next one too, so that no record is cut in two
_SHOWN = 300
_IN_PYTHON = " Allow longer answers: max_tokens, which is n_predict."  # what the library says of an answer cut off


class _Unread(InvalidRequest):
    """A file has no text; the message names it."""


_OF_THE_TEXT = (StructuredOutputError, ContextTooLong, _Unread)
"""Errors after which the next text may well succeed."""

_WHAT = "Extract from the text below what is asked for. Use only what the text says, and invent nothing."
_WHAT_MANY = (
    "Find in the text below every record of the kind that is asked for. Use only what the text says, and invent "
    "nothing. Where there is no such record, the list is empty."
)


@click.command(cls=WithParameters, short_help="Get what texts say as JSON of a shape.")
@click.argument("files", metavar="[FILE]...", nargs=-1, shell_complete=complete_files)
@click.option(
    "--schema",
    required=True,
    metavar="SCHEMA",
    shell_complete=complete_files,
    help="The shape: a file, a JSON Schema, a template, or fields such as 'name, age int, email: description'.",
)
@click.option("--many", is_flag=True, help="Find every such record: a line of JSON for each.")
@click.option("-p", "--prompt", metavar="TEXT", default="", help="What to look for, where the shape does not say it.")
@MODEL
@SYSTEM
@PARAMETERS
@BINDING
@HOST
@click.option(
    "--chunk-size", type=click.IntRange(min=1), metavar="TOKENS", help="With --many: the size of a part (1500)."
)
@click.option("--json", "as_json", is_flag=True, help="Print an object for each file: value, error, what it cost.")
@click.option("-u", "--usage", is_flag=True, help="Say how many calls, tokens and seconds it took.")
@click.option("-v", "--verbose", is_flag=True, help="Show the answers that could not be used, too.")
@QUIET
def extract(files: tuple[str, ...], **flags: Any) -> int:
    """Print what each FILE, or what is piped in, says as JSON of the shape SCHEMA.

    The value obeys the schema, or there is none and the exit code is 1. Several files give a line for each in their
    order, `null` for one that failed or cannot be read. With --many a file may be of any length: it is read part by
    part.

    \b
    Examples:
      lollms extract --schema 'name, age int' letter.txt
      lollms extract --schema '{"title": "string", "authors": ["string"]}' *.md
      lollms extract --many --schema 'person, year int' < history.txt
    """
    return _run(files, _Flags(**flags))


class _Flags(NamedTuple):
    """What was said besides the files, as the help describes it."""

    schema: str
    many: bool
    prompt: str
    model: str | None
    system: str
    options: tuple[tuple[str, str], ...]
    binding: str | None
    host: str | None
    chunk_size: int | None
    as_json: bool
    usage: bool
    verbose: bool
    quiet: bool


def _run(files: tuple[str, ...], flags: _Flags) -> int:
    from lollms_cli.backend import choose_backend, in_words_of_the_command
    from lollms_cli.schemas import list_of, read_shape
    from lollms_cli.text_files import read_texts
    from lollms_cli.working import Costs, say_costs

    if flags.chunk_size is not None and not flags.many:
        raise click.UsageError("--chunk-size goes with --many: without it a text is read as a whole.")
    output = Output(quiet=flags.quiet)
    arguments = read_options(flags.options, taken=_TAKEN)
    shape = read_shape(utf8(flags.schema))
    arguments["schema"] = list_of(shape) if flags.many else shape
    _check(arguments["schema"])
    if flags.system:
        arguments["system_prompt"] = utf8(flags.system)
    texts = read_texts(files, "extract --schema 'name, age int' letter.txt", apart=True)
    backend = choose_backend(flags.host, flags.model, flags.binding)
    output.note(f"lollms: {backend.sentence}")
    costs = Costs()
    start = time.monotonic()
    try:
        with asking(), open_client(backend.arguments) as client:
            client.observer = costs
            with steps_of(output, _name(texts)) as progress:
                work = _Extraction(client, arguments, output, progress, costs, flags)
                try:
                    failed = work.all(texts)
                except KeyboardInterrupt:
                    raise KeyboardInterrupt(work.stopped_at()) from None
    except LollmsError as error:
        raise in_words_of_the_command(error, backend) from error
    for item in (reply := costs.reply("")).receipt:
        output.note(f"lollms: {item.name} was {item.action}: {item.reason}")
    if flags.usage:
        say_costs(output, costs, reply, time.monotonic() - start)
    return 1 if failed else 0


def _check(schema: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` for what is no shape, before anything is read or asked."""
    from lollms_core.flows.shapes import shape_of

    shape_of(schema)


def _name(texts: Sequence[TextFile]) -> str:
    return texts[0].label if len(texts) == 1 else f"{len(texts)} files"


class _Extraction:
    """The texts one after the other: what each says is shown as soon as it is known."""

    def __init__(
        self,
        client: LollmsClient,
        arguments: Mapping[str, Any],
        output: Output,
        progress: Shown,
        costs: Costs,
        flags: _Flags,
    ) -> None:
        self._client = client
        self._arguments = arguments
        self._output = output
        self._progress = progress
        self._costs = costs
        self._flags = flags
        self._failed = False
        self._attempts: list[Attempt] = []
        self._errors: list[str] = []
        self._found: dict[str, Any] = {}
        self._texts = 1
        self._place = _Place(0, 0, 1)

    def all(self, texts: Sequence[TextFile]) -> bool:
        """Extract from each text and show it; returns whether any of it failed. Raises what ends all of it."""
        self._texts = len(texts)
        for at, text in enumerate(texts):
            self._place, self._found = _Place(at, 0, 1), {}
            self._attempts, self._errors = [], []
            before = self._costs.calls
            try:
                value = self._records(text) if self._flags.many else self._value(text)
            except KeyboardInterrupt:
                if self._flags.as_json and self._found:  # else they were shown as they came
                    self._errors.append(self.stopped_at())
                    self._show(self._object(text, list(self._found.values()), self._costs.calls - before))
                raise
            self._place = _Place(at + 1, 0, 1)  # before it is shown: whoever has seen it counts it
            if self._flags.as_json:
                self._show(self._object(text, value, self._costs.calls - before))
            elif not self._flags.many and (value is not None or len(texts) > 1 or not self._errors):
                self._show(value, pretty=len(texts) == 1)
            elif self._flags.many and not value and not self._errors:
                self._progress.say("no such record", text.label)
        return self._failed

    def stopped_at(self) -> str:
        """What is said of a stop: how much was done before it."""
        place = self._place
        done = [f"{place.text} of {self._texts} files"] if self._texts > 1 else []
        if place.parts > 1:
            done.append(f"{place.part} of {place.parts} parts" + (" of the next" if done else ""))
        return f"stopped after {' and '.join(done)}" if done else "stopped"

    # ---- one text

    def _value(self, text: TextFile) -> Any:
        """What a text says; None where nothing of the shape came."""
        with self._told(text.name or text.label):
            return self._asked(_WHAT, text.label, _read(text))
        return None

    def _records(self, text: TextFile) -> list[Any]:
        """The records of a text, each once, shown as they come."""
        found = self._found
        parts: list[str] = []
        with self._told(text.name or text.label):
            parts = self._parts(_read(text))
        for number, part in enumerate(parts):
            self._place = _Place(self._place.text, number, len(parts))
            which = "" if len(parts) == 1 else f", part {number + 1} of {len(parts)}"
            with self._told(f"{text.name or text.label}{which}"):
                for record in self._asked(_WHAT_MANY, f"{text.label}{which}", part):
                    written = _line(record)
                    if written not in found and not self._flags.as_json:
                        self._show(record)
                    found[written] = record
        return list(found.values())

    def _parts(self, text: str) -> list[str]:
        """The parts that a text is read in."""
        from lollms_client.ports import BindingPorts
        from lollms_client.stream import Stream
        from lollms_core.flows.chunks import chunked
        from lollms_runtime.cancel import Cancel
        from lollms_runtime.drive import drive

        binding = self._client.binding
        if binding is None or len(text) < _SURELY_SHORT:
            return [text]
        size = self._flags.chunk_size
        if size is None:
            context = None
            with suppress(UnsupportedFeature):
                context = self._client.get_ctx_size()
            size = min(_PART, context // 2) if context else _PART
        cancel = Cancel()
        stream = Stream(drive(chunked(text, size, size // _OVERLAP), BindingPorts(binding), cancel), cancel)
        return [part.of(text) for part in stream.result().parts]

    def _asked(self, what: str, name: str, text: str) -> Any:
        """Ask for what a text, or the part of it at our place, says."""
        from lollms_cli.attachments import fenced
        from lollms_cli.working import working

        self._move(0.0)
        self._progress.step(name)
        words = " ".join(filter(None, [what, utf8(self._flags.prompt).strip()]))
        with working() as work:
            try:
                value = self._client.generate_structured_content(
                    f"{words}\n\n{fenced(text, name)}",
                    streaming_callback=work.shown_by(_Growing(self, name)),
                    raise_errors=True,
                    **self._arguments,
                )
            except LollmsError:
                if work.stopped:
                    raise KeyboardInterrupt from None
                raise
        if work.stopped:
            raise KeyboardInterrupt
        self._move(1.0)
        return value

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """A block whose errors are told when they are of the text alone."""
        try:
            yield
        except _OF_THE_TEXT as error:
            self._failed = True
            self._errors.append(str(error))
            self._attempts += getattr(error, "attempts", ())
            named = isinstance(error, _Unread) or (self._texts == 1 and not self._flags.many)
            where = "" if named else f"{name}: "
            with self._progress.away():
                self._output.message(f"lollms: error: {one_line(where + self._what_to_do(error))}")
                if self._flags.verbose:
                    _say_attempts(self._output, getattr(error, "attempts", ()))

    def _what_to_do(self, error: LollmsError) -> str:
        if any(each.finish_reason == "length" for each in getattr(error, "attempts", ())):
            plain = str(error).removesuffix(_IN_PYTHON)
            return f"{plain} The limit is raised with -o max_tokens NUMBER, unless the model's context is full."
        if not isinstance(error, ContextTooLong):
            return str(error)
        if self._flags.many:
            return f"{error} Make the parts smaller with --chunk-size."
        return f"{error} To find every record in parts of it: --many. Or make it shorter first: lollms summarize"

    # ---- showing

    def _show(self, value: Any, *, pretty: bool = False) -> None:
        with self._progress.away():
            self._output.line(_line(value, pretty=pretty and self._output.on_terminal))

    def _object(self, text: TextFile, value: Any, calls: int) -> dict[str, Any]:
        import msgspec

        return {
            "file": text.name or None,
            "value": value,
            "error": " ".join(self._errors) or None,
            "attempts": msgspec.to_builtins(self._attempts),
            "calls": calls,
            "model": self._costs.reply("").model,
        }

    def grown(self, name: str, value: Any) -> None:
        """A value is growing."""
        if not can_draw():  # lines are for what is done
            return
        properties = self._arguments["schema"].get("properties", self._arguments["schema"])
        if isinstance(value, dict) and not self._flags.many:
            self._move(min(len(value) / (len(properties) + 1), 1.0))
            self._progress.step(f"{name}: {len(value)} of {len(properties)} fields")
        elif isinstance(value, list):
            self._progress.step(f"{name}: {len(value)} found")

    def step(self, name: str, kind: str, words: str, params: Mapping[str, Any]) -> None:
        """Something else that is no part of the value."""
        show_step(self._progress, kind, words, params, name)

    def _move(self, inside: float) -> None:
        place = self._place
        if self._texts == place.parts == 1 and not can_draw():
            return
        done = place.text + (place.part + inside) / place.parts
        self._progress.update(round(done * 1000), self._texts * 1000)


class _Place(NamedTuple):
    """Which part of which text is read."""

    text: int
    part: int
    parts: int


class _Growing:
    """Shows how a value grows."""

    def __init__(self, work: _Extraction, name: str) -> None:
        self._work = work
        self._name = name

    def __call__(self, chunk: str, kind: MSG_TYPE, params: Mapping[str, Any]) -> None:
        """Show one event, as a callback gets it."""
        name = kind.name.removeprefix("MSG_TYPE_")
        if name == "JSON_INFOS" and params.get("kind") == "partial":
            self._work.grown(self._name, params.get("data"))
        else:
            self._work.step(self._name, name, chunk, params)


def _read(text: TextFile) -> str:
    """The text of a file. Raises `_Unread`, which ends the work on that file alone."""
    if text.problem is not None:
        raise _Unread(str(text.problem)) from text.problem
    return text.text


def _line(value: Any, *, pretty: bool = False) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=2 if pretty else None)


def _say_attempts(output: Output, attempts: Sequence[Attempt]) -> None:
    """What was tried, a line for each."""
    for number, each in enumerate(attempts, 1):
        answer = one_line(each.text)
        shown = answer if len(answer) <= _SHOWN else answer[:_SHOWN] + "..."
        output.message(f"lollms: attempt {number} ({each.way}): {one_line(each.problem) or 'it was used'}")
        output.message(f"  the answer: {shown or 'nothing'}")
