"""What a caller writes is never a template: it comes back from every kind of instance and personality as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lollms_core.types import GenerationCall
from lollms_runtime.scripted import AsyncScriptedPorts
from tests.support.full_house import INSTANCES, EchoBinding, House, full_house
from tests.support.raw_http import ask, prompt

TEXTS = [
    "{{7*7}} {{''.__class__.__mro__[1].__subclasses__()}} {% for x in (1,2) %}{{x}}{% endfor %}",
    "{0.__class__.__init__.__globals__} {prompt} {input_data} {} {{}} }{",
    "%s %(prompt)s %n %d%% ${HOME} $(id) `id` $prompt !{7*7} #{7*7} <%= 7*7 %> @{7*7}",
    "{% raw %}{{ cycler.__init__.__globals__.os.popen('id').read() }}{% endraw %}",
    "{{bos_token}}{{ messages[0].content }} !@>user: !@>system: {{discussion_messages}}",
]


class Whole(EchoBinding):
    """Says everything that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.ports = AsyncScriptedPorts(lambda call: whole(call))


def whole(call: GenerationCall) -> Any:
    return "|".join(message.text for message in call.messages)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with full_house(Whole()) as running:
        yield running


def said(house: House, body: dict[str, Any]) -> str:
    answer = ask(house.server.port, "POST", "/api/v1/generate", body, house.server.headers)
    assert answer.status == 200, answer
    output = answer.events()[-1]["content"] if body.get("stream") else answer.json()["output"]
    return "".join(item["data"] for item in output)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_comes_back_as_it_was(house: House, text: str, stream: bool) -> None:
    for instance in INSTANCES:
        for who in (None, "Script", "Plain"):
            body = prompt(text, binding_name=instance, personality=who, stream=stream)
            assert text in said(house, body), (instance, who)
    assert said(house, prompt(text, personality="Simple", stream=stream)) == f"Be brief.|{text}"


@pytest.mark.parametrize("text", TEXTS)
def test_so_does_every_other_text_of_a_conversation(house: House, text: str) -> None:
    roles = ("system_context", "user_message", "assistant_message", "user_prompt")
    items = [{"type": "text", "role": role, "data": f"{role} {text}"} for role in roles]
    given = said(house, {"input_data": items})
    assert [part.strip() for part in given.split("|")] == [f"{role} {text}" for role in roles]
