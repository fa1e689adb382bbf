"""What can go wrong, and what to do then: `python when_it_fails.py [ADDRESS OF AN OPENAI-COMPATIBLE SERVER]`.

Without an address it asks one where nobody answers. An error is an exception with a sentence for people, a `code` for
programs, and fields such as `param`, `status`, `retry_after` and `partial`, the reply so far.
"""

import sys

from lollms_client import LollmsClient
from lollms_client.testing import scripted_client
from lollms_core.errors import (
    AuthFailed,
    LollmsError,
    RateLimited,
    Refused,
    TransportError,
    TruncatedStream,
    UpstreamError,
    UpstreamTimeout,
)
from lollms_core.types import TextDelta


def ask(client: LollmsClient, question: str, **params) -> str:
    """A sentence in any case. What may pass by itself was tried again already, before the first word came."""
    try:
        return client.complete(question, **params).text
    except Refused:  # also a ConnectionRefusedError
        return "Nobody is there. Is the server running, and is the address right?"
    except AuthFailed:
        return "The server does not take the key: see `lollms keys set`."
    except RateLimited as error:
        return f"Too many questions. Ask again in {error.retry_after or 60:.0f} seconds."
    except UpstreamTimeout:  # also a TimeoutError
        return "It takes too long. Ask for less (max_tokens), or a smaller model."
    except (TransportError, UpstreamError) as error:
        so_far = error.partial.text if error.partial else ""
        return f"The server failed ({error.code}). What came: {so_far!r}"
    except ValueError as error:  # InvalidRequest: this program is at fault; `param` says which argument
        return f"That can not be asked: {error.param}"
    except LollmsError as error:  # everything else that the library raises
        return f"{error} ({error.code})"


address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:9/v1"
with LollmsClient("openai", host_address=address, model_name="a-model") as client:
    print(ask(client, "Hello?"))
    print(ask(client, "Hello?", temperature=-1))
    # the documented methods return the error as a dictionary
    answer = client.generate_text("Hello?")
    print(answer["code"] if isinstance(answer, dict) else answer)

# what can not be had at will, from a scripted model
broken = [(TextDelta("The answer"),), (TextDelta(" is"),), TruncatedStream("The connection was lost.")]
client = scripted_client([RateLimited("Slow down.", retry_after=7), broken])
print(ask(client, "Hello?"))
print(ask(client, "Hello?"))
try:
    LollmsClient(binding_name="olama")
except ValueError as error:
    print(error)
