"""One question to any binding, with the same few lines for all of them. For example

    python ask_any_binding.py "What is the capital of France?"
    python ask_any_binding.py --binding lollms --host http://localhost:9601 "Tell me a fun fact about space."
    python ask_any_binding.py --binding ollama --model llama3.2 "Why is the sky blue?"
    python ask_any_binding.py --binding openai --model gpt-4o-mini "Why is the sky blue?"
    python ask_any_binding.py --binding llamacpp --model /path/to/model.gguf "Why is the sky blue?"

The bindings are pythonllamacpp and llamacpp, which run a model on this machine (lollms-nano unless you name one), and
lollms, ollama, openai and lollms_webui, which ask a server: --host is its address where it is not the usual one. Keys
do not belong on a command line; they come from LOLLMS_API_KEY and OPENAI_API_KEY, or from `lollms keys set`.
"""

import argparse
import sys

from lollms_client import LollmsClient
from lollms_core.errors import LollmsError

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("question")
parser.add_argument("--binding", default="pythonllamacpp")
parser.add_argument("--host", help="the address of the server")
parser.add_argument("--model", default="", help="else the one that the binding chooses")
asked = parser.parse_args()

try:  # a binding or a file that is not there is an exception of the constructor
    with LollmsClient(binding_name=asked.binding, host_address=asked.host, model_name=asked.model) as client:
        answer = client.generate_text(asked.question, n_predict=200)
except LollmsError as error:
    sys.exit(f"{asked.binding}: {error} ({error.code})")

if isinstance(answer, dict):  # the documented methods return an error, unless they are told to raise it
    sys.exit(f"{asked.binding}: {answer['error']} ({answer['code']})")
print(answer)
