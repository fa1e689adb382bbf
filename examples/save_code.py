"""Save the code blocks of an answer as files: `python save_code.py [FOLDER] [QUESTION]`.

The names in an answer are the model's words, so none is used that could lead out of the folder or over another file.
"""

import re
import sys
from pathlib import Path

from lollms_client import LollmsClient

ENDINGS = {"python": ".py", "javascript": ".js", "html": ".html", "css": ".css", "bash": ".sh", "json": ".json"}
SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,40}\.[a-z0-9]{1,8}")  # no folder, no hidden file, nothing odd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "code")
question = sys.argv[2] if len(sys.argv) > 2 else "Write a Python function that adds two numbers."


def save(block, folder):
    """Write a block to a new file and return its path."""
    name = block["file_name"]
    if not SAFE.fullmatch(name):
        name = f"block_{block['index']}{ENDINGS.get(block['type'], '.txt')}"
    path = folder / name
    with path.open("x", encoding="utf-8") as file:  # "x" refuses to write over a file that is there
        file.write(block["content"].rstrip("\n") + "\n")
    return path


if __name__ == "__main__":
    with LollmsClient(binding_name="pythonllamacpp", model_name="lollms-nano", temperature=0) as client:
        answer = client.complete(question, max_tokens=300).text
        blocks = client.extract_code_blocks(answer)
    folder.mkdir(exist_ok=True)
    for block in blocks:
        if block["is_complete"]:  # one that was cut off is of no use
            print(save(block, folder))
