"""What `lollms_client` says it has is there, documented and typed; the tables that scripts rely on are exact."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import lollms_client
from lollms_client import ELF_COMPLETION_FORMAT, ELF_GENERATION_FORMAT, MSG_TYPE, SENDER_TYPES, SUMMARY_MODE

MESSAGE_TYPES = """
CHUNK CONTENT CONTENT_INVISIBLE_TO_AI CONTENT_INVISIBLE_TO_USER THOUGHT_CHUNK THOUGHT_CONTENT EXCEPTION WARNING INFO
STEP STEP_START STEP_PROGRESS STEP_END JSON_INFOS REF CODE UI NEW_MESSAGE FINISHED_MESSAGE TOOL_CALL TOOL_OUTPUT
REASONING SCRATCHPAD OBSERVATION ERROR GENERATING_TITLE_START GENERATING_TITLE_END
"""


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(lollms_client.__path__, "lollms_client.")
    return [lollms_client, *(importlib.import_module(each.name) for each in found)]


def test_every_name_of_all_is_there_and_no_other() -> None:
    assert lollms_client.__all__ == sorted(lollms_client.__all__)
    for name in lollms_client.__all__:
        assert getattr(lollms_client, name) is not None
    assert set(lollms_client.__all__) <= set(dir(lollms_client))
    with pytest.raises(AttributeError, match="no attribute 'LollmsNothing'"):
        _ = lollms_client.LollmsNothing


def test_every_module_lists_its_names_and_every_public_name_is_documented() -> None:
    undocumented = []
    for module in modules():
        assert module.__doc__, module.__name__
        public = getattr(module, "__all__", None)
        if public is None:
            assert hasattr(module, "BindingName") or module.__name__.endswith("llm_bindings"), module.__name__
            public = [module.BindingName] if hasattr(module, "BindingName") else []
        for name in public:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                undocumented += [f"{module.__name__}.{name}"] if not inspect.getdoc(value) else []
            if inspect.isclass(value) and value.__module__.startswith("lollms"):
                members = inspect.getmembers(value, lambda each: inspect.isfunction(each) or isinstance(each, property))
                undocumented += [
                    f"{module.__name__}.{name}.{member}"
                    for member, found in members
                    if not member.startswith("_") and not inspect.getdoc(found)
                ]
    assert undocumented == []


def test_message_types_have_their_numbers() -> None:
    assert {each.name: each.value for each in MSG_TYPE} == {
        f"MSG_TYPE_{name}": number for number, name in enumerate(MESSAGE_TYPES.split())
    }


def test_the_other_tables() -> None:
    assert [(each.name, each.value) for each in SENDER_TYPES] == [
        ("SENDER_TYPES_USER", 0),
        ("SENDER_TYPES_AI", 1),
        ("SENDER_TYPES_SYSTEM", 2),
    ]
    assert SUMMARY_MODE.SUMMARY_MODE_SEQUENCIAL is SUMMARY_MODE.SUMMARY_MODE_HIERARCHICAL
    assert SUMMARY_MODE.SEQUENCIAL.value == SUMMARY_MODE.HIERARCHICAL.value == 0
    assert [str(each) for each in ELF_GENERATION_FORMAT] == [
        "LOLLMS",
        "OPENAI",
        "OLLAMA",
        "LITELLM",
        "TRANSFORMERS",
        "VLLM",
    ]


@pytest.mark.parametrize("text", ["Chat", "chat", " CHAT "])
def test_a_completion_format_is_read_and_written(text: str) -> None:
    assert ELF_COMPLETION_FORMAT.from_string(text) is ELF_COMPLETION_FORMAT.Chat
    assert str(ELF_COMPLETION_FORMAT.Instruct) == "Instruct"
    with pytest.raises(ValueError, match="Instruct or Chat"):
        ELF_COMPLETION_FORMAT.from_string("Talk")


def test_the_older_module_re_exports() -> None:
    from lollms_client.lollms_core import MSG_TYPE as OLDER_MSG_TYPE
    from lollms_client.lollms_core import LollmsClient as OlderClient

    assert OlderClient is lollms_client.LollmsClient
    assert OLDER_MSG_TYPE is MSG_TYPE


def test_trace_exception_prints_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("the reason")
    except ValueError as error:
        lollms_client.trace_exception(error)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" in err
    assert "ValueError: the reason" in err
