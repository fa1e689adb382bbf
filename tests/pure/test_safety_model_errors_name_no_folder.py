"""What is wrong with a model file is said with its name alone: the caller of a server has no use for our folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from lollms_core.errors import ModelLoadFailed
from lollms_runtime.models import check_gguf
from lollms_server.core.responses import public_message


@pytest.mark.parametrize("content", [b"hello", b"GGUF", b"GGUF" + b"\0" * 100, None])
@pytest.mark.parametrize("folder", ["plain", "joe's files", "joe doe (work)", "a:b", "docs"])
def test_no_part_of_the_path_is_told(tmp_path: Path, folder: str, content: bytes | None) -> None:
    file = tmp_path / folder / "private" / "model.gguf"
    file.parent.mkdir(parents=True)
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelLoadFailed, match=r"model\.gguf") as caught:
        check_gguf(file)
    for text in (caught.value.message, public_message(caught.value)):
        assert "private" not in text and folder not in text
