"""Coroutines: several questions at the same time, then a stream with a time limit: `python several_at_once.py`."""

import asyncio

from lollms_client import AsyncLollmsClient
from lollms_core.types import TextDelta

QUESTIONS = ["What is the capital of France?", "What is the opposite of hot?", "What is 3 plus 4?"]


async def main() -> None:
    # `parallel` is how many the local model works on at once; what is more waits its turn
    config = {"parallel": 3}
    async with AsyncLollmsClient("pythonllamacpp", model_name="lollms-nano", llm_binding_config=config) as client:
        async with asyncio.TaskGroup() as group:  # if one fails, the others are stopped
            tasks = [group.create_task(client.complete(each, max_tokens=60, temperature=0)) for each in QUESTIONS]
        for question, task in zip(QUESTIONS, tasks, strict=True):
            print(f"{question} {task.result().text}")

        async with asyncio.timeout(60):  # cancelling, here by the clock, stops the model as well
            async with client.stream("Tell me a fun fact about space.", max_tokens=60, temperature=0) as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        print(event.text, end="", flush=True)
        print(f" ({(await stream.result()).finish_reason})")


asyncio.run(main())
