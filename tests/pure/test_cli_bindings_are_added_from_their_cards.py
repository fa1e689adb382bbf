"""`lollms bindings add`: the card says what is asked for, the loader's own checks decide, and no secret is ever shown.

What people wrote into their configuration stays as they wrote it; one line is added.
"""

from __future__ import annotations

import io
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from lollms_cli import bindings_add, bindings_form, bindings_made
from lollms_cli.bindings_files import alone, instance_text, scalar, with_setting
from lollms_cli.bindings_form import ask_settings, questions_of, read_settings, value_of, wrong_with
from lollms_cli.commands import cli
from lollms_cli.main import main
from lollms_core.config.schema import Leaf, Section, parse_schema, validate
from lollms_core.errors import ConfigError
from lollms_runtime.yaml_file import parse_yaml
from lollms_server.core.bindings.discovery import SHIPPED, discover
from lollms_server.core.bindings.instances import load_instance
from lollms_server.core.config import load_config
from lollms_server.core.first_start import main_config_text

SECRET = "sk-0123456789abcdef"
NAMELIKE = "0123456789abcdefABCDEF0123456789"  # a key that could be a name, too
RAW: dict[str, Any] = {
    "type": {"type": "str", "default": "some_binding"},
    "model": {"type": "str", "nullable": True, "default": "one", "help": "The\nmodel."},
    "api_key": {"type": "str", "nullable": True, "default": None, "secret": True},
    "size": {"type": "int", "default": 4096, "min_val": 64, "max_val": 9999},
    "warm": {"type": "float", "default": 0.5},
    "safe": {"type": "bool", "default": True},
    "level": {"type": "str", "default": "low", "options": ["low", "high"]},
    "places": {"type": "list", "default": []},
    "more": {"type": "section", "schema": {"deep": {"type": "str", "default": ""}, "other": {"type": "int"}}},
}
SCHEMA = parse_schema({**RAW, "more": {"type": "section", "schema": {"deep": {"type": "str", "default": ""}}}})
MAIN = "security:\n  allowed_api_keys: []\nbindings_map: {}\n"


@pytest.fixture
def config_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path / "home"))
    return configured(tmp_path, main_config_text("sha256:" + "0" * 64).replace("lollms_nano: llama", "nano: llama"))


def configured(folder: Path, text: str) -> Path:
    config = folder / "lollms_configs"
    (config / "bindings").mkdir(parents=True, mode=0o700)
    config.chmod(0o700)
    main_file = config / "main_config.yaml"
    main_file.write_text(text.replace("ttt_binding: lollms_nano", "ttt_binding: nano"), encoding="utf-8")
    main_file.chmod(0o600)
    return config


def add(config: Path, *arguments: str, piped: bytes = b"") -> tuple[int, str]:
    """The exit code, and all that was printed."""
    with pytest.MonkeyPatch.context() as patch:
        out, err = io.StringIO(), io.StringIO()
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped), encoding="utf-8"))
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        code = main(["bindings", "add", *arguments, "--config-dir", str(config)])
    return code, out.getvalue() + err.getvalue()


# ---- settings as they are written


def test_every_setting_of_a_card_is_a_question_in_its_order() -> None:
    names = [question.name for question in questions_of(SCHEMA)]
    assert names == ["model", "api_key", "size", "warm", "safe", "level", "places", "more.deep"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("model", "a=b", "a=b"),
        ("model", "", None),
        ("model", "null", None),
        ("size", " 64 ", 64),
        ("warm", "1", 1),
        ("warm", "-1.5e3", -1500.0),
        ("safe", "No", False),
        ("level", "high", "high"),
        ("places", "a, b,", ["a", "b"]),
        ("places", '["a,b"]', ["a,b"]),
    ],
)
def test_texts_become_values_of_the_declared_type(name: str, text: str, value: Any) -> None:
    assert read_settings([f"{name}={text}"], SCHEMA) == {(name,): value}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size=63", "size must be at least 64"),
        ("size=many", "size must be a whole number"),
        ("size=1.5", "size must be a whole number"),
        ("warm=inf", "warm must be a finite number"),
        ("safe=perhaps", "safe must be true or false"),
        ("level=medium", "level must be one of low, high"),
        ("sise=64", "Did you mean 'size'"),
        ("type=x", "There is no setting 'type'"),
        ("size", "--set wants size=VALUE"),
        ("more.deeper=1", "Did you mean 'more.deep'"),
    ],
)
def test_what_the_loader_would_refuse_is_refused_in_its_words(text: str, words: str) -> None:
    with pytest.raises(click.UsageError) as refused:
        read_settings([text], SCHEMA)
    assert words in refused.value.format_message()


