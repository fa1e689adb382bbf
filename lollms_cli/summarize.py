"""`lollms summarize`: a text of any length, summarised part by part where it is long."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from lollms_cli.completing import complete_files
from lollms_cli.options import (
    BINDING,
    HIDE_REASONING,
    HOST,
    MODEL,
    PARAMETERS,
    QUIET,
    SYSTEM,
    WithParameters,
)
from lollms_cli.output import Output
from lollms_cli.progress import show_step, steps_of
from lollms_cli.prompt import open_client, read_options, utf8
from lollms_cli.showing import asking, say_remarks
from lollms_core.errors import LollmsError

if TYPE_CHECKING:
    from lollms_cli.progress import Shown
    from lollms_cli.text_files import TextFile
    from lollms_cli.working import Costs
    from lollms_client import LollmsClient
    from lollms_client.lollms_types import MSG_TYPE

__all__ = ["summarize"]

_TAKEN = ("text_to_summarize", "contextual_prompt", "chunk_size_tokens", "overlap_tokens", "system_prompt")
_OVERLAP = 6  # a sixth of a part stands in the next one too, unless it is said how much


@click.command(cls=WithParameters, short_help="Summarise texts of any length.")
@click.argument("files", metavar="[FILE]...", nargs=-1, shell_complete=complete_files)
@click.option("-p", "--prompt", metavar="TEXT", default="", help='What matters, e.g. "focus on the decisions".')
@MODEL
@SYSTEM
@PARAMETERS
@BINDING
@HOST
@click.option("--chunk-size", type=click.IntRange(min=1), metavar="TOKENS", help="The size of a part (1500).")
@click.option(
    "--overlap", type=click.IntRange(min=0), metavar="TOKENS", help="How much of a part stands in the next one too."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object, with what it cost.")
@click.option("-u", "--usage", is_flag=True, help="Say how many calls, tokens and seconds it took.")
@HIDE_REASONING
@QUIET
def summarize(files: tuple[str, ...], **flags: Any) -> int:
    """Summarise each FILE, or what is piped in. Several files become one summary of all.

    A text that is longer than a part is summarised part by part, and the summaries are made into one: a call of the
    model for each part, and one more. Ctrl-C prints the summaries of the parts that are done.

    \b
    Examples:
      lollms summarize report.md
      lollms summarize -p "focus on what was decided" minutes/*.txt
      git log -50 | lollms summarize -p "as release notes"
    """
    return _run(files, _Flags(**flags))


class _Flags(NamedTuple):
    """What was said besides the files, as the help describes it."""

    prompt: str
    model: str | None
    system: str
    options: tuple[tuple[str, str], ...]
    binding: str | None
    host: str | None
    chunk_size: int | None
    overlap: int | None
    as_json: bool
    usage: bool
    hide_reasoning: bool
    quiet: bool


def _run(files: tuple[str, ...], flags: _Flags) -> int:
    import msgspec

    from lollms_cli.backend import choose_backend, in_words_of_the_command
    from lollms_cli.text_files import read_texts
    from lollms_cli.working import Costs, say_costs

    output = Output(quiet=flags.quiet)
    arguments = _arguments(flags)
    limit = arguments.get("max_tokens", arguments.get("n_predict"))
    texts = read_texts(files, "summarize report.md")
    backend = choose_backend(flags.host, flags.model, flags.binding)
    output.note(f"lollms: {backend.sentence}")
    costs = Costs()
    start = time.monotonic()
    try:
        with asking(), open_client(backend.arguments) as client:
            client.observer = costs
            with steps_of(output, _name(texts)) as progress:
                show = _Summarizing(output, progress, costs, flags)
                text, stopped = _summary(client, texts, arguments, show)
            reply = costs.reply(
                text, "cancelled" if stopped else "", unsaid=() if "ctx_size" in arguments else ("ctx_size",)
            )
            show.finish(text, stopped)
            if flags.as_json:
                _as_json(output, reply, texts, costs.calls, show.so_far(stopped))
    except LollmsError as error:
        raise in_words_of_the_command(error, backend) from error
    if stopped:
        raise KeyboardInterrupt(show.stopped_at())
    say_remarks(output, msgspec.structs.replace(reply, usage=costs.last.usage), limit)  # its limit is that of a call
    if flags.usage:
        say_costs(output, costs, reply, time.monotonic() - start)
    return 0


def _arguments(flags: _Flags) -> dict[str, Any]:
    """What `LollmsClient.summarize` gets besides the text."""
    arguments = read_options(flags.options, taken=_TAKEN)
    if flags.system:
        arguments["system_prompt"] = utf8(flags.system)
    if flags.prompt:
        arguments["contextual_prompt"] = utf8(flags.prompt)
    size, overlap = flags.chunk_size, flags.overlap
    if size is not None:
        arguments["chunk_size_tokens"] = size
        overlap = size // _OVERLAP if overlap is None else overlap
    if overlap is not None:
        if size is not None and overlap >= size:
            raise click.UsageError(f"--overlap {overlap} must be less than the {size} tokens of --chunk-size.")
        arguments["overlap_tokens"] = overlap
    return arguments


def _name(texts: Sequence[TextFile]) -> str:
    return texts[0].label if len(texts) == 1 else f"{len(texts)} files"


def _summary(
    client: LollmsClient, texts: Sequence[TextFile], arguments: Mapping[str, Any], show: _Summarizing
) -> tuple[str, bool]:
    """The summary, or what there is of it; second, whether it was stopped."""
    from lollms_cli.working import working

    text = texts[0].text
    if len(texts) > 1:
        text = "\n\n".join(f"# {each.label}\n\n{each.text.strip()}" for each in texts)
    done = ""
    with working() as work:
        try:
            done = client.summarize(text, streaming_callback=work.shown_by(show), raise_errors=True, **arguments)
        except LollmsError as error:
            if not work.stopped:
                show.broken(error)
                raise
            done = error.partial.text if error.partial is not None else ""
    return done, work.stopped


class _Summarizing:
    """What is seen of it: the parts as progress, and the summary itself as it comes."""

    def __init__(self, output: Output, progress: Shown, costs: Costs, flags: _Flags) -> None:
        self._output = output
        self._progress = progress
        self._costs = costs
        self._flags = flags
        self._live = not flags.as_json
        self._reasoning = not flags.hide_reasoning
        self._parts: set[str] = set()  # those that are being read
        self._done: set[str] = set()  # those that have a summary
        self._count = 1
        self._halvings = 0  # of parts that did not fit, each of which is a call more
        self._shown = ""

    def __call__(self, chunk: str, kind: MSG_TYPE, params: Mapping[str, Any]) -> None:
        """Show one event, as a callback gets it."""
        name = kind.name.removeprefix("MSG_TYPE_")
        if name == "CHUNK":
            begun = bool(self._shown.strip())
            self._shown += chunk
            if self._live and self._shown.strip():  # blank lines wait for what comes after them
                self._progress.end()
                self._output.answer(chunk if begun else self._shown)
        elif name == "THOUGHT_CHUNK":
            if self._live and self._reasoning and not self._parts:  # those of several parts would be mixed up
                self._progress.end()
                self._output.thought(chunk)
        else:
            self._note_part(name, params)
            if (words := self._remark(chunk, params)) or not chunk:
                show_step(self._progress, name, words, params)

    def _note_part(self, name: str, params: Mapping[str, Any]) -> None:
        part = str(params.get("id", ""))
        self._halvings += params.get("action") == "halved"
        if not part.startswith("chunk"):
            return
        if name == "STEP_START":
            self._parts.add(part)
            self._count = int(params["of"])
        elif name == "STEP_END":
            self._parts.discard(part)
            if params.get("summary_snippet"):
                self._done.add(part)

    def _remark(self, words: str, params: Mapping[str, Any]) -> str:
        """A sentence of the library in words of the command; "" for what is no news to who gave the command."""
        if params.get("id") == "final_synthesis" and params.get("finish_reason") == "length":
            return ""  # said at the end, with what can be done about it
        if params.get("action") != "clamped":
            return words
        if params["name"] == "chunk_size_tokens":
            given, tokens = self._flags.chunk_size, params["tokens"]
            why = f"--chunk-size {given} is more than fits the context: the text is read in parts of {tokens} tokens"
        else:
            given, tokens = self._flags.overlap, params["tokens"]
            why = f"--overlap {given} is more than half of a part: it is {tokens} tokens"
        return "" if given is None else why

    def so_far(self, stopped: bool) -> dict[str, int]:
        """How many parts there are, and how many of them are done."""
        alone = 0 if stopped else 1
        return {"parts": self._count, "parts_done": self._number_done() if self._count > 1 else alone}

    def stopped_at(self) -> str:
        """What is said of a stop: how much of the text the summaries are of, unless the last one had begun."""
        if self._count == 1 or self._shown.strip():
            return "stopped"
        return f"stopped after {self._number_done()} of {self._count} parts"

    def _number_done(self) -> int:
        """How many parts have a summary; those that came to their end during the stop were not shown any more."""
        if not self._parts:
            return len(self._done)
        return min(max(len(self._done), self._costs.answers - self._halvings), self._count)

    def finish(self, text: str, stopped: bool) -> None:
        """The summary is complete, or all there will be of it: show what was not shown yet."""
        if not self._live:
            return
        if not self._shown.strip():
            self._output.answer(text if text.strip() else "")
        elif not stopped and text.strip() != self._shown.strip():
            self._output.end_answer()
            self._output.note("lollms: what stands above broke off; this is the whole summary")
            self._output.answer(text)
        self._output.end_answer()

    def broken(self, error: LollmsError) -> None:
        """An error ended it: what there is stays, and the error stands on its own."""
        self._progress.end()
        self.finish(error.partial.text if error.partial is not None else "", stopped=True)


def _as_json(output: Output, reply: Any, texts: Sequence[TextFile], calls: int, parts: Mapping[str, int]) -> None:
    from lollms_cli.showing import reply_as_json

    output.line(reply_as_json(reply, files=[each.name for each in texts if each.name], calls=calls, **parts))
