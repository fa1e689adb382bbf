"""Scripts have the client's operations of several calls; each call has its own lease, and all end with the request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from typing_extensions import override

from lollms_core.types import (
    Batch,
    GenerationCall,
    Message,
    Notice,
    Params,
    Progress,
    Reply,
    TextDelta,
    ToolCall,
    Usage,
)
from lollms_runtime.async_drive import Sink
from lollms_runtime.scripted import Script
from lollms_server.core.bindings import Binding
from tests.support.personalities import answer_of, serving
from tests.support.raw_http import RawRequest, ask, prompt
from tests.support.server import PortsBinding, Served
from tests.support.third_party_binding import Documented, make

SCRIPTS = {
    "structured": """
        async def run_workflow(prompt, params, context):
            binding, shape = context["binding"], {"name": "string", "size": "integer"}
            match prompt:
                case "with arguments":
                    return await binding.generate_structured_content(
                        "Who?", None, shape, "Be exact.", temperature=0, n_predict=50
                    )
                case "the older name":
                    return await binding.generate_structured_content("Who?", output_format=shape)
                case "as it is":
                    return await binding.generate_structured_content("Who?", schema=shape, use_override=True)
                case "once":
                    return await binding.generate_structured_content("unwilling", schema=shape, max_retries=0)
                case "no shape":
                    return await binding.generate_structured_content("Who?", schema="{")
                case "bad parameter":
                    return await binding.generate_structured_content("Who?", schema=shape, temperature="hot")
                case "another instance":
                    other = context["binding_manager"].get_binding("other")
                    return await other.generate_structured_content("Who?", schema=shape)
            return await binding.generate_structured_content(prompt, schema=shape)
        """,
    "thread": """
        import asyncio
        SHAPE = {"name": "string", "size": "integer"}
        def run_workflow(prompt, params, context):
            return asyncio.run(context["binding"].generate_structured_content(prompt, schema=SHAPE))
        """,
    "many": """
        import asyncio
        async def run_workflow(prompt, params, context):
            binding, shape = context["binding"], {"name": "string", "size": "integer"}
            found = [binding.generate_structured_content(f"{n}", schema=shape) for n in range(6)]
            return {"found": await asyncio.gather(*found)}
        """,
    "questions": """
        async def run_workflow(prompt, params, context):
            ask, explained = context["binding"], {"return_explanation": True, "max_answer_length": 100}
            return {
                "yes": await ask.yes_no("Is it wet?", "It rains."),
                "why": await ask.yes_no("Is it wet?", conditionning="Be wise.", **explained),
                "one": await ask.multichoice_question("Which?", ["red", "blue"]),
                "one why": await ask.multichoice_question("Which?", ["red", "blue"], **explained),
                "order": await ask.multichoice_ranking("Which?", ["red", "blue"], conditioning="Be wiser."),
                "order why": await ask.multichoice_ranking("Which?", (3, 4), **explained),
                "nothing to ask": [
                    await ask.multichoice_question("Which?", ["red"]), await ask.multichoice_ranking("Which?", []),
                ],
            }
        """,
    "code": """
        CODE = "def f():\\n    return 1\\n"
        async def run_workflow(prompt, params, context):
            binding = context["binding"]
            return {
                "one": await binding.generate_code("Write code.", language="python", n_predict=99, debug=True),
                "all": await binding.generate_codes("Write code.", system_prompt="Be exact."),
                "changed": await binding.update_code(CODE, "Write code that returns 2."),
            }
        """,
    "wrong questions": """
        async def run_workflow(prompt, params, context):
            match prompt:
                case "callback":
                    return await context["binding"].generate_code("Write code.", callback=print)
                case "format":
                    return await context["binding"].generate_code("Write code.", code_tag_format="runes")
                case "patch":
                    return await context["binding"].update_code("x", "y", patch_format="none")
                case "none":
                    return await context["binding"].multichoice_question("Which?", [])
                case "no list":
                    return await context["binding"].multichoice_question("Which?", "red")
                case "sizes":
                    return await context["binding"].summarize("text", chunk_size_tokens=0)
                case "overlap":
                    return await context["binding"].sequential_summarize("text", chunk_size=50, overlap=60)
                case "nothing":
                    return await context["binding"].deep_analyze("Why?")
                case "no function":
                    return await context["binding"].generate_text_with_rag("Why?", "not a function")
                case "hops":
                    return await context["binding"].generate_text_with_rag("Why?", print, max_rag_hops=0)
        """,
    "documents": """
        import asyncio
        FOUND = [{"chunk_text": "Blue light scatters.", "file_path": "sky.txt", "similarity_percent": 90}]
        async def later(query, vectorizer, top_k, min_similarity):
            await asyncio.sleep(0)
            return [{**FOUND[0], "rest": [query, vectorizer, top_k, min_similarity]}]
        def plain(query, vectorizer, top_k, min_similarity):
            return FOUND
        def broken(*arguments):
            raise RuntimeError("the canary of the script")
        def exits(*arguments):
            raise SystemExit("canary")
        async def exits_later(*arguments):
            raise SystemExit("canary")
        async def run_workflow(prompt, params, context):
            search = {"later": later, "plain": plain, "broken": broken, "exits": exits, "exits later": exits_later,
                      "junk": lambda *arguments: {"canary": 1}, "number": lambda *arguments: 5}[prompt]
            return await context["binding"].generate_text_with_rag(
                "Why is the sky blue?", search, rag_query_text="blue sky", max_rag_hops=1, rag_top_k=2,
                objective_extraction_system_prompt=None, max_rag_context_characters=params.get("most", 32_000),
            )
        """,
    "documents from a thread": """
        import asyncio
        async def find(query, vectorizer, top_k, min_similarity):
            assert asyncio.get_running_loop() is LOOPS[0]
            return ["Blue light scatters."]
        async def exits(*arguments):
            raise SystemExit("canary")
        LOOPS = []
        async def work(prompt, context):
            LOOPS[:] = [asyncio.get_running_loop()]
            search = exits if prompt == "exits" else find
            return await context["binding"].generate_text_with_rag("Why?", search, extract_objectives=False)
        def run_workflow(prompt, params, context):
            return asyncio.run(work(prompt, context))
        """,
    "long": """
        async def run_workflow(prompt, params, context):
            binding = context["binding"]
            match params["what"]:
                case "summary":
                    return await binding.summarize(prompt, "Only the colours.", 200, 0)
                case "task":
                    return await binding.long_context_processing(prompt, "List the colours.", ctx_size=800)
                case "sequence":
                    return await binding.sequential_summarize(prompt, ctx_size=2000, chunk_size=200, overlap=0)
                case "analysis":
                    return await binding.deep_analyze("Which colours?", files={"a.txt": prompt, "b.txt": "Red."})
        """,
    "card": """
        async def run_workflow(prompt, params, context):
            async with context["resource_manager"].acquire_gpu_resource():
                return await context["binding"].generate_structured_content(prompt, schema={"name": "string"})
        """,
}
GOOD = '{"name": "Ann", "size": 2}'
NOTE = "The sky is blue."
CODES = "One:\n```python\nx = 1\n```\nfile: two.js\n```js\nlet x = 1\n```\n"
PATCH = "```diff\n@@ -1,2 +1,2 @@\n def f():\n-    return 1\n+    return 2\n```"


def made(schema: Mapping[str, Any]) -> Any:
    """The first value that a schema allows."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object":
            return {name: made(each) for name, each in schema["properties"].items()}
        case "array":
            return [made(schema["items"])]
    return {"boolean": True, "integer": 2, "string": "Ann"}[schema["type"]]


