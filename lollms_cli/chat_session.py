"""A chat in progress: who answers, what was said, what is set; one question asked and its answer kept."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lollms_cli.chat_state import Conversation, Settings
from lollms_cli.output import Output, one_line
from lollms_cli.showing import Shower, asking, say_remarks, usage_words
from lollms_core.errors import ContextTooLong, LollmsError, UnsupportedFeature, meaning

if TYPE_CHECKING:
    from lollms_cli.backend import Backend
    from lollms_client import LollmsClient
    from lollms_core.fold import ReplyFold
    from lollms_core.types import Message, Reply

__all__ = ["Chooser", "Session", "names_of"]

Chooser = Callable[[str | None], "Backend"]
"""From a model's name to who answers with it."""


class Session:
    """The state that commands change. `person` says whether somebody is there to read what is said about it."""

    def __init__(
        self,
        output: Output,
        choose: Chooser,
        open_client: Callable[[dict[str, Any]], LollmsClient],
        settings: Settings,
        model: str | None,
    ) -> None:
        """Chooses who answers; nothing is asked yet. Raises what `choose` raises."""
        self.output = output
        self.settings = settings
        self.conversation = Conversation()
        self.person = True
        self.code = 0
        self.known_models: list[str] = []
        self._choose = choose
        self._open_client = open_client
        self.backend = choose(model)
        self.client = open_client(self.backend.arguments)

    def use_model(self, name: str) -> None:
        """Let another model answer from now on. Raises `LollmsError`; then everything stays as it was."""
        backend = self._choose(name)
        client = self._open_client(backend.arguments)
        try:
            if not backend.is_engine:
                self._refuse_unknown(client, name)
        except BaseException:
            client.close()
            raise
        before, self.backend, self.client = self.client, backend, client
        before.close()

    def _refuse_unknown(self, client: LollmsClient, name: str) -> None:
        """Raises `UsageError` for a model that who answers does not list; some list none."""
        try:
            names = names_of(client.list_models())
        except UnsupportedFeature:
            return
        if names and name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.4)
            meant = f"Did you mean {near[0]}?" if near else "/models lists those that there are."
            raise click.UsageError(f"There is no model {name}. {meant}")
        self.known_models = names

    def close(self) -> None:
        """End connections and engines."""
        self.client.close()

    def say(self, text: str) -> None:
        """A line for the user, on standard error."""
        self.output.message(text)

    def fail(self, error: LollmsError | click.ClickException) -> None:
        """Tell an error in a line; the chat goes on, and its exit code remembers the first one."""
        if isinstance(error, LollmsError):
            from lollms_cli.backend import in_words_of_the_command

            told = in_words_of_the_command(error, self.backend)
            sentence, code = str(told) or told.code, meaning(told).exit_code
        else:
            sentence, code = error.format_message(), error.exit_code
        self.code = self.code or code
        self.say(f"lollms: error: {one_line(sentence)}")

    def ask(self, question: Message) -> None:
        """Send the conversation and a question, show the answer and keep it.

        An error is told. Ctrl-C stops the answer and what came is kept; where nobody is there it is raised again.
        """
        from lollms_core.fold import ReplyFold

        fold = ReplyFold()
        live = self.settings.stream
        show = Shower(self.output, live=live, as_json=False, reasoning=self.settings.thoughts)
        messages = self.conversation.to_send(question)
        self.conversation.asking(question)
        start = time.monotonic()
        try:
            with asking():
                reply = self._reply(messages, show, fold)
                show.finish(reply)
        except KeyboardInterrupt:
            self._stopped(show, fold)
        except LollmsError as error:
            show.broken()
            self.fail(error)
            self._what_to_do(error)
        else:
            self.conversation.answered(reply)
            self._about(reply, time.monotonic() - start)
        if self.person:
            self.say("")

    def _reply(self, messages: list[Message], show: Shower, fold: ReplyFold) -> Reply:
        settings = self.settings
        arguments: dict[str, Any] = {"system": settings.system or None, "schema": settings.schema, **settings.params}
        if not settings.stream and self.backend.is_server:
            return self.client.complete(messages, **arguments)
        with self.client.stream(messages, **arguments) as running:
            for batch in running.batches():
                fold.add(batch)
                show.batch(batch)
            return running.result()

    def _stopped(self, show: Shower, fold: ReplyFold) -> None:
        show.interrupted()
        kept = self.conversation.answered(fold.done("cancelled"), cut=True)
        if not self.person:
            raise KeyboardInterrupt
        if kept:
            self.output.note("lollms: stopped. What came is kept; /retry asks again, /undo takes it out.")
        else:
            self.output.note("lollms: stopped before an answer came. /retry asks again.")

    def _what_to_do(self, error: LollmsError) -> None:
        if not self.person:
            return
        if not isinstance(error, ContextTooLong):
            self.output.note("lollms: the conversation is as it was before; /retry asks again.")
        elif self.conversation.turns:
            self.output.note(
                "lollms: the conversation is too long for this model. /undo takes out the last turn, /clear all of "
                "them; then /retry asks again."
            )
        else:
            self.output.note("lollms: the message alone is too long for this model. Send a shorter one.")

    def _about(self, reply: Reply, seconds: float) -> None:
        params = self.settings.params
        limit = params.get("max_tokens", params.get("n_predict"))
        say_remarks(self.output, reply, limit, "/set parameter max_tokens NUMBER")
        if self.settings.schema is not None:
            from lollms_core.text.json_schema import SchemaChecker

            try:
                SchemaChecker(self.settings.schema).value(reply.text)
            except ValueError as error:  # also `InvalidRequest`, for a schema that is none
                self.say(f"lollms: the answer does not match the schema: {one_line(str(error))}")
        if self.settings.usage:
            self.say(f"lollms: {usage_words(reply, seconds)}")


def names_of(models: list[Any]) -> list[str]:
    """The names in what `list_models` gives."""
    names = [each.get("model_name") or each.get("name") if isinstance(each, dict) else each for each in models]
    return [str(name) for name in names if name]
