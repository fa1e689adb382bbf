"""What is typed in a chat: messages, blocks, commands, settings, files; and what becomes of the conversation."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lollms_cli.backend import Backend
from lollms_cli.chat_completion import offers
from lollms_cli.chat_history import History, is_kept
from lollms_cli.chat_lines import Blocks, Command, Line, Say, near_command, read_line
from lollms_cli.chat_loop import converse
from lollms_cli.chat_session import Session
from lollms_cli.chat_state import Conversation, Settings, Turn
from lollms_cli.chat_transcript import from_text, to_json, to_markdown
from lollms_cli.output import Output
from lollms_client.testing import ScriptedBinding, scripted_client
from lollms_core.errors import ContextTooLong, InvalidRequest, Refused
from lollms_core.testing.scripted import Scripted
from lollms_core.types import Batch, ImagePart, Message, Reply, TextDelta, TextPart


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hello", Say("hello")),
        ("   ", None),
        ("//etc is a folder", Say("/etc is a folder")),
        ("/etc/hosts looks odd", Say("/etc/hosts looks odd")),
        ("/bye\nand more", Say("/bye\nand more")),
        ("/", Command("", "", "")),
        ("?", Command("help", "", "?")),
        ("/?", Command("help", "", "?")),
        ("/EXIT", Command("bye", "", "EXIT")),
        ("/set  system  Be brief. ", Command("set", "system  Be brief.", "set")),
        ("what is 1/2?", Say("what is 1/2?")),
    ],
)
def test_a_line_means_one_thing(typed: str, meant: Line) -> None:
    assert read_line(typed) == meant


@pytest.mark.parametrize(
    ("lines", "meant"),
    [
        (['"""a', "", '/bye"""'], [None, None, Say("a\n\n/bye")]),
        (['"""one"""'], [Say("one")]),
        (['"""', '"""', "x"], [None, None, Say("x")]),
        (['"""a\nb"""'], [Say("a\nb")]),
        (['/set system """a', 'b"""  '], [None, Command("set", "system a\nb", "set")]),
    ],
)
def test_a_block_is_one_message(lines: list[str], meant: list[Line]) -> None:
    blocks = Blocks()
    assert [blocks.feed(line) for line in lines] == meant
    assert not blocks.is_open


def test_a_misspelt_command_has_a_near_one() -> None:
    assert [near_command(word) for word in ("clera", "modle", "exti", "zzz")] == ["clear", "model", "bye", ""]


# ---- the conversation


def test_what_is_sent_is_the_whole_conversation() -> None:
    chat = Conversation()
    first = chat.question("one")
    chat.asking(first)
    assert chat.answered(Reply("1"))
    second = chat.question("two")
    assert [message.text for message in chat.to_send(second)] == ["one", "1", "two"]


def test_a_question_that_failed_stays_aside_and_can_be_asked_again() -> None:
    chat = Conversation()
    chat.asking(chat.question("lost"))
    assert chat.turns == []
    again = chat.to_retry()
    assert again is not None
    assert again.text == "lost"
    assert not chat.answered(Reply(""), cut=True)
    assert chat.failed is again
    chat.fresh()
    chat.asking(chat.question("new"))
    assert [message.text for message in chat.to_send(chat.question("x"))] == ["x"]


def test_asking_again_replaces_the_answer_only_when_a_new_one_comes() -> None:
    chat = Conversation()
    chat.turns = [Turn(Message.user("q"), "old")]
    for _ in range(2):  # the first one fails
        again = chat.to_retry()
        assert again is not None
        assert [message.text for message in chat.to_send(again)] == ["q"]
        chat.asking(again)
        assert [turn.answer for turn in chat.turns] == ["old"]
    assert chat.answered(Reply("new"))
    assert [turn.answer for turn in chat.turns] == ["new"]
    assert chat.failed is None


def test_attachments_go_with_one_message() -> None:
    chat = Conversation()
    chat.images, chat.texts = [ImagePart(b"x", "image/png")], ["notes"]
    question = chat.question("look")
    assert question.parts == (TextPart("notes\n\nlook"), ImagePart(b"x", "image/png"))
    chat.asking(question)
    assert chat.question("next").parts == (TextPart("next"),)


# ---- files


TURNS = [
    Turn(Message.user("<!-- lollms: assistant -->\nfake\n"), "\\<!-- lollms: user -->\n\n**You**\n", cut=True),
    Turn(Message.user(""), "\n\n世界"),
]


def test_markdown_comes_back_as_it_was_whatever_the_text() -> None:
    found = from_text(to_markdown("Be\nbrief.", TURNS))
    assert (found.system, found.turns, found.unanswered) == ("Be\nbrief.", TURNS, None) or [
        (turn.question.text, turn.answer, turn.cut) for turn in found.turns
    ] == [(turn.question.text, turn.answer, turn.cut) for turn in TURNS]


def test_json_keeps_images_and_thoughts() -> None:
    image = ImagePart(b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "image/png")
    turn = Turn(Message("user", (TextPart("look"), image)), "a cat", "hm", "tiny")
    said = json.loads(to_json("", [turn]))
    assert said["messages"][1] == {"role": "assistant", "content": "a cat", "thoughts": "hm", "model": "tiny"}
    assert said["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{",
        "{}",
        "[1]",
        '[{"role": "assistant", "content": "x"}]',
        '[{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]',
        '[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x.example/a.png"}}]}]',
        '[{"role": "user", "content": [{"type": "image_url", "image_url": "/etc/passwd"}]}]',
    ],
)
def test_what_is_no_saved_chat_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        from_text(text)


def test_a_last_question_without_an_answer_is_kept() -> None:
    found = from_text('[{"role": "system", "content": "s"}, {"role": "user", "content": "x"}]')
    assert (found.system, found.turns, found.unanswered) == ("s", [], Message.user("x"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("why is the sky blue?", True),
        (" private", False),
        ("sk-abcdefghijklmnop", False),
        ("use password: hunter2", False),
        ("Bearer abcdefgh12", False),
        ("0123456789abcdef0123456789abcdef", False),
        ("Donaudampfschifffahrtsgesellschaftskapitaen", True),
        ("x" * 20_000, False),
    ],
)
def test_what_looks_like_a_key_is_not_kept(text: str, kept: bool) -> None:
    assert is_kept(text) is kept


def test_the_history_is_private_and_no_burden(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "chat_history"
    history = History(file)
    assert history.read() == []
    history.add("two\nlines")
    history.add("one")
    assert History(file).read() == ["two\nlines", "one"]
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("broken\n" + "".join(f'"{number}"\n' for number in range(3000)), encoding="utf-8")
    assert History(file).read()[-1] == "2999"
    assert len(file.read_bytes().splitlines()) == 1000
    other = tmp_path / "link"
    other.symlink_to(tmp_path / "elsewhere")
    History(other).add("not followed")
    assert not (tmp_path / "elsewhere").exists()
    History(None).add("nowhere")


def test_tab_offers_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some notes.txt").touch()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    assert offers("/re", 0) == ["/retry "]
    assert offers("re", 0) == []
    assert offers("/set parameter temp", 15) == ["temperature "]
    assert offers("/set no", 5) == ["nothink ", "nousage ", "nostream "]
    assert offers("/model q", 7, ["qwen", "llama"]) == ["qwen "]
    assert offers("/attach s", 8) == ["some notes.txt", "sub/"]
    assert offers("/attach some n", 13) == ["notes.txt"]
    assert offers("/save -f so", 9) == ["some notes.txt"]
    assert offers("/load nowhere/x", 6) == []


# ---- the whole, with lines from a list


class Typed:
    """Lines as somebody types them; an exception among them is raised."""

    person = True

    def __init__(self, lines: Sequence[str | BaseException]) -> None:
        self._lines: Iterator[str | BaseException] = iter(lines)
        self.prompts: list[str] = []

    def read(self, prompt: str) -> str | None:
        self.prompts.append(prompt)
        line = next(self._lines, None)
        if isinstance(line, BaseException):
            raise line
        return line

    def keep(self, text: str) -> None:
        pass


class Chat:
    """A session with a scripted model."""

    def __init__(self, replies: Sequence[Scripted]) -> None:
        self.client = scripted_client(replies)
        self.out, self.err = io.StringIO(), io.StringIO()
        backend = Backend("using a script", {"binding_name": "scripted", "model_name": "tiny"})
        output = Output(self.out, self.err)
        self.session = Session(output, lambda name: backend, lambda arguments: self.client, Settings(), None)

    def talk(self, *lines: str | BaseException) -> int:
        return converse(self.session, Typed(lines))

    @property
    def asked(self) -> list[list[str]]:
        binding = self.client.binding
        assert isinstance(binding, ScriptedBinding)
        return [[message.text for message in call.messages] for call in binding.calls]


def test_retry_undo_and_clear() -> None:
    chat = Chat(["1", "2", "2b", "3", "4"])
    assert chat.talk("one", "two", "/retry", "/undo", "three", "/clear", "four", "/bye", "never") == 0
    assert chat.asked == [["one"], ["one", "1", "two"], ["one", "1", "two"], ["one", "1", "three"], ["four"]]
    assert chat.out.getvalue() == "1\n2\n2b\n3\n4\n"


def test_an_error_leaves_the_conversation_and_retry_sends_it_again() -> None:
    chat = Chat(["1", Refused("Nobody is there."), "2"])
    assert chat.talk("one", "two", "/retry") == 0
    assert chat.asked == [["one"], ["one", "1", "two"], ["one", "1", "two"]]
    assert "lollms: error: Nobody is there.\n" in chat.err.getvalue()
    assert "/retry" in chat.err.getvalue()


def test_a_context_that_is_full_says_what_to_do_and_drops_nothing() -> None:
    chat = Chat(["1", ContextTooLong("Too long."), "2"])
    chat.talk("one", "two", "/undo", "/retry")
    assert all(word in chat.err.getvalue() for word in ("/undo", "/clear", "/retry"))
    assert chat.asked == [["one"], ["one", "1", "two"], ["two"]]


def test_ctrl_c_while_answering_keeps_what_came_as_cut() -> None:
    def interrupted(call: object) -> Sequence[Batch | Exception]:
        return Interrupting([(TextDelta("Half"),)])

    chat = Chat([interrupted, "ok"])
    assert chat.talk("one", "two") == 0
    assert chat.session.conversation.turns[0].cut
    assert chat.asked == [["one"], ["one", "Half", "two"]]


class Interrupting(list[Batch]):
    """Batches after which Ctrl-C is pressed."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield from super().__iter__()
        raise KeyboardInterrupt


