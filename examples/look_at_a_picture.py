"""Ask a model that sees about pictures. It needs such a model behind an address, for example

    python look_at_a_picture.py --model llava photo.jpg "What is in this picture?"
    python look_at_a_picture.py --binding openai --host http://localhost:8000/v1 --model my-model chart.png

A picture that the provider would not take as it is (turned, too large, of another kind) is made to fit, and the
receipt says so.
"""

import argparse
import sys

from lollms_client import LollmsClient
from lollms_core.errors import LollmsError

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("picture", help="the path of a PNG, JPEG, WebP or GIF file")
parser.add_argument("question", nargs="?", default="What is in this picture?")
parser.add_argument("--binding", default="ollama")
parser.add_argument("--host", help="the address of the server")
parser.add_argument("--model", default="llava")
asked = parser.parse_args()

try:
    with LollmsClient(binding_name=asked.binding, host_address=asked.host, model_name=asked.model) as client:
        print(f"(the picture takes about {client.count_image_tokens(asked.picture)} tokens)", file=sys.stderr)
        reply = client.complete(asked.question, images=[asked.picture], max_tokens=200)
        print(reply.text)
        for item in reply.receipt:
            print(f"({item.name} was {item.action}: {item.reason})", file=sys.stderr)

        # In a conversation a picture is a part of a message, as data: no text in a message is ever opened as a file.
        with open(asked.picture, "rb") as file:
            parts = [{"type": "text", "text": asked.question}, {"type": "image", "data": file.read()}]
        print(client.generate_from_messages([{"role": "user", "content": parts}], n_predict=200, raise_errors=True))
except (LollmsError, OSError) as error:
    sys.exit(str(error))
