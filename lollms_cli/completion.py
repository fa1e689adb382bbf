"""`lollms completion SHELL`: the script that teaches a shell to complete our commands, flags, models and files.

The script runs `lollms` with `_LOLLMS_COMPLETE=SHELL_complete` at each Tab. For zsh and fish it is click's. Bash takes
`:` and `=` for the ends of words, which model names have within (`qwen3:8b`), so there the whole line is read here, and
what the shell has already set aside is cut off the answers. PowerShell is not among click's.
"""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)
from typing_extensions import override

from lollms_cli.output import Output

__all__ = ["VARIABLE", "answer", "completion"]

VARIABLE = "_LOLLMS_COMPLETE"

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line type value
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(_LOLLMS_LINE="${COMP_LINE:0:COMP_POINT}" _LOLLMS_WORD="${COMP_WORDS[COMP_CWORD]}" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null </dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null || complete -F %(complete_func)s %(prog_name)s
"""

_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object {
        if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { "$_" }
    })
    $env:_LOLLMS_LINE = $words -join "`n"
    $env:_LOLLMS_WORD = $wordToComplete
    $env:%(complete_var)s = 'powershell_complete'
    try {
        $null | & %(prog_name)s 2>$null | ForEach-Object {
            $type, $value, $help = $_ -split "`t", 3
            if ($type -eq 'plain') {
                if (-not $help) { $help = $value }
                [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
            }
        }
    } finally {
        Remove-Item Env:_LOLLMS_LINE, Env:_LOLLMS_WORD, Env:%(complete_var)s -ErrorAction SilentlyContinue
    }
}
"""


class _Bash(BashComplete):
    source_template = _BASH

    @override
    def source(self) -> str:
        return ShellComplete.source(self)  # without starting a bash to ask for its version

    @override
    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("_LOLLMS_LINE", "")
        words = split_arg_string(line)
        whole = bool(line) and line[-1].isspace() and not line.endswith("\\ ")
        incomplete = "" if whole or len(words) < 2 else words.pop()
        word = os.environ.get("_LOLLMS_WORD", "")
        typed = "" if word in (":", "=") else word
        self._set_aside = incomplete[: -len(typed)] if typed and incomplete.endswith(typed) else ""
        if not typed and incomplete.endswith((":", "=")):
            self._set_aside = incomplete
        return words[1:], incomplete

    @override
    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{str(item.value).removeprefix(self._set_aside)}"


class _PowerShell(ShellComplete):
    name = "powershell"
    source_template = _POWERSHELL

    @override
    def get_completion_args(self) -> tuple[list[str], str]:
        return os.environ.get("_LOLLMS_LINE", "").splitlines()[1:], os.environ.get("_LOLLMS_WORD", "")

    @override
    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type}\t{item.value}\t{' '.join((item.help or '').split())}"


_SHELLS: dict[str, type[ShellComplete]] = {
    "bash": _Bash,
    "zsh": ZshComplete,
    "fish": FishComplete,
    "powershell": _PowerShell,
}


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(list(_SHELLS)))
def completion(shell: str) -> None:
    """Print the script with which SHELL completes commands, flags, models, bindings and files.

    \b
    bash:
      lollms completion bash > ~/.local/share/bash-completion/completions/lollms
    zsh, with ~/.zfunc in fpath before compinit:
      lollms completion zsh > ~/.zfunc/_lollms
    fish:
      lollms completion fish > ~/.config/fish/completions/lollms.fish
    PowerShell, in $PROFILE:
      lollms completion powershell | Out-String | Invoke-Expression
    """
    from lollms_cli.commands import cli

    Output().answer(_SHELLS[shell](cli, {}, "lollms", VARIABLE).source().rstrip("\n") + "\n")


def answer(cli: click.Command, instruction: str) -> int:
    """Answer a shell that asks for completions with `bash_complete` and so on. Raises what the commands raise."""
    shell, _, what = instruction.partition("_")
    if shell not in _SHELLS or what != "complete":
        return 1
    found = _SHELLS[shell](cli, {}, "lollms", VARIABLE).complete()
    if found:
        Output().line(found)
    return 0
