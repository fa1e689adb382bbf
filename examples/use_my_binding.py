"""A binding of your own, in the folder my_bindings: `python use_my_binding.py`. How one is written: DOC_DEV.md."""

import asyncio
from pathlib import Path

from lollms_client import AsyncLollmsClient, LollmsClient
from lollms_core.types import TextDelta

SETTINGS = {
    "binding_name": "parrot",
    "llm_bindings_dir": Path(__file__).parent / "my_bindings",
    "llm_binding_config": {"times": 2},
}

# The class overrides three methods and nothing else; all that a client can do works with it.
with LollmsClient(**SETTINGS) as client:
    print("there are:", ", ".join(client.get_available_llm_bindings()))
    print(client.generate_text("hello"))
    with client.stream("good morning") as stream:
        print([event.text for event in stream if isinstance(event, TextDelta)])
    print(client.count_tokens("one two three"), [model["model_name"] for model in client.list_models()])


async def main():
    async with AsyncLollmsClient(**SETTINGS) as client:  # what is written for threads runs on one
        print(await asyncio.gather(client.generate_text("one"), client.generate_text("two")))


asyncio.run(main())
