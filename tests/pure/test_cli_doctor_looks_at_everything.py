"""`lollms doctor` finds what a start of the server would, and what a running server refuses; each fault is a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lollms_cli import bindings_made, doctor_server
from lollms_cli.main import main
from lollms_cli.server_calls import Health
from lollms_core.protocols.base import HttpResponse
from lollms_runtime.provider_keys import save_provider_key

MAIN = """\
defaults:
  ttt_binding: good
bindings_map:
  good: llamacpp_binding
{more}security:
  allowed_api_keys: []
"""
GOOD = "type: llamacpp_binding\nbinding_instance_name: good\ndefault_model: lollms-nano\n"


class Doctor:
    """The command over a configuration folder and a server that are made up."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder / "lollms_configs"
        (self._folder / "bindings").mkdir(parents=True, mode=0o700)
        self._folder.chmod(0o700)
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.asked: list[str] = []
        self.serves(None, {})

    def write(self, more: str = "", **instances: str) -> None:
        self._put("main_config.yaml", MAIN.format(more=more))
        for name, text in {"good": GOOD, **instances}.items():
            self._put(f"bindings/{name}.yaml", text)

    def _put(self, name: str, text: str) -> None:
        file = self._folder / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)

    def serves(self, health: Health | None, answers: Mapping[str, tuple[int, Any]]) -> None:
        def request(method: str, url: str, *, key: str = "") -> HttpResponse:
            route = url.split("/api/v1/")[1]
            self.asked.append(f"{route} {key}")
            status, said = answers.get(route, (404, {}))
            return HttpResponse(status, {}, json.dumps(said).encode())

        self._monkeypatch.setattr(doctor_server, "health", lambda address: health)
        self._monkeypatch.setattr(doctor_server, "request", request)

    def run(self, code: int) -> list[str]:
        """Run it; gives the faults."""
        assert main(["doctor", "--config-dir", str(self._folder)]) == code
        shown = self._capsys.readouterr().out.splitlines()
        return [line.removeprefix("bad").strip() for line in shown if line.startswith("bad ")]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    for name in ("LOLLMS_HOST", "LOLLMS_PORT", "LOLLMS_API_KEY", "LOLLMS_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOLLMS_HOME", str(tmp_path / "home"))
    return Doctor(tmp_path, monkeypatch, capsys)


def test_a_sound_configuration_has_no_fault(doctor: Doctor) -> None:
    doctor.write()
    assert doctor.run(0) == []


def test_every_broken_instance_is_a_line_of_its_own(doctor: Doctor) -> None:
    doctor.write(
        "  no_file: llamacpp_binding\n  no_type: nosuch_binding\n  no_yaml: llamacpp_binding\n"
        "  wrong: llamacpp_binding\n  odd: llamacpp_binding\n  no_model: llamacpp_binding\n  torn: llamacpp_binding\n",
        no_yaml="type: [\n",
        wrong="n_threads: 0\nn_parallel: 900\n",
        odd="n_thread: 3\n",
        no_model="default_model: /no/such/model.gguf\n",
        torn="default_model: torn.gguf\n",
    )
    models = doctor._folder.parent / "models"
    models.mkdir()
    (models / "torn.gguf").write_bytes(b"<html>")
    faults = doctor.run(1)
    expected = {
        "instance no_file: ": "no_file.yaml",
        "instance no_type: ": "main_config.yaml:6: bindings_map.no_type: there is no binding type nosuch_binding",
        "instance no_yaml: ": "no_yaml.yaml:",
        "instance odd: ": "odd.yaml:1: n_thread: is not a setting",
        "instance no_model: ": "no_model.yaml: default_model: Model '/no/such/model.gguf' was not found",
        "instance torn: ": "torn.gguf is not a GGUF model file",
    }
    for start, words in expected.items():
        (line,) = (fault for fault in faults if fault.startswith(start))
        assert words in line
    assert len([fault for fault in faults if fault.startswith("instance wrong: ")]) == 2
    assert len(faults) == len(expected) + 2


def test_settings_that_no_binding_can_be_made_of_are_faults(doctor: Doctor) -> None:
    faulty = {
        "address": ("openai_binding", "base_url: ftp://x\n", "base_url is 'ftp://x'; it must be the address"),
        "provider": ("openai_binding", "provider: nonesuch\n", "provider is 'nonesuch'; it must be one of"),
        "device": ("hf_binding", "default_model: m\ndevice: gpu\n", "device is 'gpu'; it must be one of"),
        "nameless": ("transformers_binding", "revision: main\n", "default_model is missing"),
    }
    sound = {"right": ("openai_binding", "provider: groq\n", "")}
    every = {**faulty, **sound}
    doctor.write(
        "".join(f"  {name}: {kind}\n" for name, (kind, _, _) in every.items()),
        **{name: text for name, (_, text, _) in every.items()},
    )
    faults = doctor.run(1)
    assert len(faults) == len(faulty)
    for name, (_, _, words) in faulty.items():
        (line,) = (fault for fault in faults if fault.startswith(f"instance {name}: "))
        assert f"{name}.yaml: {words}" in line