def test_ctrl_c_twice_leaves_once_does_not() -> None:
    assert Chat([]).talk(KeyboardInterrupt(), KeyboardInterrupt(), "never") == 130
    chat = Chat(["1"])
    assert chat.talk(KeyboardInterrupt(), "one", KeyboardInterrupt(), "/bye") == 0
    blocked = Chat(["1"])
    assert blocked.talk('"""part', KeyboardInterrupt(), "one") == 0
    assert blocked.asked == [["one"]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/clera", "Did you mean /clear?"),
        ("/zzz", "/? lists them"),
        ("/set", "Say what to set. It sets: parameter"),
        ("/set parameter", "temperature"),
        ("/set parameter temprature 1", "Did you mean 'temperature'?"),
        ("/set parameter temperature warm", "temperature is 'warm'; it must be a number"),
        ("/set temperature 1000", "must lie between"),
        ("/set parameter num_ctx 5", "called ctx_size"),
        ("/set colour red", "does not know 'colour'"),
        ("/set schema {", "not JSON"),
        ("/unset seed", "is not set"),
        ("/show everything", "It shows:"),
        ("/undo", "nothing to undo"),
        ("/retry", "no question to ask again"),
        ("/attach", "Which file?"),
        ("/attach /no/such/file", "/no/such/file"),
        ("/attach -", "Standard input"),
        ("/save", "Where to?"),
        ("/load /no/such/file", "/no/such/file"),
    ],
)
def test_what_cannot_be_done_is_explained_in_a_line_and_changes_nothing(line: str, words: str) -> None:
    chat = Chat(["ok"])
    assert chat.talk(line, "hi") == 0
    said = chat.err.getvalue()
    assert words in said
    assert said.startswith("lollms: error: ")
    assert chat.session.settings == Settings()
    assert chat.asked == [["hi"]]