class Model:
    """Says what a schema wants; to `hesitate` only when it is asked again, to prompts with `unwilling` not at all."""

    def __init__(self) -> None:
        self.script = Script(self.reply)

    def reply(self, call: GenerationCall) -> Reply:
        said = " ".join(message.text for message in call.messages)
        again = any(message.role == "assistant" for message in call.messages)
        text = json.dumps(made(call.schema)) if call.schema else GOOD if "Answer with a JSON" in said else NOTE
        if call.tools:
            text = GOOD
        if "code" in said:
            text = PATCH if "return 1" in said else CODES
        if "unwilling" in said or ("hesitate" in said and not again):
            text = "I do not know."
        return Reply(text, usage=Usage(10, 1, 11), model=call.model)

    @property
    def calls(self) -> list[GenerationCall]:
        return self.script.calls


@pytest.fixture(scope="module")
def mind() -> Model:
    return Model()


@pytest.fixture
def model(mind: Model) -> Model:
    """The same model, which has not been asked yet."""
    mind.calls.clear()
    return mind


@pytest.fixture(scope="module")
def server(mind: Model) -> Iterator[Served]:
    bindings: dict[str, Binding] = {
        "main": PortsBinding(mind.script, places=1, model="m1"),
        "other": PortsBinding(mind.script, model="o1"),
    }
    with serving(SCRIPTS, bindings, fields={"model_temperature": 0.25}) as served:
        yield served