def test_a_package_that_a_shipped_type_lacks_is_a_note(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'somelib'", name="somelib")

    monkeypatch.setattr(bindings_made, "importlib", SimpleNamespace(import_module=lacks))
    doctor.write("  cloud: openai_binding\n", cloud="provider: groq\n")
    assert main(["doctor", "--config-dir", str(doctor._folder)]) == 0
    shown = capsys.readouterr().out
    assert "note  instance cloud: openai_binding needs the package 'somelib', which is not installed." in shown


def test_an_empty_map_and_a_default_that_names_nothing_are_faults(doctor: Doctor) -> None:
    doctor.write()
    main_config = doctor._folder / "main_config.yaml"
    main_config.write_text("bindings_map: {}\nsecurity:\n  allowed_api_keys: []\n", encoding="utf-8")
    (fault,) = doctor.run(1)
    assert "can generate nothing" in fault
    main_config.write_text(MAIN.format(more="").replace("ttt_binding: good", "ttt_binding: other"), encoding="utf-8")
    (fault,) = doctor.run(1)
    assert "main_config.yaml:2: defaults.ttt_binding" in fault
    assert "other" in fault


def test_three_faults_of_the_main_file_are_three_lines(doctor: Doctor) -> None:
    doctor.write()
    (doctor._folder / "main_config.yaml").write_text(
        "server:\n  prot: 1\n  port: many\nlogging:\n  log_level: LOUD\nsecurity:\n  allowed_api_keys: []\n",
        encoding="utf-8",
    )
    faults = doctor.run(1)
    assert sorted(fault.split("main_config.yaml:")[1].split(":")[0] for fault in faults) == ["2", "3", "5"]


@pytest.mark.parametrize(("status", "words"), [(401, "refuses the key of LOLLMS_API_KEY"), (403, "refuses the key")])
def test_a_key_that_the_server_refuses_is_a_fault(
    status: int, words: str, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor.write()
    monkeypatch.setenv("LOLLMS_API_KEY", "sk-wrong-0123456789")
    doctor.serves(Health("1", True, "ready"), {"get_default_bindings": (status, {})})
    (fault,) = doctor.run(1)
    assert words in fault
    assert "sk-wrong" not in fault
    doctor.serves(Health("1", True, "ready"), {"get_default_bindings": (200, {})})
    assert doctor.run(0) == []
    asked = [each.removesuffix(" sk-wrong-0123456789") for each in doctor.asked]
    assert asked[:2] == ["get_default_bindings"] * 2  # a key that is refused is not tried again
    assert asked[2:] == ["list_bindings", "list_personalities", "list_functions"]


def test_what_a_running_server_could_not_load_are_faults_with_their_reasons(doctor: Doctor) -> None:
    doctor.write()
    lost = {"name": "lost", "file": "", "line": None, "reason": "It cannot be reached."}
    answers = {
        "list_bindings": (200, {"problems": [lost]}),
        "list_personalities": (200, {"problems": [{**lost, "name": "odd", "file": "config.yaml", "line": 3}]}),
        "list_functions": (200, {"problems": [{**lost, "name": "bad", "file": "bad.py", "reason": "SyntaxError"}]}),
    }
    for state in ("ready", "failed"):
        doctor.serves(Health("1", False, state), answers)
        assert [fault.partition("9601: ")[2] for fault in doctor.run(1)] == [
            "binding lost: It cannot be reached.",
            "personality odd: config.yaml:3: It cannot be reached.",
            "functions bad: bad.py: SyntaxError",
        ]
    doctor.serves(Health("1", False, "failed"), dict.fromkeys(answers, (500, "no")))
    (fault,) = doctor.run(1)
    assert "models failed; the server's log says why" in fault


def test_keys_of_providers_that_others_can_read_are_a_fault(doctor: Doctor, tmp_path: Path) -> None:
    doctor.write()
    file = save_provider_key("openai", "sk-0123456789abcdef")
    assert doctor.run(0) == []
    file.chmod(0o644)
    (fault,) = doctor.run(1)
    assert "chmod 600" in fault
    assert "sk-" not in fault
