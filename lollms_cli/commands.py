"""Which command is meant, and what becomes of its errors.

Exit codes: 0 done, 1 error, 2 the command was used wrongly, 4 a key is needed or refused, 78 the configuration cannot
be used, 130 stopped with Ctrl-C, 141 the reader of our output went away. An error is one line on standard error; with
`LOLLMS_DEBUG=1` the traceback follows.
"""

from __future__ import annotations

import difflib
import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from typing_extensions import override

from lollms_cli.output import Output, OutputClosed, one_line
from lollms_cli.questions import ask_patiently
from lollms_cli.repair import is_of_lollms, repair_sentence
from lollms_core.errors import ConfigError, LollmsError, meaning

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "cli", "run", "with_command"]

COMMANDS = {
    "prompt": ("lollms_cli.prompt", "prompt"),
    "chat": ("lollms_cli.chat", "chat"),
    "summarize": ("lollms_cli.summarize", "summarize"),
    "extract": ("lollms_cli.extract", "extract"),
    "models": ("lollms_cli.models", "models"),
    "pull": ("lollms_cli.pull", "pull"),
    "rm": ("lollms_cli.rm", "rm"),
    "embed": ("lollms_cli.embed", "embed"),
    "keys": ("lollms_cli.keys", "keys"),
    "serve": ("lollms_cli.serve", "serve"),
    "doctor": ("lollms_cli.doctor", "doctor"),
    "install": ("lollms_cli.install", "install"),
    "bindings": ("lollms_cli.listings", "bindings"),
    "personalities": ("lollms_cli.listings", "personalities"),
    "functions": ("lollms_cli.listings", "functions"),
    "ps": ("lollms_cli.ps", "ps"),
    "stop": ("lollms_cli.stop", "stop"),
    "reload": ("lollms_cli.reload", "reload"),
    "completion": ("lollms_cli.completion", "completion"),
}
_SPELLINGS = {"summarise": "summarize"}
_LIKE_A_COMMAND = 0.75
_WHERE = "Set LOLLMS_DEBUG=1 to see where."
_OF_OTHER_TOOLS = {
    "version": "The version is shown by `lollms --version`.",
    "list": "Lists are `lollms models list`, `bindings list`, `personalities list` and `functions list`.",
    "show": "`lollms doctor` says what is there.",
    "run": 'Talk with a model: lollms chat -m MODEL. Ask it once: lollms -m MODEL "the prompt".',
}
"""Words that other tools have as commands: alone they are meant as one, not for a model."""

EXAMPLES = """\b
Examples:
  lollms "Tell me a fun fact about space."
  git diff | lollms -s "Write one commit line for this diff."
  lollms -m ~/models/qwen.gguf -o temperature 0.2 "Why is the sky blue?"
  lollms -a photo.jpg -b ollama -m llava "What is in this picture?"
  lollms --schema 'name, age int' "Invent a person."
  lollms summarize -p "focus on the decisions" minutes.txt
  lollms extract --schema 'name, age int' letter.txt
  lollms serve
  lollms doctor
"""

ENVIRONMENT = """\b
Environment:
  LOLLMS_API_KEY     the key sent to a lollms server
  LOLLMS_HOST        the server: host, host:port or URL (serve listens there)
  LOLLMS_PORT        its port (9601)
  LOLLMS_MODEL       the model where -m names none
  LOLLMS_CONFIG_DIR  the configuration folder of serve and doctor
  LOLLMS_DEBUG       1 shows the traceback of an error
  NO_COLOR           no colours or dimming (CLICOLOR_FORCE: also in a pipe)
"""

EXITS = """\b
Exit codes:
  0 done, 1 error, 2 wrong use, 4 key needed or refused, 78 configuration,
  130 stopped
"""


class Commands(click.Group):
    """The commands, imported when they are used; anything that is not a command is a prompt."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and our flags; the flags of the prompt too, because its name may be left out."""
        found = super().shell_complete(ctx, incomplete)
        prompt = self.get_command(ctx, "prompt") if incomplete.startswith("-") else None
        if prompt is None:
            return found
        there = {item.value for item in found}
        return [*found, *(item for item in prompt.shell_complete(ctx, incomplete) if item.value not in there)]

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # a shell asks for completions
            args = _spelt(args)
            known = not args or args[0] in COMMANDS or args[0] in ("-h", "--help", "--version")
            return super().parse_args(ctx, args if known else ["prompt", *args])
        return super().parse_args(ctx, with_command(args, has_input=_has_input()))


