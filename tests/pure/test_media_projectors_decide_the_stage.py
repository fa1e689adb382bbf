"""A model that looks at all of an image at once reads it in one stage; for all others the stages stay short."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from lollms_core.errors import InvalidRequest
from lollms_core.protocols.base import Target
from lollms_core.protocols.llamacpp import LlamaCppCodec
from lollms_core.types import GenerationCall, ImagePart, Message
from lollms_runtime.engines.gguf_header import read_header
from lollms_runtime.engines.llamacpp_launch import STAGE, LlamaCppSettings, launch_of
from lollms_runtime.models import EMBEDDED, find_model
from tests.support.media_files import gif, jpeg, png, webp

pytestmark = pytest.mark.group("gguf")


def projector(path: Path, kind: str, *, mixed: bool = False) -> Path:
    writer = gguf.GGUFWriter(path, "clip")
    if mixed:
        writer.add_clip_vision_projector_type(kind)
        writer.add_clip_audio_projector_type("whisper")
    else:
        writer.add_clip_projector_type(kind)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.group("engine")
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize(
    ("kind", "stage"),
    [("mlp", STAGE), ("qwen2.5vl_merger", STAGE), ("gemma3", 256), ("gemma4v", 1120), ("gemma4uv", 1120)],
)
def test_the_stage_holds_an_image_that_must_not_be_cut(tmp_path: Path, kind: str, stage: int, mixed: bool) -> None:
    path = projector(tmp_path / "p.gguf", kind, mixed=mixed)
    assert read_header(path).projector == kind
    settings = LlamaCppSettings(model=find_model(EMBEDDED), image_projector=path, gpu_layers=0)
    line = launch_of(settings).command().line
    assert line["stage"] == min(stage, line["context"])
    assert line["image_projector"] == str(path)


@pytest.mark.group("engine")
def test_a_projector_uses_the_graphics_card_only_where_the_model_does(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o700)
    path = projector(tmp_path / "p.gguf", "mlp")
    for layers, off in ((0, True), (-1, False), (5, False)):
        settings = LlamaCppSettings(
            model=find_model(EMBEDDED), image_projector=path, gpu_layers=layers, server_path=program
        )
        argv = launch_of(settings).command().line["argv"]
        assert argv[argv.index("--mmproj") + 1] == str(path)
        assert ("--no-mmproj-offload" in argv) is off


@pytest.mark.parametrize(
    ("data", "mime", "read"),
    [
        (png(), "image/png", True),
        (jpeg(), "image/jpeg", True),
        (gif(), "image/gif", True),
        (webp(), "image/webp", False),
        (b"x", "image/svg+xml", False),
    ],
)
def test_only_what_llama_cpp_decodes_itself_is_sent_to_it(data: bytes, mime: str, read: bool) -> None:
    call = GenerationCall(
        (Message.user("?", [ImagePart(png(), "image/png")]), Message.user("?", [ImagePart(data, mime)]))
    )
    if read:
        assert mime.encode() in LlamaCppCodec().request(call, Target("http://127.0.0.1:1")).body
    else:
        with pytest.raises(InvalidRequest, match=f"does not read {mime.replace('+', '.')}"):
            LlamaCppCodec().request(call, Target("http://127.0.0.1:1"))
