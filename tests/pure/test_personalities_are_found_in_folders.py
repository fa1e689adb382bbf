"""Personalities are found by listing folders; a broken one is named with file and line while the others serve."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import InstanceUnavailable, NotFound
from lollms_core.types import Params
from lollms_server.core.personalities import Personality, PersonalityManager
from lollms_server.core.personalities.manager import SHIPPED
from tests.support.personalities import REQUIRED, loaded_config, write_personality

OWN = "personal_personalities"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


def managed(folder: Path, work: Callable[[PersonalityManager], Awaitable[None]] | None = None, **config: Any) -> Any:
    """The manager of a configuration, started; `work` runs before it is stopped."""

    async def run() -> PersonalityManager:
        manager = PersonalityManager(loaded_config(folder, **config))
        await manager.start()
        if work is not None:
            await work(manager)
        await manager.stop()
        return manager

    return asyncio.run(asyncio.wait_for(run(), 30))


def one(folder: Path, **fields: Any) -> Personality:
    """A personality with these fields."""
    write_personality(folder / OWN, "mine", **fields)
    manager = managed(folder)
    assert not manager.problems
    found: Personality = manager.get("mine")
    return found


def reason(folder: Path, name: str = "mine", **config: Any) -> str:
    """Why a folder's personality does not serve, after the others were seen to."""
    manager = managed(folder, **config)
    assert "lollms" in manager.personalities
    (problem,) = manager.problems
    assert problem.name == name
    assert str(folder) not in str(problem)
    return str(problem)


def test_the_shipped_ones_serve_with_an_icon_of_their_own(tmp_path: Path) -> None:
    manager = managed(tmp_path)
    assert not manager.problems
    assert list(manager.personalities) == ["lollms", "scripted_example", "summarizer", "translator"]
    icons = set()
    for name, personality in manager.personalities.items():
        assert personality.root == SHIPPED
        data, mime = personality.icon()
        assert mime == "image/png" and len(data) < 5000
        icons.add(data)
        assert personality.public()["path"] == f"personalities/{name}"
    assert len(icons) == 4
    assert {name for name, each in manager.personalities.items() if each.is_scripted} == {
        "scripted_example", "summarizer",
    }  # fmt: skip


def test_the_documented_fields_are_listed(tmp_path: Path) -> None:
    mine = one(
        tmp_path, name="mine", version=1.2, author="me", category="Creative", language=None, tags=["a", "b"],
        icon="x.png", personality_description="What it is.",
    )  # fmt: skip
    assert mine.public() == {
        "name": "mine",
        "author": "me",
        "version": "1.2",
        "description": "What it is.",
        "category": "Creative",
        "language": None,
        "tags": ["a", "b"],
        "icon": "x.png",
        "is_scripted": False,
        "path": "personal_personalities/mine",
    }


def test_every_documented_field_has_its_default(tmp_path: Path) -> None:
    config = one(tmp_path).config
    assert (config.user_name, config.user_message_prefix, config.ai_message_prefix) == ("user", "User", "Assistant")
    assert (config.language, config.category, config.link_text, config.icon) == (
        "english", "generic", "\n", "default.png",
    )  # fmt: skip
    assert (config.dependencies, config.anti_prompts, config.prompts_list, config.tags) == ([], [], [], [])
    assert (config.welcome_message, config.disclaimer, config.script_path, config.lollms_version) == (
        "",
        "",
        None,
        None,
    )
    assert one(tmp_path).params() == Params()


def test_fields_of_other_programs_are_kept(tmp_path: Path) -> None:
    assert one(tmp_path, processor_cfg={"deep": [1]}, help="x").config.model_extra == {
        "processor_cfg": {"deep": [1]}, "help": "x",
    }  # fmt: skip


def test_an_empty_field_counts_as_left_out(tmp_path: Path) -> None:
    config = one(tmp_path, dependencies=None, tags=None, user_name=None, model_temperature=None).config
    assert (config.dependencies, config.tags, config.user_name, config.model_temperature) == ([], [], "user", None)


def test_its_parameters_are_those_that_it_sets(tmp_path: Path) -> None:
    mine = one(
        tmp_path, model_temperature=1, model_n_predicts=100, model_top_k=40, model_top_p=0.5, model_repeat_penalty=1.1,
        model_repeat_last_n=64, anti_prompts=["!@>"],
    )  # fmt: skip
    assert mine.params() == Params(
        temperature=1.0, max_tokens=100, top_k=40, top_p=0.5, repeat_penalty=1.1, repeat_last_n=64, stop=("!@>",)
    )