def data(server: Served, name: str, text: str = "Who?", **body: Any) -> Any:
    answer = answer_of(server, name, text, **body)
    assert answer.status == 200, answer
    return answer.json()["output"][0]["data"]


def test_a_structured_answer_is_the_value_and_costs_one_call(server: Served, model: Model) -> None:
    assert data(server, "structured") == {"name": "Ann", "size": 2}
    (call,) = model.calls
    assert call.messages[0] == Message.system("Be brief.")
    assert (call.model, call.params, call.schema is not None) == ("m1", Params(temperature=0.25), True)


def test_its_arguments_are_the_clients(server: Served, model: Model) -> None:
    for text in ("with arguments", "the older name", "as it is", "another instance"):
        assert data(server, "structured", text) == {"name": "Ann", "size": 2}
    first, _, override, other = model.calls
    assert first.messages[0] == Message.system("Be exact.")
    assert first.params == Params(temperature=0.0, max_tokens=50)
    assert override.messages[-1] == Message.user("Who?")
    assert other.model == "o1"


def test_what_does_not_fit_is_asked_again_and_all_calls_are_counted(server: Served, model: Model) -> None:
    answer = answer_of(server, "structured", "hesitate")
    (item,) = answer.json()["output"]
    assert item["data"] == {"name": "Ann", "size": 2}
    assert item["metadata"]["usage"]["total_tokens"] == 11 * len(model.calls) == 22


def test_the_caller_sees_that_it_is_asked_again_and_no_text_of_it(server: Served) -> None:
    events = answer_of(server, "structured", "hesitate", stream=True).events()
    assert [event["type"] for event in events] == ["info", "final"]
    assert "asked for again" in events[0]["content"]
    assert "do not know" not in json.dumps(events)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_never_fits_is_an_error_of_its_own(server: Served, model: Model, stream: bool) -> None:
    answer = answer_of(server, "structured", "unwilling", stream=stream)
    if stream:
        (said,) = (event["metadata"] for event in answer.events() if event["type"] == "error")
    else:
        said = answer.json()
    assert said["code"] == "structured_output_failed", said
    assert len(model.calls) == 3
    answer = answer_of(server, "structured", "once")
    assert (answer.status, len(model.calls)) == (502, 4)


@pytest.mark.parametrize("text", ["no shape", "bad parameter"])
def test_arguments_that_cannot_be_used_are_the_scripts_fault(server: Served, model: Model, text: str) -> None:
    answer = answer_of(server, "structured", text)
    assert (answer.status, answer.json()["code"], model.calls) == (500, "workflow_failed", [])


