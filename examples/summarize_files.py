"""Summarise files of any length, and ask a question about them: `python summarize_files.py FILE...`."""

import sys
from pathlib import Path

from lollms_client import MSG_TYPE, LollmsClient


def show(chunk, msg_type, params=None):
    """How far the work is, on standard error, and the final text as it comes."""
    if msg_type == MSG_TYPE.MSG_TYPE_STEP_END:
        print(f"{params['fraction']:4.0%} {params['id']}", file=sys.stderr)
    elif msg_type == MSG_TYPE.MSG_TYPE_CHUNK:
        print(chunk, end="", flush=True)
    return True


files = sys.argv[1:]
if not files:
    raise SystemExit(__doc__)
with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", n_predict=60, temperature=0) as client:
    text = "\n\n".join(Path(name).read_text("utf-8") for name in files)
    client.summarize(text, "What is it about?", chunk_size_tokens=300, overlap_tokens=30, streaming_callback=show)
    print()
    client.deep_analyze("Which numbers stand in it?", files=files, chunk_size=200, streaming_callback=show)
    print()
