"""A model calls Python functions and answers with what they return: `python let_it_call_functions.py [QUESTION]`."""

import json
import sys

from lollms_client import LollmsClient
from lollms_core.types import Message, Tool


def get_weather(city: str) -> str:
    return {"Madrid": "sunny, 21 C", "Oslo": "snow, -3 C"}.get(city, "unknown")


# What the model is told of each function. The parameters are a JSON Schema.
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {"get_weather": (get_weather, Tool("get_weather", "Get the weather for a city", CITY))}


def run(call):
    """The result of a call as text. What a model writes is not to be trusted: any mistake goes back to it as text."""
    try:
        function, _ = TOOLS[call.name]
        return json.dumps(function(**call.arguments))
    except Exception as error:
        return f"The call failed: {error!r}"


messages = [Message.user(sys.argv[1] if len(sys.argv) > 1 else "What is the weather in Madrid?")]

with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", temperature=0, n_predict=200) as client:
    for _ in range(5):  # a model that calls for ever is stopped
        reply = client.complete(messages, tools=[tool for _, tool in TOOLS.values()])
        if not reply.tool_calls:
            break
        messages.append(Message.assistant(reply.text, reply.tool_calls))
        for call in reply.tool_calls:
            result = run(call)
            print(f"{call.name}({call.arguments}) -> {result}")
            messages.append(Message.tool(call.id, result))

print(reply.text)
