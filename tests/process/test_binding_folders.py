"""Folders of bindings: each is loaded from its own place, and one that is broken says why while the others serve."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lollms_core.errors import InstanceUnavailable, InvalidRequest, NotFound
from lollms_core.fold import ReplyFold
from lollms_core.types import GenerationCall, Message
from lollms_server.core.bindings import Surroundings, slots
from lollms_server.core.bindings.manager import SHIPPED, BindingManager, discover
from lollms_server.core.config import load_config
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.core.scheduler import Scheduler, instance_resource
from tests.support.server import write_config

CARD = """
type_name: {name}
display_name: {name}
version: "1"
author: somebody
description: A test.
requirements: {requirements}
supports_streaming: false
instance_schema:
  __version__: "0.1.0"
  type: {{type: str, default: {name}}}
  binding_instance_name: {{type: str, nullable: true, default: null}}
  default_model: {{type: str, nullable: true, default: tiny}}
  secret_word: {{type: str, nullable: true, default: null, secret: true}}
"""

CODE = """
from lollms_server.core.bindings import Binding
from .helper import answer

class Mine(Binding):
    binding_type_name = "{name}"

    def __init__(self, config, resource_manager):
        super().__init__(config, resource_manager)
        self.closed = False

    async def list_available_models(self):
        return [{{"name": "tiny"}}]

    def get_supported_input_modalities(self):
        return ["text"]

    def get_supported_output_modalities(self):
        return ["text"]

    async def load_model(self, model_name):
        self._model_loaded = True
        return True

    async def unload_model(self):
        self._model_loaded = False
        self.closed = True
        return True

    async def generate(self, prompt, params, request_info, multimodal_data=None):
        return answer(prompt) + " {name} " + __name__

    async def get_model_info(self, model_name=None):
        return {{"name": model_name}}
