"""What a description.yaml says of a binding is shown, completed, used; a broken one is named, and secrets stay in."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from lollms_client import LollmsClient, LollmsLLMBindingManager
from lollms_client.llm_bindings import __path__ as shipped
from lollms_core.errors import UnknownBinding

SECRET = "s3cr3t-" + "x" * 20
SOURCE = """
from lollms_client import LollmsLLMBinding
BindingName = "B"

class B(LollmsLLMBinding):
    def __init__(self, host_address, color="blue", **kwargs):
        self.got = {"host_address": host_address, "color": color, **kwargs}
        if kwargs.get("fail"):
            raise ValueError(f"{kwargs['pat']} and {kwargs['api_key']} are refused")
"""
DESCRIPTION = f"""
binding_name: another name
title: Mine
version: "2"
supported_file_types: [txt]
input_parameters:
  - {{name: host_address, default: "http://here", mandatory: true}}
  - {{name: color, default: red}}
  - {{name: size, type: int, default: 3, options: [3, 4]}}
  - {{name: pat, default: "{SECRET}", is_secret: true}}
  - {{name: nothing}}
chat_parameters:
  - {{name: token, default: "{SECRET}", is_secret: true}}
"""
FALLBACK: dict[str, Any] = {
    "author": "Unknown",
    "creation_date": "N/A",
    "last_update_date": "N/A",
}


def made(folder: Path, name: str = "mine", description: str | None = DESCRIPTION, source: str = SOURCE) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(source, encoding="utf-8")
    if description is not None:
        (folder / name / "description.yaml").write_text(description, encoding="utf-8")
    return folder


def shown(folder: Path, name: str = "mine") -> dict[str, Any]:
    (found,) = (
        each for each in LollmsLLMBindingManager(folder).get_binding_descriptions() if each["binding_name"] == name
    )
    return found


def test_every_shipped_binding_is_described() -> None:
    described = LollmsLLMBindingManager().get_binding_descriptions()
    assert [each["binding_name"] for each in described] == LollmsLLMBindingManager().get_available_bindings()
    for each in described:
        assert each["title"] != each["binding_name"]
        for parameter in each["input_parameters"]:
            assert {"name", "type", "description", "mandatory", "default", "is_secret"} <= set(parameter)


def test_a_description_is_completed_and_hides_what_is_secret(tmp_path: Path) -> None:
    found = shown(made(tmp_path))
    assert {name: found[name] for name in FALLBACK} == FALLBACK
    assert (found["title"], found["version"], found["supported_file_types"]) == ("Mine", "2", ["txt"])
    assert [each["default"] for each in found["input_parameters"]] == ["http://here", "red", 3, "", None]
    assert found["input_parameters"][2]["options"] == [3, 4]
    assert found["input_parameters"][4] == {
        "name": "nothing",
        "type": "str",
        "description": "",
        "mandatory": False,
        "default": None,
        "is_secret": False,
    }
    assert SECRET not in str(found)


BROKEN = {
    "no YAML": "title: [",
    "a list": "- a",
    "two documents": "title: a\n---\ntitle: b",
    "a tag": "title: !!python/object:os.system x",
    "twice": "title: a\ntitle: b",
    "a tab": "title:\n\t- a",
}


@pytest.mark.parametrize("description", [None, "", *BROKEN.values()], ids=["absent", "empty", *BROKEN])
def test_without_a_usable_description_there_is_a_plain_one(
    description: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = made(tmp_path, description=description)
    with caplog.at_level(logging.WARNING, "lollms_client"):
        found = shown(folder)
    assert {name: found[name] for name in FALLBACK} == FALLBACK
    assert found["title"] == "mine"
    parameters = {each["name"]: each for each in found["input_parameters"]}
    assert list(parameters) == ["model_name", "host_address", "models_path", "service_key"]
    assert all((each["type"], each["default"], each["mandatory"]) == ("str", "", False) for each in parameters.values())
    assert parameters["service_key"]["is_secret"] is True
    if description:
        assert str(folder / "mine" / "description.yaml") in caplog.text
    else:
        assert caplog.text == ""
    client: Any = LollmsClient("mine", "http://x", llm_bindings_dir=folder)  # it works all the same
    assert client.llm.got["host_address"] == "http://x"


@pytest.mark.parametrize("parameters", ["text", "[text]", "{color: red}", "[{default: 1}]", "[{name: 3}]"])
def test_parameters_that_are_none_are_left_out(
    parameters: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = made(tmp_path, description=f"title: T\ninput_parameters: {parameters}\n")
    with caplog.at_level(logging.WARNING, "lollms_client"):
        found = shown(folder)
    assert (found["title"], found["input_parameters"]) == ("T", [])
    assert "input_parameters must be a list of entries that have a name" in caplog.text


def test_described_defaults_go_where_neither_caller_nor_code_has_one(tmp_path: Path) -> None:
    folder = made(tmp_path)
    client: Any = LollmsClient("mine", llm_bindings_dir=folder)
    got = client.llm.got
    assert got["host_address"] == "http://here"  # required, and given by nobody
    assert got["color"] == "blue"  # the code has a default itself
    assert got["size"] == 3
    assert not {"pat", "nothing"} & set(got)
    config = {"size": 4, "host_address": "http://there"}
    client = LollmsClient("mine", llm_bindings_dir=folder, llm_binding_config=config)
    assert (client.llm.got["size"], client.llm.got["host_address"]) == (4, "http://there")


def test_reasons_in_the_log_hold_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = LollmsLLMBindingManager(made(tmp_path))
    with caplog.at_level(logging.WARNING, "lollms_client"):
        assert manager.create_binding("mine", fail=True, pat="first-of-all", api_key=SECRET) is None
    assert "••• and ••• are refused" in caplog.text
    assert SECRET not in caplog.text
    assert "first-of-all" not in caplog.text


def test_the_users_own_folders_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, named, given = tmp_path / "home", tmp_path / "named", tmp_path / "given"
    for folder, name in ((home / "llm_bindings", "at_home"), (named, "named"), (given, "given")):
        made(folder, name)
        made(folder, "openai", source=SOURCE + f"\n    where = {name!r}\n")
    monkeypatch.setenv("LOLLMS_HOME", str(home))
    monkeypatch.setenv("LOLLMS_BINDINGS_DIR", str(named))
    names = LollmsLLMBindingManager(given).get_available_bindings()
    assert {"at_home", "named", "given", "openai", "lollms"} <= set(names)
    assert names == sorted(set(names))
    assert "given" not in LollmsClient().get_available_llm_bindings()

    def where(**chosen: Any) -> str:
        client: Any = LollmsClient("openai", **chosen)
        return str(getattr(client.llm, "where", "shipped"))

    assert where(llm_bindings_dir=given) == "given"
    assert where() == "named"
    monkeypatch.delenv("LOLLMS_BINDINGS_DIR")
    assert where() == "at_home"
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path / "nothing"))
    assert where() == "shipped"


def test_the_list_of_one_folder_names_what_is_in_it(tmp_path: Path) -> None:
    made(tmp_path, "b")
    made(tmp_path, "a")
    (tmp_path / "no_binding").mkdir()
    (tmp_path / "file.py").write_text("", encoding="utf-8")
    assert LollmsLLMBindingManager.get_bindings_list(tmp_path) == ["a", "b"]
    assert LollmsLLMBindingManager.get_bindings_list(tmp_path / "absent") == []
    ours = LollmsLLMBindingManager.get_bindings_list()
    assert ours == LollmsLLMBindingManager.get_bindings_list(shipped[0])
    assert "lollms" in ours


@pytest.mark.parametrize(
    "place",
    [".", "mine", "mine/__init__.py", "mine/deep", "mine/deep/helper.py", "mine/__pycache__", "mine/deep/fast.so"],
)
def test_code_that_everybody_can_write_is_not_run(place: str, tmp_path: Path) -> None:
    folder = made(
        tmp_path / "own", source="from pathlib import Path\nPath(__file__).with_name('ran').touch()\n" + SOURCE
    )
    (folder / "mine" / "deep").mkdir()
    (folder / "mine" / "__pycache__").mkdir()
    for name in ("helper.py", "fast.so"):
        (folder / "mine" / "deep" / name).write_text("", encoding="utf-8")
    target = folder / place
    before = target.stat().st_mode
    target.chmod(before | 0o002)
    with pytest.raises(UnknownBinding, match="everybody can write here") as caught:
        LollmsClient("mine", llm_bindings_dir=folder)
    assert f"chmod o-w '{target}'" in str(caught.value)
    assert not (folder / "mine" / "ran").exists()
    target.chmod(before)
    LollmsClient("mine", llm_bindings_dir=folder)
    assert (folder / "mine" / "ran").exists()


@pytest.mark.parametrize(
    "source", ["raise SystemExit(3)", "import sys\nsys.exit()", SOURCE.replace("self.got =", "exit(3) #")]
)
def test_a_binding_that_ends_the_program_does_not(
    source: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = LollmsLLMBindingManager(made(tmp_path, description=None, source=source))
    with caplog.at_level(logging.WARNING, "lollms_client"):
        assert manager.create_binding("mine") is None
    assert "'mine' cannot be made" in caplog.text