def test_its_instructions_are_never_a_template(tmp_path: Path) -> None:
    text = "{{''.__class__}} {0} %s ${HOME} {% for x in y %}"
    assert one(tmp_path, personality_conditioning=text).conditioning == text


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("model_temperature", 3, "model_temperature: must be at most 2"),
        ("model_temperature", "warm", "model_temperature: must be a number"),
        ("model_n_predicts", 0, "model_n_predicts: must be at least 1"),
        ("model_n_predicts", 1.5, "model_n_predicts: must be a whole number"),
        ("model_top_p", 2, "model_top_p: must be at most 1"),
        ("model_repeat_penalty", -1, "model_repeat_penalty: must be at least 0"),
        ("name", "", "name: must not be empty"),
        ("name", "a\nb", "name: must not hold control characters"),
        ("version", [1], "version: must be text"),
        ("author", 5, "author: must be text"),
        ("personality_conditioning", None, "personality_conditioning: must be text"),
        ("dependencies", "numpy", "dependencies: must be a list"),
        ("anti_prompts", [5], "anti_prompts[0]: must be text"),
        ("tags", [1], "tags[0]: must be text"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_line(tmp_path: Path, field: str, value: Any, words: str) -> None:
    place = write_personality(tmp_path / OWN, "mine")
    fields = {"name": "mine", **REQUIRED, field: value}
    lines = [f"{name}: {json.dumps(each)}" for name, each in fields.items()]
    (place / "config.yaml").write_text("\n".join(lines), encoding="utf-8")
    line = list(fields).index(field) + 1
    assert reason(tmp_path).startswith(f"mine: config.yaml:{line}: {words}")


@pytest.mark.parametrize("field", ["name", *REQUIRED])
def test_what_every_personality_must_have_is_named_when_it_is_missing(tmp_path: Path, field: str) -> None:
    place = write_personality(tmp_path / OWN, "mine")
    whole = {"name": "mine", **REQUIRED}
    del whole[field]
    (place / "config.yaml").write_text(json.dumps(whole), encoding="utf-8")
    assert f"{field}: is missing" in reason(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"name: [", "config.yaml:1: "),
        (b"name: mine\n\tversion: 1", "config.yaml:2: "),
        (b"- a\n- b", "must consist of 'name: value' lines"),
        (b"name: \xff", "is not UTF-8"),
        (b"name: !!python/object/apply:os.system [id]", "tags are not used"),
        (b"a: &a [1,1,1,1,1,1,1,1,1]\n" + b"".join(
            b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in b"bcdefghi"
        ), "aliases count in full"),
    ],
    ids=["cut off", "tab", "list", "bytes", "tag", "alias bomb"],
)  # fmt: skip
def test_a_damaged_file_is_a_problem_of_that_personality_alone(tmp_path: Path, text: bytes, words: str) -> None:
    place = write_personality(tmp_path / OWN, "mine")
    (place / "config.yaml").write_bytes(text)
    assert words in reason(tmp_path)


def test_ones_own_takes_the_place_of_a_shipped_one_of_the_same_name(tmp_path: Path) -> None:
    write_personality(tmp_path / OWN, "better", name="lollms")
    manager = managed(tmp_path)
    assert manager.get("lollms").folder_name == "better"
    assert not manager.problems
    hidden = managed(tmp_path, personalities_config={"better": {"enabled": False}})
    assert hidden.get("lollms").root == SHIPPED


def test_of_two_folders_with_one_name_the_first_serves(tmp_path: Path) -> None:
    for folder in ("b", "a"):
        write_personality(tmp_path / OWN, folder, name="twin")
    manager = managed(tmp_path)
    assert manager.get("twin").folder_name == "a"
    assert [str(problem) for problem in manager.problems] == ["b: the folder a has the same name, 'twin', and is used."]


def test_the_main_configuration_hides_and_overrides_by_folder(tmp_path: Path) -> None:
    write_personality(tmp_path / OWN, "folder_a", name="A", model_temperature=0.1, disclaimer="kept")
    write_personality(tmp_path / OWN, "folder_b", name="B")
    manager = managed(
        tmp_path,
        personalities_config={
            "folder_a": {"enabled": True, "model_temperature": 0.9, "language": None, "own": "x"},
            "folder_b": {"enabled": False},
            "lollms": {"enabled": False},
            "A": {"enabled": False},  # a name, not a folder
        },
    )
    config = manager.get("A").config
    assert (config.model_temperature, config.language, config.disclaimer) == (0.9, None, "kept")
    assert config.model_extra == {"own": "x"}
    for name in ("B", "lollms", "never"):
        with pytest.raises(NotFound, match=rf"Personality '{name}' not found or disabled\."):
            manager.get(name)


def test_a_wrong_override_names_the_main_configuration(tmp_path: Path) -> None:
    write_personality(tmp_path / OWN, "mine")
    words = reason(tmp_path, personalities_config={"mine": {"model_temperature": 7}})
    assert "main_config.yaml: personalities_config.mine.model_temperature: must be at most 2" in words


