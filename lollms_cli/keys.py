"""`lollms keys`: the user's keys for providers. A key is typed unseen or piped in; no flag takes one."""

from __future__ import annotations

import difflib
import os
import sys

import click
from typing_extensions import override

from lollms_cli.completing import complete_providers
from lollms_cli.output import Output
from lollms_core.errors import InvalidRequest, NotFound

__all__ = ["keys"]

_LIKE_A_KEY = ("sk-", "gsk_", "hf_", "xai-", "r8_", "aiza", "ghp_", "pk-")
_LONGEST_NAME = 32
_MOST = 8192
_ON_THE_LINE = (
    "A key does not stand on the command line, where others and the shell's history see it: write only the name of "
    "the provider, and the key is asked for. If you have typed your key, it is now in that history."
)


class _Set(click.Command):
    """The command, which refuses flags itself: click would repeat what it does not know, and it may be the key."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing and any(each.startswith("-") and each not in ("-h", "--help") for each in args):
            raise click.UsageError(_ON_THE_LINE, ctx)
        return super().parse_args(ctx, args)


@click.group(short_help="Keep keys for providers: set, list, path, remove.")
def keys() -> None:
    """Keep keys for providers, such as openai, in a file that only you can read.

    A binding uses the key of its environment variable first (such as OPENAI_API_KEY), then the one kept here. A key
    is sent to the provider's own address only. It is never shown again.
    """


@keys.command("set", cls=_Set, short_help="Keep a key: typed unseen, or piped in.")
@click.argument("provider", shell_complete=complete_providers)
@click.argument("rest", nargs=-1, metavar="")
def set_key(provider: str, rest: tuple[str, ...]) -> None:
    """Keep the key for PROVIDER, the name of a binding such as openai.

    \b
    The key is asked for and not shown, or read from standard input:
      lollms keys set openai
      pass show openai | lollms keys set openai
    """
    if rest or _is_like_a_key(provider):  # without repeating what was typed: it may be the key
        raise click.UsageError(_ON_THE_LINE)
    from lollms_runtime.provider_keys import provider_key_names, provider_keys_file, save_provider_key

    provider_keys_file()  # say that there is no home folder before anybody types
    had = provider.strip().lower() in provider_key_names()
    path = save_provider_key(provider, _read_key(provider))
    output = Output()
    output.message(f"lollms: the key for {provider.strip().lower()} was {'replaced' if had else 'kept'} in {path}")
    _remark_on_name(output, provider.strip().lower())


@keys.command("list", short_help="List the providers with a key, by name.")
@click.option("--json", "json_", is_flag=True, help="Print the names as JSON.")
def list_keys(json_: bool) -> None:
    """List the providers for which a key is kept. The keys are not shown."""
    from lollms_cli.tables import as_json, as_table
    from lollms_runtime.provider_keys import provider_key_names

    names, output = provider_key_names(), Output()
    if json_:
        as_json(output, {"keys": names})
    else:
        as_table(
            output, ["provider"], [[name] for name in names], "lollms: no key is kept. See: lollms keys set --help"
        )


@keys.command("path", short_help="Show the file of the keys.")
def path_of_keys() -> None:
    """Show the path of the file that holds the keys."""
    from lollms_runtime.provider_keys import provider_keys_file

    Output().line(os.fspath(provider_keys_file()))


@keys.command("remove", short_help="Forget a key.")
@click.argument("provider", shell_complete=complete_providers)
def remove(provider: str) -> None:
    """Forget the key for PROVIDER."""
    from lollms_runtime.provider_keys import remove_provider_key

    if _is_like_a_key(provider):
        raise InvalidRequest("That is not the name of a provider. `lollms keys list` shows the names.")
    if not remove_provider_key(provider):
        raise NotFound(f"No key is kept for {provider!r}. `lollms keys list` shows the names.")
    Output().message(f"lollms: the key for {provider.strip().lower()} was removed")


def _is_like_a_key(text: str) -> bool:
    return len(text.strip()) > _LONGEST_NAME or text.strip().lower().startswith(_LIKE_A_KEY)


def _read_key(provider: str) -> str:
    if sys.stdin is None:
        raise click.UsageError("There is no terminal to type the key on. Pipe it in: ... | lollms keys set PROVIDER")
    if sys.stdin.isatty():
        typed: str = click.prompt(f"Key for {provider}", hide_input=True, err=True)
        return typed
    try:
        return sys.stdin.buffer.read(_MOST).decode("utf-8-sig")
    except (UnicodeDecodeError, OSError):
        raise InvalidRequest("What is piped in is not a key. Nothing was saved.") from None


def _remark_on_name(output: Output, provider: str) -> None:
    """A key under a name that nobody looks up helps nobody."""
    from lollms_client.lollms_llm_binding import LollmsLLMBindingManager

    known = [*LollmsLLMBindingManager("llm_bindings").get_available_bindings(), "huggingface"]
    if provider in known:
        return
    near = difflib.get_close_matches(provider, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
    output.message(f"lollms: no binding of this installation is called {provider}: {hint}")