"""


def write_binding(folder: Path, name: str, code: str = CODE, requirements: str = "[]", card: str = CARD) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "binding_card.yaml").write_text(card.format(name=name, requirements=requirements), encoding="utf-8")
    (place / "__init__.py").write_text(code.format(name=name), encoding="utf-8")
    (place / "helper.py").write_text("def answer(prompt):\n    return prompt.upper()\n", encoding="utf-8")
    return place


def with_manager(
    tmp_path: Path, config: dict[str, Any], work: Callable[[BindingManager], Awaitable[None]], recheck: float = 15.0
) -> None:
    """Run `work` on the manager of a configuration whose instances are all written."""

    async def run() -> None:
        mapped = config["bindings_map"]
        instances = {name: {"type": kind, **config.get("settings", {}).get(name, {})} for name, kind in mapped.items()}
        main = {name: value for name, value in config.items() if name != "settings"}
        loaded = load_config(write_config(tmp_path, main, instances), environ={})
        scheduler = Scheduler()
        manager = BindingManager(loaded, scheduler, ResourceManager({}, scheduler), recheck=recheck)
        await manager.start(Surroundings(loaded.folders.models))
        try:
            await work(manager)
        finally:
            await manager.stop()

    asyncio.run(asyncio.wait_for(run(), 30))


async def said(manager: BindingManager, name: str) -> str:
    fold = ReplyFold()
    binding = await manager.get(name)
    async with binding.open(GenerationCall((Message.user("hello"),))) as batches:
        async for batch in batches:
            fold.add(batch)
    return fold.done().text


def test_the_documented_steps_for_an_own_binding_work(tmp_path: Path) -> None:
    write_binding(tmp_path / "personal_bindings", "my_custom")

    async def work(manager: BindingManager) -> None:
        assert (await said(manager, "mine")).startswith("HELLO my_custom ")
        assert manager.models == "ready"
        assert manager.listed()["mine"] == {
            "type": "my_custom", "binding_instance_name": "mine", "default_model": "tiny",
        }  # fmt: skip

    with_manager(tmp_path, {"bindings_map": {"mine": "my_custom"}}, work)


def test_two_folders_never_meet_in_the_module_table(tmp_path: Path) -> None:
    for name in ("bindings", "openai_binding_of_mine"):
        write_binding(tmp_path / "personal_bindings", name)

    async def work(manager: BindingManager) -> None:
        first, second = await said(manager, "one"), await said(manager, "two")
        assert "bindings" in first and "openai_binding_of_mine" in second
        assert first.split()[-1] != second.split()[-1]
        assert "bindings" not in sys.modules and "helper" not in sys.modules

    with_manager(tmp_path, {"bindings_map": {"one": "bindings", "two": "openai_binding_of_mine"}}, work)


BROKEN = {
    "syntax": ("\n\ndef broken(:\n", "SyntaxError", 3),
    "import_error": ("import no_such_module_anywhere\n", "no_such_module_anywhere", 1),
    "exits": ("import sys\nsys.exit(3)\n", "sys.exit(3)", 2),
    "dies": ("import os\nos._exit(4)\n", "exit code 4", None),
    "crashes": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "SIGSEGV", None),
    "raises": ("raise RuntimeError('no luck')\n", "no luck", 1),
    "endless": ("while True:\n    pass\n", "did not end within 1 seconds", None),
    "empty": ("", "no Binding class", None),
    "other_type": (CODE.replace("{name}", "something_else", 1).replace("{name}", "x"), "'something_else'", None),
    "abstract": (
        "from lollms_server.core.bindings import Binding\n\nclass Mine(Binding):\n    binding_type_name = 'abstract'\n",
        "it lacks generate",
        None,
    ),
}
SETTLES = 10.0


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_folder_says_why_and_where_and_the_others_serve(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    code, words, line = BROKEN[name]
    write_binding(tmp_path / "personal_bindings", name, code)
    write_binding(tmp_path / "personal_bindings", "fine")

    async def work(manager: BindingManager) -> None:
        assert (await said(manager, "good")).startswith("HELLO")
        with pytest.raises(InstanceUnavailable) as caught:
            await manager.get("bad")
        assert str(tmp_path) not in caught.value.message
        assert [problem.name for problem in manager.failures()] == ["bad"]
        for problem in (manager.failures()[0], *manager.problems):
            assert words in problem.reason
            assert (problem.file, problem.line) == ("__init__.py", line)
            assert str(tmp_path) not in problem.reason
        assert [problem.name for problem in manager.problems] == [name, "bad"]
        assert manager.models == "failed"
        assert set(manager.active()) == {"good"}

    config = {"bindings_map": {"bad": name, "good": "fine"}}
    if name == "endless":
        config["limits"] = {"import_timeout": 1}
    with caplog.at_level(logging.ERROR):
        with_manager(tmp_path, config, work)
    assert words in caplog.text


def test_a_broken_folder_is_listed_also_when_no_instance_uses_it(tmp_path: Path) -> None:
    for name in ("syntax", "exits", "raises"):
        write_binding(tmp_path / "personal_bindings", name, BROKEN[name][0])

    async def work(manager: BindingManager) -> None:
        async with asyncio.timeout(SETTLES):
            while len(manager.problems) < 3:
                await asyncio.sleep(0.01)
        assert sorted(problem.name for problem in manager.problems) == ["exits", "raises", "syntax"]
        assert not manager.failures()

    with_manager(tmp_path, {"bindings_map": {}}, work)


def test_a_constructor_that_fails_says_why_and_where(tmp_path: Path) -> None:
    code = CODE.replace("self.closed = False", "raise ValueError('bad settings')")
    write_binding(tmp_path / "personal_bindings", "picky", code)

    async def work(manager: BindingManager) -> None:
        with pytest.raises(InstanceUnavailable):
            await manager.get("bad")
        (problem,) = manager.problems
        assert (problem.name, problem.file, problem.line) == ("bad", "__init__.py", 10)
        assert "bad settings" in problem.reason

    with_manager(tmp_path, {"bindings_map": {"bad": "picky"}}, work)


def test_a_missing_requirement_is_named(tmp_path: Path) -> None:
    write_binding(
        tmp_path / "personal_bindings", "needy", "import no_such_package\n" + CODE, '["no-such-package>=2.0"]'
    )

    async def work(manager: BindingManager) -> None:
        with pytest.raises(InstanceUnavailable):
            await manager.get("needy")
        assert "no-such-package>=2.0" in manager.failures()[0].reason

    with_manager(tmp_path, {"bindings_map": {"needy": "needy"}}, work)


@pytest.mark.parametrize(
    ("card", "line", "words"),
    [
        ("type_name: [1, 2\n", 2, "not valid YAML"),
        ("author: x\n", 1, "type_name"),
        ("", 1, "type_name"),
        (CARD.replace("instance_schema:", "instance_schema: 5\nmore:"), 9, "instance_schema"),
        (CARD.replace("type: {{type: str,", "type: {{type: text,"), 11, "instance_schema.type.type"),
    ],
)
def test_a_broken_card_is_listed_with_its_place(tmp_path: Path, card: str, line: int, words: str) -> None:
    write_binding(tmp_path, "odd", card=card)
    cards, problems = discover([tmp_path])
    assert not cards
    assert [(problem.name, problem.file, problem.line) for problem in problems] == [("odd", "binding_card.yaml", line)]
    assert words in problems[0].reason
    assert str(tmp_path) not in problems[0].reason


def test_code_without_a_card_is_a_problem_and_other_folders_are_not(tmp_path: Path) -> None:
    (write_binding(tmp_path, "bare") / "binding_card.yaml").unlink()
    for name in ("notes", ".hidden", "__pycache__"):
        (tmp_path / name).mkdir()
    (tmp_path / ".hidden" / "__init__.py").touch()
    cards, problems = discover([tmp_path])
    assert not cards
    assert [problem.name for problem in problems] == ["bare"]
    assert problems[0].file == "binding_card.yaml"


def test_a_second_folder_of_the_same_type_is_left_out(tmp_path: Path) -> None:
    write_binding(tmp_path, "openai_binding")
    cards, problems = discover([SHIPPED, tmp_path])
    assert cards["openai_binding"].folder.parent == SHIPPED
    assert [problem.name for problem in problems] == ["openai_binding"]
    assert "bindings/openai_binding has the type openai_binding already" in problems[0].reason


def test_a_folder_that_everybody_can_write_is_not_run(tmp_path: Path) -> None:
    write_binding(tmp_path / "personal_bindings", "open").chmod(0o777)

    async def work(manager: BindingManager) -> None:
        with pytest.raises(InstanceUnavailable):
            await manager.get("open")
        assert "verybody can write" in manager.failures()[0].reason

    with_manager(tmp_path, {"bindings_map": {"open": "open"}}, work)


def test_names_are_looked_up_and_never_made_into_paths(tmp_path: Path) -> None:
    write_binding(tmp_path / "personal_bindings", "fine")

    async def work(manager: BindingManager) -> None:
        for name in ("nobody", "../good", "good/../good", "good\0", "GOOD", "good.yaml", ""):
            with pytest.raises(NotFound):
                await manager.get(name)
        with pytest.raises(InvalidRequest, match="no default binding for tti"):
            await manager.for_request(None, "tti")
        assert (await manager.for_request(None, "ttt"))[0] == "good"

    with_manager(tmp_path, {"bindings_map": {"good": "fine"}, "defaults": {"ttt_binding": "good"}}, work)


def test_an_unknown_type_and_a_missing_or_wrong_file_are_failures_with_a_reason(tmp_path: Path) -> None:
    async def work(manager: BindingManager) -> None:
        for name in ("strange", "wrong"):
            with pytest.raises(InstanceUnavailable):
                await manager.get(name)
        reasons = {problem.name: problem.reason for problem in manager.failures()}
        assert "openai_binding" in reasons["strange"]
        assert "base_url" in reasons["wrong"]
        assert "canary" not in str(reasons)

    config = {
        "bindings_map": {"strange": "no_such_type", "wrong": "openai_binding"},
        "settings": {"wrong": {"base_url": 5, "api_key": "canary-secret-key"}},
    }
    with_manager(tmp_path, config, work)


def test_secrets_of_an_instance_are_never_listed(tmp_path: Path) -> None:
    write_binding(tmp_path / "personal_bindings", "fine")
    config = {
        "bindings_map": {"good": "fine", "gpt": "openai_binding"},
        "settings": {"good": {"secret_word": "canary-1"}, "gpt": {"api_key": "canary-2"}},
    }

    async def work(manager: BindingManager) -> None:
        binding = await manager.get("good")
        await manager.get("gpt")
        assert binding.config["secret_word"] == "canary-1"
        shown = str([manager.listed(), manager.active(), manager.types, vars(manager)])
        assert "base_url" in shown
        assert "canary" not in shown

    with_manager(tmp_path, config, work)


def test_a_slow_import_does_not_hold_up_the_start(tmp_path: Path) -> None:
    gate = tmp_path / "go"
    waiting = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n"
    write_binding(tmp_path / "personal_bindings", "slow", waiting + CODE)

    async def work(manager: BindingManager) -> None:
        assert manager.models == "loading"
        asked = asyncio.create_task(said(manager, "mine"))
        await asyncio.sleep(0)
        assert not asked.done()
        gate.touch()
        assert (await asked).startswith("HELLO")
        assert manager.models == "ready"

    with_manager(tmp_path, {"bindings_map": {"mine": "slow"}}, work)


def test_stopping_unloads_and_no_binding_holds_up_the_others(tmp_path: Path) -> None:
    write_binding(tmp_path / "personal_bindings", "fine")
    failing = CODE.replace("self.closed = True", "raise RuntimeError('no')")
    write_binding(tmp_path / "personal_bindings", "failing", failing)
    seen: list[Any] = []

    async def work(manager: BindingManager) -> None:
        for name in ("bad", "good"):
            await said(manager, name)
            seen.append(await manager.get(name))

    with_manager(tmp_path, {"bindings_map": {"bad": "failing", "good": "fine"}}, work)
    assert seen[1].closed


def test_an_instances_places_are_known_to_the_scheduler(tmp_path: Path) -> None:
    code = CODE + "\n    @property\n    def capacity(self):\n        return 3\n"
    write_binding(tmp_path / "personal_bindings", "three", code)

    async def work(manager: BindingManager) -> None:
        await manager.get("mine")
        assert manager._scheduler.capacity(instance_resource("mine")) == 3

    with_manager(tmp_path, {"bindings_map": {"mine": "three"}}, work)


def test_the_shipped_cards_are_sound() -> None:
    cards, problems = discover([SHIPPED])
    assert {"openai_binding", "llamacpp_binding"} <= set(cards)
    assert not problems
    for folder in SHIPPED.iterdir():
        if (source := folder / "__init__.py").is_file() and folder.is_dir():
            # a protocol of its own, or an earlier card with settings of its own, needs a little more than a row
            assert len([line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]) <= 75


HEALTH = """
    async def health_check(self):
        from pathlib import Path
        state = Path(self.config["default_model"])
        return state.exists(), "nothing at " + state.name