def test_a_plain_function_asks_from_its_thread(server: Served, model: Model) -> None:
    assert data(server, "thread", "hesitate") == {"name": "Ann", "size": 2}


def test_many_operations_at_once_take_turns_where_there_is_one_place(server: Served, model: Model) -> None:
    assert data(server, "many") == {"found": [{"name": "Ann", "size": 2}] * 6}
    assert len(model.calls) == 6


def test_questions_have_answers_of_the_documented_forms(server: Served, model: Model) -> None:
    assert data(server, "questions") == {
        "yes": True,
        "why": {"answer": True, "explanation": "Ann"},
        "one": 0,
        "one why": {"index": 0, "explanation": "Ann"},
        "order": {"ranking": [0, 1]},
        "order why": {"ranking": [0, 1], "explanations": ["Ann", "Ann"]},
        "nothing to ask": [0, {"ranking": []}],
    }
    assert len(model.calls) == 6
    assert "It rains." in model.calls[0].messages[-1].text
    assert [call.messages[0].text for call in model.calls[:5:2]] == ["Be brief.", "Be brief.", "Be wiser."]
    assert model.calls[1].messages[0].text == "Be wise."
    assert not any(call.params.extra for call in model.calls)


WRONG = ("callback", "format", "patch", "none", "no list", "sizes", "overlap", "nothing", "no function", "hops")


@pytest.mark.parametrize("text", WRONG)
def test_what_an_operation_refuses_is_the_scripts_fault(server: Served, model: Model, text: str) -> None:
    answer = answer_of(server, "wrong questions", text)
    assert (answer.status, answer.json()["code"], model.calls) == (500, "workflow_failed", [])


def test_code_comes_as_the_client_gives_it(server: Served, model: Model) -> None:
    found = data(server, "code")
    assert found["one"] == "x = 1"
    assert [(each["type"], each["file_name"], each["content"], each["is_complete"]) for each in found["all"]] == [
        ("python", "", "x = 1", True),
        ("js", "two.js", "let x = 1", True),
    ]
    changed = found["changed"]
    assert (changed["success"], changed["error"], changed["updated_code"]) == (True, None, "def f():\n    return 2\n")
    assert "-    return 1" in changed["patch"]
    one, codes, _ = model.calls
    assert (one.params.max_tokens, one.params.extra) == (99, {})
    assert codes.messages[0] == Message.system("Be exact.")


@pytest.mark.parametrize("function", ["later", "plain"])
def test_documents_are_searched_by_a_function_of_the_script(server: Served, model: Model, function: str) -> None:
    found = data(server, "documents", function)
    assert (found["final_answer"], found["error"]) == (NOTE, None)
    (source,) = found["all_retrieved_sources"]
    assert source["chunk_text"] == "Blue light scatters." and source["file_path"] == "sky.txt"
    assert [hop["query"] for hop in found["rag_hops_history"]] == ["blue sky"]
    assert source.get("rest") in (None, ["blue sky", None, 2, 70.0])
    assert len(model.calls) == 2  # the objectives, and the answer
    assert "Blue light scatters." in model.calls[-1].messages[-1].text


def test_the_receipt_says_what_an_operation_left_out(server: Served) -> None:
    answer = answer_of(server, "documents", "plain", parameters={"most": 5})
    (item,) = answer.json()["output"]
    assert "1 of 1 passages were left out" in json.dumps(item["metadata"]["receipt"])


FAILING = ("broken", "exits", "exits later", "junk", "number")


@pytest.mark.parametrize("function", FAILING)
def test_a_function_that_fails_is_the_scripts_and_says_nothing_to_the_caller(server: Served, function: str) -> None:
    answer = answer_of(server, "documents", function)
    assert (answer.status, answer.json()["code"]) == (500, "workflow_failed")
    assert b"canary" not in answer.body
    assert data(server, "structured") == {"name": "Ann", "size": 2}  # the server goes on


