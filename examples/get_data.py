"""Get data instead of prose, in the form of a JSON Schema: `python get_data.py [TEXT]`."""

import json
import sys

from lollms_client import LollmsClient
from lollms_core.errors import StructuredOutputError

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
text = sys.argv[1] if len(sys.argv) > 1 else "Ann is 31 years old."

with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", temperature=0) as client:
    reply = client.complete(f"Extract the name and the age: {text}", schema=PERSON, max_tokens=100)

if reply.finish_reason == "length":  # an answer that was cut is no JSON
    raise StructuredOutputError("The answer did not fit into max_tokens.")
person = json.loads(reply.text)
print(f"{person['name']} was {person['age'] - 1} a year ago.")