def test_the_form_refuses_exactly_what_the_loader_refuses() -> None:
    samples: list[Any] = [None, "", "x", "low", 1, 63, 64, 10_000, 1.5, True, [], ["a"], float("nan"), {}]
    for name, leaf in SCHEMA.fields.items():
        if isinstance(leaf, Leaf):
            for value in samples:
                errors = validate(Section({name: leaf}), {name: value}).errors
                assert wrong_with(leaf, value) == (errors[0][1] if errors else "")


def test_any_text_is_a_value_or_a_sentence() -> None:
    texts = ["", "[", "[1", "1e999", "0x10", "\x00", "NaN", "-", "٣", "9" * 50, '{"a": 1}', "[" * 5000]
    for question in questions_of(SCHEMA):
        for text in texts:
            assert isinstance(wrong_with(question.leaf, value_of(question.leaf, text)), str)


# ---- secrets


def test_a_secret_comes_from_the_environment_or_standard_input(
    config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", f" {SECRET}\n")
    code, shown = add(config_dir, "openai", "--name", "a", "--set", "api_key=env:MY_KEY")
    assert code == 0 and SECRET not in shown
    code, shown = add(config_dir, "openai", "--name", "b", "--set", "api_key=-", piped=f"{SECRET}\n".encode())
    assert code == 0 and SECRET not in shown
    for name in "ab":
        file = config_dir / "bindings" / f"{name}.yaml"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert parse_yaml(file.read_text(encoding="utf-8"), "x").values["api_key"] == SECRET


@pytest.mark.parametrize(
    "arguments",
    [
        ("openai", "--set", f"api_key={SECRET}"),
        ("openai", "--set", f"api_key=env:{SECRET}"),
        ("openai", "--set", SECRET),
        ("openai", "--set", f"{SECRET}=1"),
        ("openai", SECRET),
        (SECRET,),
        (f"gsk_{NAMELIKE}",),
        ("openai", "--set", f"hf_{NAMELIKE}=1"),
        ("openai", f"--api-key={SECRET}"),
        ("openai", "--api-key", SECRET),
        ("openai", f"--{SECRET}"),
        ("openai", "--set", "api_key=-", "--set", f"context_size={SECRET}"),
        ("openai", "--set", "api_key=-", "--set", f"base_url=http://{SECRET}@127.0.0.1/v1"),
    ],
)
def test_a_key_on_the_command_line_is_refused_and_never_repeated(config_dir: Path, arguments: tuple[str, ...]) -> None:
    before = (config_dir / "main_config.yaml").read_bytes()
    code, shown = add(config_dir, *arguments, piped=b"sk-another-secret")
    assert code in (2, 78)
    assert SECRET not in shown and "sk-another-secret" not in shown and "lollms: error: " in shown
    assert NAMELIKE not in shown
    assert not list((config_dir / "bindings").iterdir())
    assert (config_dir / "main_config.yaml").read_bytes() == before


@pytest.mark.parametrize("piped", [b"", b"\xff\xfe\xff", b" \n"])
def test_what_is_piped_in_must_be_a_secret(config_dir: Path, piped: bytes) -> None:
    code, shown = add(config_dir, "openai", "--set", "api_key=-", piped=piped)
    assert code == 1 and "api_key" in shown
    assert not list((config_dir / "bindings").iterdir())


def test_no_flag_and_no_help_takes_a_key() -> None:
    group = cli.get_command(click.Context(cli), "bindings")
    assert isinstance(group, click.Group)
    command = group.commands["add"]
    flags = {name for option in command.params for name in option.opts if name.startswith("-")}
    assert not [flag for flag in flags if "key" in flag or "secret" in flag or "token" in flag]
    shown = CliRunner().invoke(cli, ["bindings", "add", "--help"]).output
    assert "env:VARIABLE" in shown and "standard input" in shown


# ---- on a terminal


class Answers:
    """A person at the prompts: what is shown, and what is typed to each by its setting."""

    def __init__(self, **typed: str | list[str]) -> None:
        self.typed = {name: [text] if isinstance(text, str) else list(text) for name, text in typed.items()}
        self.shown: list[str] = []
        self.hidden: list[str] = []

    def __call__(self, words: str, *, hide_input: bool = False, default: str = "", **rest: Any) -> str:
        name = words.split()[0]
        self.shown.append(words)
        if hide_input:
            self.hidden.append(name)
        return self.typed[name].pop(0) if self.typed.get(name) else default


def test_the_form_shows_defaults_bounds_and_options_and_hides_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    person = Answers(api_key=SECRET, size=["1", "12x", "64"], level="2", safe="no", model="-")
    monkeypatch.setattr(bindings_form.click, "prompt", person)
    said: list[str] = []
    values = ask_settings(SCHEMA, {("warm",): 0.1}, said.append)
    assert values == {
        ("warm",): 0.1,
        ("model",): None,
        ("api_key",): SECRET,
        ("size",): 64,
        ("safe",): False,
        ("level",): "high",
    }
    assert person.hidden == ["api_key"]
    everything = "\n".join([*said, *person.shown])
    assert "size (64 to 9999) [4096]" in everything and "level (1) low, 2) high) [low]" in everything
    assert "it must be at least 64." in everything and "it must be a whole number." in everything
    assert "warm" not in everything, "what was given is not asked again"
    assert SECRET not in everything


def test_what_has_no_default_is_asked_until_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    person = Answers(count=["", "", "7"])
    monkeypatch.setattr(bindings_form.click, "prompt", person)
    said: list[str] = []
    assert ask_settings(parse_schema({"count": {"type": "int"}}), {}, said.append) == {("count",): 7}
    assert said == ["  this must be given."] * 2


# ---- files


@pytest.mark.parametrize("kind", sorted(discover([SHIPPED])[0]))
def test_an_instance_of_every_shipped_type_is_written_so_that_it_loads(tmp_path: Path, kind: str) -> None:
    card = discover([SHIPPED])[0][kind]
    given = {each.path: each.leaf.default for each in questions_of(card.schema) if each.leaf.default is not None}
    for name, values in (("bare", {}), ("full", given)):
        required = {q.path: "x" for q in questions_of(card.schema) if q.leaf.required}
        file = tmp_path / f"{name}.yaml"
        file.write_text(instance_text(kind, name, card.display_name, card.schema, {**required, **values}), "utf-8")
        file.chmod(0o600)
        found = load_instance(file, card)
        assert not found.notices
        for path, value in values.items():
            held: Any = found.settings
            for part in path:
                held = held[part]
            assert held == value


@pytest.mark.parametrize(
    "value",
    ["", "a: b", "# x", "- x", "é☃🦙", "a\nb\t\x00\x1b\x85\u2028", "'\"\\", "C:\\x", "x ", "gpt-4o",
     "true", "No", "1", "1.5", "~", "2020-01-01", "http://h:1/v1", "{a}", "[", "*a", "&a", "!b", "%c", "@d", "`", "=",
     "<<", "null", "0x1"],
)  # fmt: skip
def test_every_text_is_written_so_that_it_is_read_again(value: str) -> None:
    assert parse_yaml(f"a: {scalar(value)}\n", "x").values == {"a": value}
    assert parse_yaml(f"a: {scalar([value, 1, None, True])}\n", "x").values == {"a": [value, 1, None, True]}


def test_the_main_configuration_keeps_its_comments_and_gets_two_lines(config_dir: Path) -> None:
    file = config_dir / "main_config.yaml"
    before = file.read_text(encoding="utf-8").splitlines()
    code, shown = add(config_dir, "ollama_binding", "--name", "fast", "--set", "default_model=llama3.2", "--default")
    assert code == 0, shown
    after = file.read_text(encoding="utf-8").splitlines()
    assert [line for line in after if line not in before] == ["  ttt_binding: fast", "  fast: ollama_binding"]
    assert [line for line in before if line not in after] == ["  ttt_binding: nano"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    config = load_config(config_dir, environ={}).config
    assert config.bindings_map["fast"] == "ollama_binding" and config.defaults.ttt_binding == "fast"
    assert "lollms reload" in shown and "lollms bindings test fast" in shown


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nbindings_map: {}\n",
        "a: 1\nbindings_map: {  }  # none\nb: 2",
        "bindings_map: {x: y}\n",
        '{"a": 1, "bindings_map": {\n "x": "y"\n}}',
        '{"a": {"b": [1]}}',
        "a: 1",
        "a: 1\n# the end\n",
        "a: 1\r\nbindings_map:\r\n  x: y  # why\r\n\r\n# more\r\nb: 2\r\n",
        "bindings_map:\n      x: y",
        "bindings_map:\n  'x': \"y\"\n  z: >-\n    long\n\nb: 2\n",
        "a: 1\n\n# end of configuration\n",
    ],
)
def test_an_entry_is_added_to_whatever_form_people_write(text: str) -> None:
    before = parse_yaml(text, "x").values
    changed = with_setting(text, "bindings_map", "new", "some_binding", "x")
    held = {**before.get("bindings_map", {}), "new": "some_binding"}
    assert parse_yaml(changed, "x").values == {**before, "bindings_map": held}
    comments = [line[line.index("#") :].rstrip() for line in text.splitlines() if "#" in line]
    assert [line[line.index("#") :].rstrip() for line in changed.splitlines() if "#" in line] == comments
    if text.startswith("{"):
        assert json.loads(changed)["bindings_map"]["new"] == "some_binding"
    if "# end of configuration" in text:
        assert changed.rstrip().endswith("# end of configuration")
    again = with_setting(changed, "bindings_map", "new", "other", "x")
    assert parse_yaml(again, "x").values["bindings_map"] == {**held, "new": "other"}