@pytest.mark.parametrize(
    "place", ["folder", "config.yaml", "scripts", "scripts/workflow.py", "scripts/helper.py", "x.py"]
)
def test_what_everybody_can_write_is_not_used(tmp_path: Path, place: str) -> None:
    folder = write_personality(tmp_path / OWN, "mine", "raise SystemExit('this must not run')")
    for name in ("scripts/helper.py", "x.py"):
        (folder / name).write_text("", encoding="utf-8")
    open_one = folder if place == "folder" else folder / place
    open_one.chmod(open_one.stat().st_mode | 0o002)
    words = reason(tmp_path)
    assert "everybody can write" in words and "chmod o-w" in words


def test_a_root_that_everybody_can_write_is_not_used_at_all(tmp_path: Path) -> None:
    write_personality(tmp_path / OWN, "mine")
    (tmp_path / OWN).chmod(0o777)
    assert "everybody can write to personal_personalities" in reason(tmp_path, OWN)


def test_a_script_lies_in_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("raise SystemExit('this must not run')", encoding="utf-8")
    folder = write_personality(tmp_path / OWN, "mine", "")
    (folder / "scripts" / "link.py").symlink_to(outside)
    (folder / "scripts" / "note.txt").write_text("", encoding="utf-8")
    for path in (str(outside), "../../outside.py", "scripts/link.py", "scripts/../../../outside.py"):
        write_personality(tmp_path / OWN, "mine", script_path=path)
        assert "must be a file inside of the personality's folder" in reason(tmp_path), path
    for path in ("scripts/missing.py", "scripts", "scripts/note.txt", "a\0b"):
        write_personality(tmp_path / OWN, "mine", script_path=path)
        words = reason(tmp_path)
        assert "no such file" in words or "not the path of a file" in words, path


def test_a_broken_one_that_is_known_by_name_is_unavailable_and_not_unknown(tmp_path: Path) -> None:
    write_personality(tmp_path / OWN, "mine", "", dependencies=["no-such-package-of-ours>=3"])
    manager = managed(tmp_path)
    with pytest.raises(InstanceUnavailable, match="failed to load"):
        manager.get("mine")


def test_dependencies_are_looked_for_and_never_installed(tmp_path: Path) -> None:
    write_personality(tmp_path / OWN, "mine", "", dependencies=["pydantic>=2", "no-such-package-of-ours>=3"])
    assert 'python -m pip install "no-such-package-of-ours>=3"' in reason(tmp_path)
    write_personality(tmp_path / OWN, "mine", "", dependencies=["pydantic>=2"])
    assert not managed(tmp_path).problems
    write_personality(tmp_path / OWN, "mine", "", dependencies=["not a requirement!"])
    assert "is not a package requirement" in reason(tmp_path)


def test_one_without_a_script_needs_no_packages_and_serves(tmp_path: Path) -> None:
    write_personality(tmp_path / OWN, "mine", dependencies=["no-such-package-of-ours>=3"])
    manager = managed(tmp_path)
    assert "mine" in manager.personalities
    assert [problem.name for problem in manager.problems] == ["mine"]


def test_an_icon_is_an_image_in_the_assets_and_nothing_else(tmp_path: Path) -> None:
    mine = one(tmp_path, icon="logo.png")
    assert mine.icon() is None
    assets = mine.folder / "assets"
    assets.mkdir()
    assert mine.icon() is None
    (assets / "logo.png").write_bytes(PNG)
    assert mine.icon() == (PNG, "image/png")
    (assets / "logo.png").write_bytes(b"GIF89a" + b"\0" * 20)
    assert mine.icon() == (b"GIF89a" + b"\0" * 20, "image/gif")
    (assets / "logo.png").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", encoding="utf-8"
    )
    assert mine.icon() is None
    (assets / "logo.png").write_bytes(PNG + b"\0" * 1_000_000)
    assert mine.icon() is None
    (assets / "logo.png").unlink()
    (assets / "logo.png").mkdir()
    assert mine.icon() is None
    (mine.folder / "beside.png").write_bytes(PNG)
    for name in ("../beside.png", str(mine.folder / "beside.png"), "..", "", "a\0b"):
        assert one(tmp_path, icon=name).icon() is None


def test_a_thousand_load_in_a_moment_and_nothing_waits_for_it(tmp_path: Path) -> None:
    for number in range(1000):
        write_personality(tmp_path / OWN, f"p{number:03}", model_temperature=0.5)
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)
            await asyncio.sleep(0.001)

    async def run() -> PersonalityManager:
        manager = PersonalityManager(loaded_config(tmp_path))
        beating = asyncio.create_task(beat())
        await manager.start()
        beating.cancel()
        await manager.stop()
        return manager

    started = time.perf_counter()
    manager = asyncio.run(run())
    assert len(manager.personalities) == 1004
    assert time.perf_counter() - started < 15
    assert longest < 0.5
