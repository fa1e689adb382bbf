"""`/set`, `/unset` and `/show`: the settings of a chat, changed and shown."""

from __future__ import annotations

import difflib
import json

import click

from lollms_cli.chat_completion import PARAMETERS, SWITCHES
from lollms_cli.chat_session import Session
from lollms_cli.chat_state import Settings, beginning_of
from lollms_cli.schemas import read_schema
from lollms_core.text.json_schema import SchemaChecker

__all__ = ["set_something", "show_something", "unset_something"]

_ELSEWHERE = {"num_ctx": "ctx_size", "num_predict": "max_tokens", "repeat_last": "repeat_last_n"}
_SWITCHED = {
    "think": ("thoughts", True, "The model's reasoning is shown."),
    "nothink": ("thoughts", False, "The model's reasoning is not shown."),
    "usage": ("usage", True, "Tokens and seconds are shown after each answer."),
    "nousage": ("usage", False, "Tokens and seconds are not shown."),
    "stream": ("stream", True, "Answers are shown as they come."),
    "nostream": ("stream", False, "Answers are shown when they are complete."),
}
_SAME = {
    "verbose": "usage",
    "quiet": "nousage",
    "param": "parameter",
    "parameters": "parameter",
    "noformat": "noschema",
}


def set_something(session: Session, rest: str) -> None:
    """`/set`. Raises `UsageError` or `LollmsError` for what cannot be set, saying what can."""
    word, _, value = rest.partition(" ")
    what = _SAME.get(word.lower(), word.lower())
    value = value.strip()
    if what in _SWITCHED:
        name, state, sentence = _SWITCHED[what]
        setattr(session.settings, name, state)
        session.output.note(sentence)
    elif what == "system":
        session.settings.system = value
        session.output.note("The system prompt is set." if value else "There is no system prompt now.")
    elif what == "schema" and value:
        schema = read_schema(value)
        SchemaChecker(schema)
        session.settings.schema = schema
        session.output.note("Answers must match the schema.")
    elif what == "noschema":
        unset_something(session, "schema")
    elif what == "parameter":
        name, _, words = value.partition(" ")
        _set_parameter(session, name, words.strip())
    elif what in PARAMETERS or what == "n_predict":
        _set_parameter(session, what, value)
    else:
        near = difflib.get_close_matches(what, [*SWITCHES, *PARAMETERS], 1)
        hint = f" Did you mean `/set {near[0]}`?" if near else ""
        said = f"/set does not know {word!r}.{hint}" if word else "Say what to set."
        raise click.UsageError(f"{said} It sets: {', '.join(SWITCHES)}.")


def _set_parameter(session: Session, name: str, words: str) -> None:
    from lollms_cli.prompt import read_options
    from lollms_client.parameters import checked_params

    if name in _ELSEWHERE:
        raise click.UsageError(f"The parameter is called {_ELSEWHERE[name]} here.")
    if not name or not words:
        raise click.UsageError(f"/set parameter NAME VALUE. The parameters are: {', '.join(PARAMETERS)}.")
    given = read_options([(name, words)])
    unknown = checked_params(given).extra
    _forget_limit(session.settings, next(iter(given)))
    session.settings.params.update(given)
    for each, value in given.items():
        more = " Nobody here knows it; it is passed on as it is." if each in unknown else ""
        session.output.note(f"{each} is {json.dumps(value)}.{more}")


def _forget_limit(settings: Settings, name: str) -> None:
    """`max_tokens` and `n_predict` are one parameter: the later word counts."""
    other = {"max_tokens": "n_predict", "n_predict": "max_tokens"}.get(name)
    if other is not None:
        settings.params.pop(other, None)


def unset_something(session: Session, rest: str) -> None:
    """`/unset NAME`: back to what the model or server has. Raises `UsageError` for what is not set."""
    name = rest.strip().replace("-", "_")
    settings = session.settings
    if name == "system":
        settings.system = ""
    elif name == "schema":
        settings.schema = None
    elif name in settings.params:
        del settings.params[name]
    else:
        known = ", ".join(["system", "schema", *settings.params])
        raise click.UsageError(f"{name or 'Nothing'!r} is not set. What can be unset: {known}.")
    session.output.note(f"{name} is no longer set.")


def show_something(session: Session, rest: str) -> None:
    """`/show` all, or `/show model`, `system`, `parameters`, `messages`. Raises `UsageError`."""
    parts = {"model": _model, "system": _system, "parameters": _parameters, "messages": _messages}
    what = rest.strip().lower()
    if not what:
        for part in (_model, _system, _parameters, _summary):
            part(session)
        return
    near = difflib.get_close_matches(what, parts, 1, 0.5)
    if not near:
        raise click.UsageError(f"/show does not know {what!r}. It shows: {', '.join(parts)}.")
    parts[near[0]](session)


def _model(session: Session) -> None:
    backend = session.backend
    name = backend.arguments.get("model_name") or "the default one"
    address = backend.arguments.get("host_address")
    where = "on this machine" if backend.is_engine else f"at {address}" if address else ""
    session.say(f"model       {name} {where}".rstrip())
    session.say(f"binding     {backend.arguments.get('binding_name')}")


def _system(session: Session) -> None:
    session.say(f"system      {session.settings.system or 'none'}")


def _parameters(session: Session) -> None:
    settings = session.settings
    params = ", ".join(f"{name} {json.dumps(value)}" for name, value in settings.params.items())
    session.say(f"parameters  {params or 'none set; the model has its own'}")
    if settings.schema is not None:
        session.say(f"schema      {beginning_of(json.dumps(settings.schema))}")
    shown = "shown" if settings.thoughts else "not shown"
    session.say(f"reasoning   {shown}")


def _summary(session: Session) -> None:
    conversation = session.conversation
    count = len(conversation.turns)
    session.say(f"messages    {count} turn{'' if count == 1 else 's'}")
    waiting = len(conversation.images) + len(conversation.texts)
    if waiting:
        session.say(f"attached    {waiting} file{'' if waiting == 1 else 's'} for the next message")
    if conversation.failed is not None:
        session.say(f"unanswered  {beginning_of(conversation.failed.text)} (/retry asks again)")


def _messages(session: Session) -> None:
    for turn in session.conversation.turns:
        session.say(f">>> {turn.question.text}")
        session.say(f"{turn.answer}{' [cut]' if turn.cut else ''}\n")
    if not session.conversation.turns:
        session.say("There are no messages yet.")
