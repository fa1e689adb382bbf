"""What a script is given and what it can ask: its binding, other bindings, functions; each call has its own lease."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lollms_core.errors import RateLimited
from lollms_core.types import (
    Batch,
    GenerationCall,
    Message,
    Notice,
    Params,
    Progress,
    ReceiptItem,
    Reply,
    TextDelta,
    ToolCall,
    Usage,
)
from lollms_runtime.async_drive import Sink
from lollms_runtime.scripted import Script
from lollms_server.core.bindings import Binding
from tests.support.personalities import answer_of, serving
from tests.support.raw_http import RawRequest, prompt
from tests.support.server import PortsBinding, Served

SCRIPTS = {
    "look": """
        async def run_workflow(prompt, params, context):
            return {
                "prompt": prompt, "params": params, "keys": sorted(context), "info": context["request_info"],
                "personality": context["personality"].name, "streamed": context["request"].stream,
                "data": [[item.role, item.data] for item in context["input_data"]],
                "default": context["config"].defaults.ttt_binding,
                "instances": sorted(context["binding_manager"].list_binding_instances()),
                "types": sorted({"llamacpp_binding", "no_such"} & set(context["binding_manager"].list_binding_types())),
                "missing": context["binding_manager"].get_binding("nobody"),
                "gpu": context["resource_manager"].get_status()["gpu_strategy"],
            }
        """,
    "ask": """
        async def run_workflow(prompt, params, context):
            binding, manager, info = context["binding"], context["binding_manager"], context["request_info"]
            other = manager.get_binding("other")
            match prompt:
                case "nothing but the prompt":
                    return await binding.generate(prompt="A")
                case "all arguments":
                    return await binding.generate("A", {"temperature": 0.5, "system_message": "S"}, info, [])
                case "the conversation":
                    return await binding.generate("A", multimodal_data=context["input_data"])
                case "another model":
                    return await binding.generate("A", request_info={**info, "model_name": "m2"})
                case "a model that it loads":
                    return [await binding.load_model("m3"), str(await binding.generate("A"))] and "fine"
                case "another instance":
                    return await other.generate("A", params, info)
                case "in a stream":
                    return binding.generate_stream(prompt="A")
                case "two streams at once":
                    said = []
                    async for chunk in binding.generate_stream("A"):
                        said.append(chunk["type"])
                        async for inner in other.generate_stream("B"):
                            said.append(inner["type"])
                    return " ".join(said)
                case "twice":
                    first = await binding.generate("A")
                    return first.text + "|" + str(await binding.generate("B"))
                case "something wrong":
                    return await binding.generate("A", {"temperature": "hot"})
                case "no text":
                    return await binding.generate(5)
                case "tokens":
                    return {"count": await binding.count_tokens("a b c"), "info": await binding.get_model_info()}
                case "left early":
                    async for chunk in binding.generate_stream("A"):
                        break
                    return "fine"
        """,
    "thread": """
        import asyncio
        async def ask(context):
            said = str(await context["binding"].generate("A"))
            async for chunk in context["binding"].generate_stream("B"):
                said += "," + str(chunk["content"])
            said += "," + str(await context["binding"].count_tokens("a b"))
            return said + "," + str(await context["function_manager"].execute_function("own.double", {"number": 2}))
        def run_workflow(prompt, params, context):
            return asyncio.run(ask(context))
        """,
    "function": """
        async def run_workflow(prompt, params, context):
            manager = context["function_manager"]
            good = await manager.execute_function("own.double", {"number": 21})
            bad = await manager.execute_function("own.missing", {})
            return {"good": list(good), "bad": list(bad), "names": context["request_info"]["functions"]}
        """,
}
CONTEXT = [
    "binding", "binding_manager", "config", "function_manager", "input_data", "personality", "request",
    "request_info", "resource_manager",
]  # fmt: skip


class Counting(PortsBinding):
    async def count_tokens(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> int:
        return len(text.split())


class Asked:
    """The model of the tests: it answers with what it was asked, and remembers it."""

    def __init__(self) -> None:
        self.script = Script(self.reply)

    def reply(self, call: GenerationCall) -> Reply:
        receipt = (ReceiptItem("top_k", "dropped", "no such thing"),)
        return Reply(text=f"to {call.messages[-1].text}", usage=Usage(10, 1, 11), model=call.model, receipt=receipt)

    @property
    def last(self) -> GenerationCall:
        return self.script.calls[-1]


@pytest.fixture(scope="module")
def model() -> Asked:
    return Asked()


@pytest.fixture(scope="module")
def server(model: Asked) -> Iterator[Served]:
    bindings: dict[str, Binding] = {
        "main": Counting(model.script, places=1, model="m1"),
        "other": PortsBinding(model.script, places=1, model="o1"),
    }
    fields = {"model_temperature": 0.25, "model_top_k": 7, "functions": ["own.double"]}
    functions = """
        async def double(number: int) -> int:
            "Twice a number."
            return number * 2
        """
    with serving(SCRIPTS, bindings, fields=fields, functions=functions) as served:
        yield served


def said(server: Served, text: str, **body: Any) -> Any:
    answer = answer_of(server, "ask", text, **body)
    assert answer.status == 200, answer
    return answer.json()["output"][0]


def test_the_context_has_all_that_is_documented(server: Served) -> None:
    answer = answer_of(server, "look", "hello {{''.__class__}}", parameters={"max_tokens": 5, "stop": "x", "mine": 1})
    seen = answer.json()["output"][0]["data"]
    assert seen["prompt"] == "hello {{''.__class__}}"
    assert seen["keys"] == CONTEXT
    assert seen["params"] == {
        "temperature": 0.25,
        "top_k": 7,
        "max_tokens": 5,
        "stop": ["x"],
        "mine": 1,
        "system_message": "Be brief.",
    }
    assert seen["info"] == {
        "request_id": answer.json()["request_id"],
        "generation_type": "ttt",
        "personality": "look",
        "functions": ["own.double"],
        "binding_instance_name": "main",
        "model_name": "m1",
    }
    assert (seen["personality"], seen["streamed"], seen["default"]) == ("look", False, "main")
    assert seen["data"] == [["user_prompt", "hello {{''.__class__}}"]]
    assert (seen["instances"], seen["types"], seen["missing"]) == (["main", "other"], ["llamacpp_binding"], None)
    assert seen["gpu"] == "semaphore"


def test_parameters_of_the_request_win_over_those_of_the_personality(server: Served, model: Asked) -> None:
    said(server, "nothing but the prompt", parameters={"temperature": 1.5, "system_message": "Be long."})
    assert model.last.params == Params(temperature=1.5, top_k=7)
    assert model.last.messages[0] == Message.system("Be long.")


def test_what_is_left_out_comes_from_the_request(server: Served, model: Asked) -> None:
    item = said(server, "nothing but the prompt", model_name="m9")
    assert item["data"] == "to A"
    assert model.last == GenerationCall(
        (Message.system("Be brief."), Message.user("A")), "m9", Params(temperature=0.25, top_k=7)
    )


def test_what_is_given_is_all_that_is_sent(server: Served, model: Asked) -> None:
    said(server, "all arguments")
    assert model.last.messages == (Message.system("S"), Message.user("A"))
    assert model.last.params == Params(temperature=0.5)
    assert model.last.model == "m1"


def test_earlier_turns_go_along_when_the_script_hands_them_on(server: Served, model: Asked) -> None:
    turns = [("user_message", "one"), ("assistant_message", "two"), ("user_prompt", "the conversation")]
    items = [{"type": "text", "role": role, "data": data} for role, data in turns]
    answer = answer_of(server, "ask", input_data=items)
    assert answer.status == 200, answer
    assert model.last.messages == (
        Message.system("Be brief."), Message.user("one"), Message.assistant("two"), Message.user("A"),
    )  # fmt: skip


def test_the_model_is_part_of_each_call(server: Served, model: Asked) -> None:
    said(server, "another model")
    assert model.last.model == "m2"
    said(server, "a model that it loads")
    assert model.last.model == "m3"
    said(server, "nothing but the prompt")
    assert model.last.model == "m1"


def test_another_instance_is_asked_with_its_own_model(server: Served, model: Asked) -> None:
    said(server, "another instance")
    assert model.last.model == "o1"


def test_a_stream_is_handed_on_as_it_comes(server: Served) -> None:
    events = answer_of(server, "ask", "in a stream", stream=True).events()
    assert [event["content"] for event in events[:-1]] == ["to", " A"]
    assert events[-1]["content"][0]["data"] == "to A"
    assert said(server, "in a stream")["data"] == "to A"


def test_streams_inside_of_each_other_do_not_wait_for_each_other(server: Served) -> None:
    assert said(server, "two streams at once")["data"].count("final") == 4
    server.wait_idle()


def test_tokens_and_receipts_of_all_calls_are_reported(server: Served) -> None:
    item = said(server, "twice")
    assert item["data"] == "to A|to B"
    assert item["metadata"]["usage"] == {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
    assert item["metadata"]["receipt"] == [{"name": "top_k", "action": "dropped", "reason": "no such thing"}]


def test_the_other_methods_are_the_bindings(server: Served) -> None:
    assert said(server, "tokens")["data"] == {"count": 3, "info": {"name": "m1"}}


@pytest.mark.parametrize("text", ["something wrong", "no text"])
def test_what_cannot_be_sent_is_the_scripts_fault(server: Served, text: str) -> None:
    answer = answer_of(server, "ask", text)
    assert (answer.status, answer.json()["code"]) == (500, "workflow_failed")


def test_a_stream_that_is_left_ends_its_call(server: Served, model: Asked) -> None:
    assert said(server, "left early")["data"] == "fine"
    server.wait_until(lambda: model.script.running == 0)


def test_functions_run_and_say_how_it_went(server: Served) -> None:
    seen = answer_of(server, "function").json()["output"][0]["data"]
    assert seen["good"] == [True, 42]
    assert seen["bad"][0] is False and "own.missing" in seen["bad"][1]
    assert seen["names"] == ["own.double"]
    assert answer_of(server, "function", functions=[]).json()["output"][0]["data"]["names"] == []


def test_a_plain_function_can_ask_from_its_thread(server: Served) -> None:
    said = answer_of(server, "thread").json()["output"][0]["data"]
    assert said.startswith("to A,to, B,to B,2,(True, 4)"), said


class Held:
    """Ports whose calls say a word and go on when they are told to."""

    def __init__(self) -> None:
        self.open_now = 0
        self.most = 0
        self.go = threading.Event()

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        try:
            yield self._batches()
        finally:
            self.open_now -= 1

    async def _batches(self) -> AsyncIterator[Batch]:
        yield (Progress("load", "Loading."), Notice("info", "by the way"))
        yield (TextDelta("a word"),)
        while not self.go.is_set():
            await asyncio.sleep(0.002)

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError

    async def count(self, text: str) -> int:
        raise AssertionError


ONE_CALL = {
    "one": """
        async def run_workflow(prompt, params, context):
            return await context["binding"].generate(prompt=prompt)
        """,
    "idle": """
        import asyncio
        async def run_workflow(prompt, params, context):
            yield "ready"
            await asyncio.Event().wait()
        """,
}


def test_each_call_waits_for_its_turn_and_says_so_and_holds_nothing_else() -> None:
    held = Held()
    with serving(ONE_CALL, {"main": PortsBinding(held, places=1)}) as server:
        body = {**prompt("x"), "stream": True}
        with (
            RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers) as first,
            RawRequest(
                server.port, "POST", "/api/v1/generate", body={**body, "personality": "one"}, headers=server.headers
            ) as second,
        ):
            first.read_head()
            second.read_head()
            assert b'"kind":"queue","position":0' in next(second.pieces())
            server.wait_until(lambda: any(each.position == 0 for each in server.services.registry.snapshot()))
            held.go.set()
            rest = second.whole()
            assert b"a word" in rest.body and b'"kind":"load"' in rest.body and b"by the way" in rest.body
            first.whole()
        assert held.most == 1
        with RawRequest(
            server.port, "POST", "/api/v1/generate", body={**body, "personality": "idle"}, headers=server.headers
        ) as idle:
            idle.read_head()
            assert b"ready" in next(idle.pieces())
            assert server.on_loop(server.services.scheduler.status).in_use == {}


def test_errors_of_a_call_keep_their_own_status() -> None:
    failing = PortsBinding(Script(lambda call: RateLimited("Too many there.", retry_after=3)))
    with serving(ONE_CALL, {"main": failing}) as server:
        answer = answer_of(server, "one")
        assert (answer.status, answer.json()["code"]) == (429, "rate_limited")
        assert answer.headers["retry-after"] == "3"


class OneModelAtATime(Binding):
    """A binding from the documentation alone: it loads one model, and answers with the one that is loaded."""

    binding_type_name = "one_model"

    def __init__(self) -> None:
        super().__init__({"default_model": "a"}, None)  # type: ignore[arg-type]

    async def list_available_models(self) -> list[dict[str, Any]]:
        return [{"name": "a"}, {"name": "b"}]

    def get_supported_input_modalities(self) -> list[str]:
        return ["text"]

    def get_supported_output_modalities(self) -> list[str]:
        return ["text"]

    async def load_model(self, model_name: str) -> bool:
        await asyncio.sleep(0)
        self.model_name, self._model_loaded = model_name, True
        return True

    async def unload_model(self) -> bool:
        self._model_loaded = False
        return True

    async def generate(
        self, prompt: str, params: dict[str, Any], request_info: dict[str, Any], multimodal_data: Any = None
    ) -> str:
        before = self.model_name
        for _ in range(3):
            await asyncio.sleep(0)
        assert before == self.model_name
        return f"{self.model_name}:{request_info['model_name']}:{prompt}:{request_info['personality']}"

    async def get_model_info(self, model_name: str | None = None) -> dict[str, Any]:
        return {"name": model_name}


def test_scripts_never_mix_up_the_models_of_a_binding_that_loads_one_at_a_time() -> None:
    with serving(ONE_CALL, {"main": OneModelAtATime()}) as server:

        def asked(number: int) -> tuple[str, str]:
            model = "ab"[number % 2]
            answer = answer_of(server, "one", f"canary{number}", model_name=model)
            return answer.json()["output"][0]["data"], f"{model}:{model}:canary{number}:one"

        with ThreadPoolExecutor(8) as pool:
            for answer, expected in pool.map(asked, range(40)):
                assert answer == expected
