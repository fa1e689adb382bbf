"""Get data instead of prose, in the shape of a template: `python get_data.py [TEXT]`."""

import sys

from lollms_client import MSG_TYPE, LollmsClient

PERSON = {"name": "string", "age": "integer"}
text = sys.argv[1] if len(sys.argv) > 1 else "Ann is 31 years old."


def show(chunk, msg_type, params=None):
    if msg_type == MSG_TYPE.MSG_TYPE_JSON_INFOS:
        print("so far:", params["data"], file=sys.stderr)
    return True


with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", temperature=0) as client:
    person = client.generate_structured_content(
        f"Extract the name and the age: {text}", schema=PERSON, n_predict=100, streaming_callback=show
    )

if person is None:
    raise SystemExit("The model gave no answer of this shape.")
print(f"{person['name']} was {person['age'] - 1} a year ago.")