@pytest.mark.parametrize("text", ["a: &x {b: c}\nbindings_map: *x\n", "a: 1\n...\n", "bindings_map: [a]\n", ""])
def test_a_form_that_cannot_be_changed_safely_is_left_to_its_author(text: str) -> None:
    with pytest.raises(ConfigError, match="Write in the section bindings_map: new: t"):
        with_setting(text, "bindings_map", "new", "t", "x")


def test_several_commands_at_once_lose_nothing(config_dir: Path) -> None:
    names = [f"at_once_{each}" for each in range(8)]
    values = {("default_model",): "m"}
    card = discover([SHIPPED])[0]["ollama_binding"]
    loaded = load_config(config_dir, environ={})
    main_file = loaded.file.resolve()

    def work(name: str) -> None:
        with alone(main_file):
            bindings_add._write(loaded, card, name, values, False)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, names))
    assert set(names) < set(load_config(config_dir, environ={}).config.bindings_map)


def test_a_command_that_does_not_end_is_not_waited_for_for_ever(
    config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lollms_cli.bindings_files._PATIENCE", 0.05)
    with alone(config_dir / "main_config.yaml"):
        code, shown = add(config_dir, "ollama")
    assert code == 78 and "Another command is changing" in shown and "Nothing was added" in shown
    assert not list((config_dir / "bindings").iterdir())
    lock = config_dir / ".main_config.yaml.lock"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    assert add(config_dir, "ollama")[0] == 0


# ---- what is refused


def test_names_that_exist_and_names_that_cannot_be_files_are_refused(config_dir: Path) -> None:
    (config_dir / "bindings" / "lying.json").write_text("{}", encoding="utf-8")
    for name in ("nano", "lying", "../up", "Upper", "con", "a/b", ""):
        before = sorted(each.name for each in (config_dir / "bindings").iterdir())
        code, shown = add(config_dir, "ollama", "--name", name)
        if name:
            assert code == 1 and "name" in shown
            assert sorted(each.name for each in (config_dir / "bindings").iterdir()) == before
        else:
            assert code == 0, "an empty name is none: one is made from the type"
    assert (config_dir / "bindings" / "ollama.yaml").exists()
    assert add(config_dir, "ollama")[0] == 0
    assert (config_dir / "bindings" / "ollama_2.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name the type"),
        (("olama",), "Did you mean 'ollama'"),
        (("ollama", "--set", "hots=x"), "Did you mean 'host'"),
        (("openai", "--set", "context_size=1"), "context_size must be at least 64"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_words(config_dir: Path, arguments: tuple[str, ...], words: str) -> None:
    code, shown = add(config_dir, *arguments)
    assert code == 2 and words in shown
    assert not list((config_dir / "bindings").iterdir())


def test_an_address_with_a_key_in_it_is_taken_back(config_dir: Path) -> None:
    code, shown = add(config_dir, "openai", "--set", "base_url=http://127.0.0.1/v1?key=hidden")
    assert code == 78 and "base_url: must be a plain address" in shown and "Nothing was added" in shown
    assert "hidden" not in shown
    assert not list((config_dir / "bindings").iterdir())
    assert "openai" not in load_config(config_dir, environ={}).config.bindings_map


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("openai", "--set", "base_url=notaurl"), "base_url is 'notaurl'; it must be the address"),
        (("openai", "--set", "base_url=ftp://x"), "base_url is 'ftp://x'; it must be the address"),
        (("openai", "--set", "provider=nonesuch"), "provider is 'nonesuch'; it must be one of"),
        (("ollama", "--set", "host=ftp://x"), "must be the address"),
        (("hf_binding", "--set", "default_model=m", "--set", "device=gpu"), "device is 'gpu'; it must be one of"),
        (("transformers",), "default_model is missing"),
        (("llamacpp", "--set", "default_model=/no/such/model.gguf"), "Model '/no/such/model.gguf' was not found"),
    ],
)
def test_settings_that_no_binding_can_be_made_of_are_refused(
    config_dir: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = (config_dir / "main_config.yaml").read_bytes()
    code, shown = add(config_dir, *arguments)
    assert code == 78 and words in shown and "Nothing was added" in shown
    assert not list((config_dir / "bindings").iterdir())
    assert (config_dir / "main_config.yaml").read_bytes() == before


@pytest.mark.parametrize("setting", [f"base_url={SECRET}", f"base_url=ftp://{SECRET}@h", f"provider={SECRET}"])
def test_a_key_typed_into_another_setting_is_not_repeated(config_dir: Path, setting: str) -> None:
    code, shown = add(config_dir, "openai", "--set", setting)
    assert code == 78 and SECRET not in shown and "must be" in shown


@pytest.mark.parametrize("kind", sorted(discover([SHIPPED])[0]))
def test_every_shipped_type_is_added_with_what_it_needs(config_dir: Path, kind: str) -> None:
    card = discover([SHIPPED])[0][kind]
    needed = [f"{q.name}=x" for q in questions_of(card.schema) if q.leaf.required]
    if kind in ("transformers_binding", "hf_binding"):
        needed.append("default_model=organisation/model")
    code, shown = add(config_dir, kind, "--name", "some", *(word for each in needed for word in ("--set", each)))
    assert code == 0, shown


def test_a_package_that_is_missing_keeps_nothing_from_being_added(
    config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'somelib'", name="somelib")

    monkeypatch.setattr(bindings_made, "importlib", SimpleNamespace(import_module=lacks))
    assert add(config_dir, "ollama")[0] == 0


def test_the_code_of_others_is_not_run(config_dir: Path, tmp_path: Path) -> None:
    place = load_config(config_dir, environ={}).folders.bindings
    assert place is not None
    folder = place / "mine_binding"
    folder.mkdir(parents=True)
    ran = tmp_path / "ran"
    (folder / "__init__.py").write_text(f"open({str(ran)!r}, 'w').close()\n", encoding="utf-8")
    card = "type_name: mine_binding\ninstance_schema:\n  type: {type: str, default: mine_binding}\n"
    (folder / "binding_card.yaml").write_text(card, encoding="utf-8")
    code, shown = add(config_dir, "mine")
    assert code == 0, shown
    assert not ran.exists()


def test_the_first_instance_becomes_the_default_and_others_do_not(tmp_path: Path) -> None:
    config = configured(tmp_path, MAIN)
    code, shown = add(config, "ollama")
    assert code == 0 and "ollama is the default for text" in shown
    code, shown = add(config, "openai")
    assert code == 0 and "default for text" not in shown
    assert load_config(config, environ={}).config.defaults.ttt_binding == "ollama"


def test_without_a_configuration_it_says_how_to_get_one(tmp_path: Path) -> None:
    code, shown = add(tmp_path / "nothing", "ollama")
    assert code == 78 and "lollms serve" in shown