def test_a_function_may_even_end_the_loop_of_its_script(server: Served) -> None:
    answer = answer_of(server, "documents from a thread", "exits")
    assert (answer.status, answer.json()["code"]) == (500, "workflow_failed")


def test_a_function_is_awaited_in_the_loop_of_its_script(server: Served) -> None:
    found = data(server, "documents from a thread")
    assert found["all_retrieved_sources"][0]["chunk_text"] == "Blue light scatters."


LONG = "\n\n".join(f"Paragraph {number} is about a colour of the sky." for number in range(60))


@pytest.mark.parametrize("what", ["summary", "task", "sequence", "analysis"])
def test_long_texts_are_read_in_parts(server: Served, model: Model, what: str) -> None:
    answer = answer_of(server, "long", LONG, stream=True, parameters={"what": what})
    events = answer.events()
    assert events[-1]["content"][0]["data"] == NOTE
    steps = [event["metadata"]["data"]["id"] for event in events if event["metadata"].get("kind") == "step_start"]
    assert len(steps) == len(set(steps)) >= 3
    asked = " ".join(call.messages[-1].text for call in model.calls)
    assert all(f"Paragraph {number} is" in asked for number in range(60))
    said = [event["content"] for event in events if event["type"] == "chunk"]
    assert "".join(said) == NOTE, "the texts on the way are the script's"
    assert events[-1]["content"][0]["metadata"]["usage"]["total_tokens"] == 11 * len(model.calls)


def test_a_short_text_costs_one_call(server: Served, model: Model) -> None:
    assert data(server, "long", "Blue.", parameters={"what": "summary"}) == NOTE
    assert len(model.calls) == 1


# ---- the end -------------------------------------------------------------------------------------------------------


class Endless:
    """Says a word and then nothing; `opened` and `left` count its calls, `most` is how many there were at once."""

    def __init__(self) -> None:
        self.opened = threading.Semaphore(0)
        self.open_now = 0
        self.most = 0

    @contextlib.asynccontextmanager
    async def open(self, call: GenerationCall) -> AsyncIterator[AsyncIterator[Batch]]:
        self.open_now += 1
        self.most = max(self.most, self.open_now)
        try:
            yield self._batches()
        finally:
            self.open_now -= 1

    async def _batches(self) -> AsyncIterator[Batch]:
        yield (Progress("load", "Loading."), Notice("info", "by the way"), TextDelta("A word."))
        self.opened.release()
        await asyncio.Event().wait()

    async def tool(self, call: ToolCall, sink: Sink) -> str:
        raise AssertionError

    async def count(self, text: str) -> int:
        raise AssertionError


ENDLESS = {
    "loop": """
        async def run_workflow(prompt, params, context):
            return await context["binding"].summarize(prompt, None, 100, 0)
        """,
    "thread": """
        import asyncio
        def run_workflow(prompt, params, context):
            return asyncio.run(context["binding"].summarize(prompt, None, 100, 0))
        """,
    "stubborn": """
        import asyncio
        async def run_workflow(prompt, params, context):
            for _ in range(3):
                try:
                    await context["binding"].summarize(prompt, None, 100, 0)
                except asyncio.CancelledError:
                    pass
            raise RuntimeError("that was all")
        """,
    "returns": """
        import asyncio
        async def run_workflow(prompt, params, context):
            yield "first"
            work = asyncio.ensure_future(context["binding"].summarize(prompt, None, 100, 0))
            await asyncio.wait([work], timeout=0.05)
            yield "enough"
        """,
}