def with_command(args: list[str], *, has_input: bool) -> list[str]:
    """The arguments with the command that is meant in front. Raises `UsageError` for a misspelt command.

    Without arguments it is the prompt when something is piped in, else help. A single word that looks like a command,
    or is one of other tools, is taken for a mistake; `lollms prompt WORD` sends it all the same.
    """
    if not args:
        return ["prompt"] if has_input else ["--help"]
    args = _spelt(args)
    first = args[0]
    if first in COMMANDS or first in ("-h", "--help", "--version"):
        return args
    if first == "help":
        return [*args[1:2], "--help"]
    if first == "run" and (model := _model_to_run(args)):
        raise click.UsageError(
            f"'run' is not a command. To talk with {model}: lollms chat -m {model}. To ask it once: "
            f'lollms -m {model} "the prompt". To send these words as a prompt: lollms prompt {shlex.join(args)}'
        )
    alone = len(args) == 1 or args[1].startswith("-")
    if alone and first in _OF_OTHER_TOOLS:
        raise click.UsageError(
            f"{first!r} is not a command. {_OF_OTHER_TOOLS[first]} To send it as a prompt: lollms prompt {first}"
        )
    near = [] if any(c.isspace() for c in first) else difflib.get_close_matches(first, COMMANDS, 1, _LIKE_A_COMMAND)
    if near:
        raise click.UsageError(
            f"There is no command {first!r}. Did you mean `lollms {near[0]}`? "
            f"To send it to a model: `lollms prompt {first}`."
        )
    return ["prompt", *args]


def _spelt(args: list[str]) -> list[str]:
    """The arguments with the command in the spelling that it has here."""
    return [_SPELLINGS.get(args[0], args[0]), *args[1:]] if args else args


def _model_to_run(args: list[str]) -> str:
    """The model in `run MODEL` or `run MODEL "a prompt"`, as other tools have it; "" for words that are a prompt."""
    names = [arg for arg in args[1:] if not arg.startswith("-")]
    if not names or len(names) > 2 or any(c.isspace() for c in names[0]):
        return ""
    return shlex.quote(names[0]) if len(names) == 1 or any(c.isspace() for c in names[1]) else ""


def _has_input() -> bool:
    return sys.stdin is not None and not sys.stdin.isatty()


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from lollms_cli.installation import find_installation

        click.echo(f"lollms {find_installation().version}")
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help=f"One place to generate anything with any model. `lollms prompt --help` shows the flags.\n\n{EXAMPLES}",
    epilog=f"{ENVIRONMENT}\n{EXITS}",
    subcommand_metavar="COMMAND | PROMPT",
    options_metavar="",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="The version."
)
def cli() -> None:
    """One place to generate anything with any model."""


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. Raises nothing."""
    output = Output()
    if asked := os.environ.get("_LOLLMS_COMPLETE"):
        return _complete(asked)
    ask_patiently()
    try:
        return _obey(sys.argv[1:] if args is None else list(args))
    except OutputClosed:
        return 141
    except BrokenPipeError:  # click writes help itself
        output.drop()
        return 141
    except (KeyboardInterrupt, click.Abort, EOFError) as stop:
        # a terminal shows ^C where the cursor was
        said = (str(stop) if isinstance(stop, KeyboardInterrupt) else "") or "stopped"
        output.message(f"\nlollms: {said}" if output.remarks_on_terminal else f"lollms: {said}")
        return 130
    except click.ClickException as error:
        return _fail(output, _click_sentence(error), error.exit_code, error)
    except LollmsError as error:
        return _fail(output, str(error) or error.code, meaning(error).exit_code, error)
    except ImportError as error:
        sentence = f"{_defect(error)} {_WHERE}" if is_of_lollms(error) else repair_sentence(error)
        return _fail(output, sentence, 1, error)
    except Exception as error:
        return _fail(output, f"{_defect(error)} {_WHERE}", 1, error)


def _obey(args: list[str]) -> int:
    """What click's own `main` does, without its ways to end: it has one exit code for a reader that has gone away."""
    try:
        with cli.make_context("lollms", args) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return result if isinstance(result, int) else 0


def _complete(asked: str) -> int:
    """Answer the shell; whatever goes wrong, nothing is to be seen at its prompt."""
    from lollms_cli.completion import answer

    try:
        return answer(cli, asked)
    except (Exception, KeyboardInterrupt):
        if os.environ.get("LOLLMS_DEBUG", "") not in ("", "0"):
            raise
        return 1


def _fail(output: Output, sentence: str, code: int, error: BaseException) -> int:
    # a damaged configuration may have several faults: each is a line of its own
    lines = sentence.splitlines() if isinstance(error, ConfigError) else [sentence]
    for line in lines:
        output.message(f"lollms: error: {one_line(line)}")
    if os.environ.get("LOLLMS_DEBUG", "") not in ("", "0"):
        import traceback

        output.message("".join(traceback.format_exception(error)))
    return code


def _click_sentence(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    help_command = f"{context.command_path} --help" if context is not None else "lollms --help"
    return f"{error.format_message()} (`{help_command}` shows how.)"


def _defect(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}."
    return f"Something that should not happen did: {type(error).__name__}: {error}."
