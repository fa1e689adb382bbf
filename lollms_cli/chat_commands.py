"""What the commands of a chat do."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Mapping
from types import MappingProxyType

import click

from lollms_cli.attachments import read_attachments
from lollms_cli.chat_lines import Command, near_command
from lollms_cli.chat_session import Session, names_of
from lollms_cli.chat_settings import set_something, show_something, unset_something
from lollms_cli.chat_state import beginning_of
from lollms_cli.chat_transcript import path_of, read_transcript, to_json, to_markdown, write_transcript

__all__ = ["NARROW", "attach", "obey"]

_HELP = (
    ("/retry", "ask the last question again"),
    ("/undo", "take out the last question and its answer"),
    ("/clear", "begin a new conversation; settings stay"),
    ("/attach FILE", "send an image or a text file with the next message"),
    ("/model NAME", "let another model answer; /models lists them"),
    ("/set system TEXT", "the system prompt"),
    ("/set parameter NAME VALUE", "e.g. /set parameter temperature 0.2"),
    ("/set think, /set nothink", "show or hide the model's reasoning"),
    ("/set schema FILE", "answers must match a JSON Schema"),
    ("/set usage, /set nostream", "tokens after each answer; answers at once"),
    ("/unset NAME", "undo a /set"),
    ("/show", "model, settings and what was said (/show messages)"),
    ("/save FILE, /load FILE", "keep a conversation (.md or .json) and go on with it"),
    ("/bye", "leave; so does Ctrl-D"),
    ('"""', "begin and end a message of several lines"),
    ("//", "begin a message with a slash"),
    ("Ctrl-C", "stop an answer, or clear the line"),
)
NARROW = 72
"""Columns below which a terminal gets short lines."""


def obey(session: Session, command: Command) -> bool:
    """Do what a command says; returns whether the chat goes on. Raises `UsageError` or `LollmsError`, which change
    nothing.
    """
    if command.name == "bye":
        return False
    action = _ACTIONS.get(command.name)
    if action is None:
        near = near_command(command.word)
        meant = f"Did you mean /{near}?" if near else "/? lists them."
        raise click.UsageError(
            f"There is no command /{command.word}. {meant} To send it as a message, begin it with two slashes."
        )
    action(session, command.rest)
    return True


def attach(session: Session, rest: str) -> None:
    """`/attach FILE`: an image, or the words of a text file, for the next message."""
    if not rest:
        raise click.UsageError("Which file? /attach FILE")
    path = path_of(rest)
    if str(path) == "-":
        raise click.UsageError("Standard input is the conversation here: it cannot be attached. /attach FILE")
    found = read_attachments([str(path)])
    session.conversation.images += found.images
    session.conversation.texts += found.texts
    kind = found.images[0].mime if found.images else "text"
    session.output.note(f"{path.name} ({kind}) goes with the next message.")


def _help(session: Session, rest: str) -> None:
    width = shutil.get_terminal_size().columns
    column = max(len(name) for name, _ in _HELP) + 2
    for name, words in _HELP:
        if width >= NARROW:
            session.say(f"  {name:<{column}}{words}")
        else:
            session.say(f"  {name}")
            for line in textwrap.wrap(words, max(width - 6, 16)):
                session.say(f"      {line}")


def _clear(session: Session, rest: str) -> None:
    session.conversation.clear()
    session.output.note("A new conversation.")


def _undo(session: Session, rest: str) -> None:
    turn = session.conversation.undo()
    if turn is None:
        raise click.UsageError("There is nothing to undo: the conversation is empty.")
    session.output.note(f"Taken out: {beginning_of(turn.question.text)}")


def _retry(session: Session, rest: str) -> None:
    question = session.conversation.to_retry()
    if question is None:
        raise click.UsageError("There is no question to ask again yet.")
    session.ask(question)


def _model(session: Session, rest: str) -> None:
    if not rest:
        show_something(session, "model")
        return
    name = str(path_of(rest)) if rest[0] in "~\"'" else rest
    session.use_model(name)
    session.output.note(f"{name} answers from now on. The conversation stays.")


def _models(session: Session, rest: str) -> None:
    session.known_models = names_of(session.client.list_models())
    current = session.backend.arguments.get("model_name")
    for name in session.known_models:
        session.say(f"{'*' if name == current else ' '} {name}")
    if not session.known_models:
        session.say("There are no models.")


def _save(session: Session, rest: str) -> None:
    force = rest.startswith("-f ")
    name = rest[3:].strip() if force else rest
    if not name:
        raise click.UsageError(
            "Where to? /save FILE; a name that ends with .json keeps images too, else it is Markdown."
        )
    turns, system = session.conversation.turns, session.settings.system
    if not turns:
        raise click.UsageError("There is nothing to save yet.")
    path = path_of(name)
    as_json = path.suffix.lower() == ".json"
    write_transcript(path, (to_json if as_json else to_markdown)(system, turns), force=force)
    session.output.note(f"Saved in {path}.")
    if not as_json and any(turn.question.images for turn in turns):
        session.output.note("The images are not in it; a name that ends with .json keeps them.")


def _load(session: Session, rest: str) -> None:
    if not rest:
        raise click.UsageError("Which file? /load FILE")
    found = read_transcript(path_of(rest))
    replaced = len(session.conversation.turns)
    session.conversation.clear()
    session.conversation.turns, session.conversation.failed = found.turns, found.unanswered
    session.settings.system = found.system or session.settings.system
    more = f" They replace {replaced}." if replaced else ""
    session.output.note(f"Loaded {len(found.turns)} turn{'' if len(found.turns) == 1 else 's'}.{more}")
    if found.unanswered is not None:
        session.output.note("The last question has no answer; /retry asks it.")


_ACTIONS: Mapping[str, Callable[[Session, str], None]] = MappingProxyType(
    {
        "attach": attach,
        "clear": _clear,
        "help": _help,
        "load": _load,
        "model": _model,
        "models": _models,
        "retry": _retry,
        "save": _save,
        "set": set_something,
        "show": show_something,
        "undo": _undo,
        "unset": unset_something,
    }
)