@pytest.mark.parametrize(
    ("script", "places"), [("loop", 1), ("loop", 3), ("loop", None), ("thread", None), ("stubborn", 2)]
)
@pytest.mark.parametrize("end", ["left", "deleted"])
def test_all_calls_end_when_the_request_does(script: str, places: int | None, end: str) -> None:
    endless = Endless()
    with serving(ENDLESS, {"main": PortsBinding(endless, places=places)}) as server:
        headers = {**server.headers, "X-Request-ID": "0123456789abcdef-operation"}
        body = {**prompt(LONG, stream=True), "personality": script}
        with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=headers) as running:
            running.read_head()
            for _ in range(places or 4):
                assert endless.opened.acquire(timeout=5)
            assert b"A word." not in running.buffer
            if end == "deleted":
                gone = ask(server.port, "DELETE", "/api/v1/requests/0123456789abcdef-operation", None, server.headers)
                assert gone.status == 204, gone
            else:
                running.leave()
            server.wait_until(lambda: endless.open_now == 0)
            server.wait_idle()
        assert endless.most == (places or 4)


def test_a_script_that_does_not_wait_for_an_operation_ends_it() -> None:
    endless = Endless()
    with serving(ENDLESS, {"main": PortsBinding(endless, places=2)}) as server:
        assert answer_of(server, "returns", LONG).json()["output"][0]["data"] == "firstenough"
        server.wait_idle()
        assert (endless.open_now, endless.most) == (0, 2)


class Card(PortsBinding):
    """Needs the graphics card for each call."""

    @override
    def get_resource_requirements(self, model_name: str | None = None) -> dict[str, Any]:
        return {"gpu_required": True, "estimated_vram_mb": 1}


def test_a_script_that_holds_the_card_does_not_wait_for_itself(mind: Model) -> None:
    with serving(SCRIPTS, {"main": Card(mind.script, places=1), "other": PortsBinding(mind.script)}) as server:
        answer = answer_of(server, "card")
        assert (answer.status, answer.json()["code"]) == (500, "workflow_failed")
        assert answer_of(server, "many").status == 200


def test_no_call_of_an_operation_waits_for_the_card_behind_another_one() -> None:
    endless = Endless()
    with serving(ENDLESS, {"main": Card(endless)}) as server:
        body = {**prompt(LONG, stream=True), "personality": "loop"}
        with RawRequest(server.port, "POST", "/api/v1/generate", body=body, headers=server.headers):
            assert endless.opened.acquire(timeout=5)
            status = server.on_loop(server.services.scheduler.status)
            assert (status.in_use["device:gpu"], status.waiting, endless.most) == (1, (), 1)


class Refusing(Documented):
    """A binding from the documentation that takes no schema."""

    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
        self.asked.append({"info": request_info})
        if "response_schema" in request_info or "tools" in request_info:
            raise ValueError("only words are taken")
        return GOOD


def test_a_documented_binding_that_refuses_schemas_is_asked_in_words() -> None:
    binding = make(Refusing, default_model="m")
    with serving(SCRIPTS, {"main": binding, "other": binding}) as server:
        assert data(server, "structured") == {"name": "Ann", "size": 2}
        assert [set(each["info"]) & {"tools", "response_schema"} for each in binding.asked] == [
            {"response_schema"}, {"tools"}, set(),
        ]  # fmt: skip


class Counting(Documented):
    """Counts with the model that it has loaded."""

    async def count_tokens(
        self, text: str, add_bos: bool = False, add_eos: bool = False, model_name: str | None = None
    ) -> int:
        return len(text.split())

    async def generate(self, prompt: str, params: Any, request_info: Any, multimodal_data: Any = None) -> Any:
        self.asked.append({"prompt": prompt})
        return NOTE


def test_what_is_wrong_with_the_request_is_not_taken_for_the_scripts_fault() -> None:
    binding = make(Counting, default_model="m")
    with serving(SCRIPTS, {"main": binding, "other": binding}) as server:
        answer = answer_of(server, "long", LONG, model_name="missing", parameters={"what": "summary"})
        assert (answer.status, answer.json()["code"]) == (400, "unknown_model")
        assert not binding.asked
        assert data(server, "long", LONG, parameters={"what": "summary"}) == NOTE
        assert len(binding.asked) >= 3