"""


def test_an_instance_that_is_not_well_is_not_active_serves_all_the_same_and_is_asked_again(tmp_path: Path) -> None:
    write_binding(tmp_path / "personal_bindings", "frail", CODE + HEALTH)
    state = tmp_path / "backend"

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SETTLES):
            while not condition():
                await asyncio.sleep(0.005)

    async def work(manager: BindingManager) -> None:
        await manager.get("mine")
        await until(lambda: not manager.active())
        assert [(problem.name, problem.reason) for problem in manager.problems] == [("mine", "nothing at backend")]
        assert not manager.failures()
        assert (await said(manager, "mine")).startswith("HELLO")
        state.touch()
        await until(lambda: set(manager.active()) == {"mine"})
        assert not manager.problems

    config = {"bindings_map": {"mine": "frail"}, "settings": {"mine": {"default_model": str(state)}}}
    with_manager(tmp_path, config, work, recheck=0.01)


@pytest.mark.parametrize("said_by", ["return False", "return (False, '')", "raise OSError()", "return None"])
def test_a_health_check_may_say_no_in_any_form(tmp_path: Path, said_by: str) -> None:
    code = CODE + f"\n    def health_check(self):\n        {said_by}\n"
    write_binding(tmp_path / "personal_bindings", "terse", code)

    async def work(manager: BindingManager) -> None:
        await manager.get("mine")
        async with asyncio.timeout(SETTLES):
            while manager.active():
                await asyncio.sleep(0.005)
        assert manager.problems[0].reason

    with_manager(tmp_path, {"bindings_map": {"mine": "terse"}}, work)


def test_a_start_that_never_ends_is_a_failure_of_its_instance_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_LOAD_SECONDS", 0.1)
    endless = "\n    async def start(self):\n        import asyncio\n        await asyncio.sleep(60)\n"
    write_binding(tmp_path / "personal_bindings", "endless", CODE + endless)
    write_binding(tmp_path / "personal_bindings", "fine")

    async def work(manager: BindingManager) -> None:
        with pytest.raises(InstanceUnavailable):
            await manager.get("bad")
        assert "not ready within 0.1 seconds" in manager.failures()[0].reason
        assert (await said(manager, "good")).startswith("HELLO")

    with_manager(tmp_path, {"bindings_map": {"bad": "endless", "good": "fine"}}, work)


@pytest.mark.parametrize("raised", ["asyncio.CancelledError()", "SystemExit(1)", "StopAsyncIteration()"])
def test_whatever_a_start_raises_is_a_failure_and_nothing_more(tmp_path: Path, raised: str) -> None:
    wild = f"\n    async def start(self):\n        import asyncio\n        raise {raised}\n"
    write_binding(tmp_path / "personal_bindings", "wild", CODE + wild)

    async def work(manager: BindingManager) -> None:
        with pytest.raises(InstanceUnavailable):
            await manager.get("bad")
        assert raised.partition("(")[0].rpartition(".")[2] in manager.failures()[0].reason

    with_manager(tmp_path, {"bindings_map": {"bad": "wild"}}, work)


@pytest.mark.parametrize(
    ("name", "answer", "models"),
    [("capacity", "1 / 0", "failed"), ("model_state", "1 / 0", "failed"), ("model_state", "'odd'", "failed")],
)
def test_a_property_that_fails_hurts_its_instance_alone(tmp_path: Path, name: str, answer: str, models: str) -> None:
    code = CODE + f"\n    @property\n    def {name}(self):\n        return {answer}\n"
    write_binding(tmp_path / "personal_bindings", "odd", code)
    write_binding(tmp_path / "personal_bindings", "fine")

    async def work(manager: BindingManager) -> None:
        assert (await said(manager, "good")).startswith("HELLO")
        async with asyncio.timeout(SETTLES):
            while manager.models == "loading":
                await asyncio.sleep(0.005)
        assert manager.models == models
        assert set(manager.active()) == {"good"}
        assert [problem.name for problem in manager.problems] == ["bad"]

    with_manager(tmp_path, {"bindings_map": {"bad": "odd", "good": "fine"}}, work)