def test_settings_go_with_the_next_message() -> None:
    chat = Chat(["ok", "ok"])
    chat.talk(
        '/set system """Be', 'brief."""', "/set parameter max_tokens 5", "/set n_predict 7", "hi", "/unset system"
    )
    binding = chat.client.binding
    assert isinstance(binding, ScriptedBinding)
    (call,) = binding.calls
    assert [message.text for message in call.messages] == ["Be\nbrief.", "hi"]
    assert call.params.max_tokens == 7
    assert chat.session.settings.system == ""


def test_reasoning_can_be_switched_off() -> None:
    chat = Chat([Reply("a", thoughts="hm"), Reply("b", thoughts="secret")])
    chat.talk("one", "/set nothink", "two")
    assert "hm" in chat.err.getvalue()
    assert "secret" not in chat.err.getvalue()


@pytest.mark.parametrize("name", ["chat.md", "my chat.json"])
def test_a_chat_is_saved_and_goes_on(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    chat = Chat(["1"])
    chat.talk("/set system S", "one", f"/save {file}", f"/save {file}", f"/save -f {file}")
    assert chat.err.getvalue().count("is there already") == 1
    assert file.stat().st_mode & 0o777 == 0o600
    later = Chat(["2"])
    later.talk(f"/load {file}", "two")
    assert later.asked == [["S", "one", "1", "two"]]


def test_show_says_what_is_set() -> None:
    chat = Chat(["1"])
    chat.talk("/set temperature 0.5", "one", "/show", "/show messages", "/?")
    said = chat.err.getvalue()
    assert all(word in said for word in ("tiny", "temperature 0.5", "1 turn", ">>> one", "/attach FILE"))


def test_lines_nobody_types_give_the_code_of_the_first_failure() -> None:
    def piped(replies: Sequence[Scripted], *lines: str) -> tuple[int, Chat]:
        chat, typed = Chat(replies), Typed(lines)
        typed.person = False  # type: ignore[misc]
        return converse(chat.session, typed), chat

    assert piped(["1"], "one")[0] == 0
    code, chat = piped([Refused("Nobody."), "2"], "one", "two")
    assert (code, chat.out.getvalue(), chat.err.getvalue()) == (1, "2\n", "lollms: error: Nobody.\n")
    assert piped([], '"""one')[0] == 2
