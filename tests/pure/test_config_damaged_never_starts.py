"""A configuration that was damaged never starts a server that is more open than what was written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lollms_core.errors import ConfigError, meaning
from lollms_server.core.config import END_LINE, LoadedConfig, load_config
from lollms_server.core.first_start import main_config_text
from lollms_server.core.keyring import hashed

KEYS = ["first-key-0123456789", "second-key-0123456789"]
WRITTEN = main_config_text(hashed(KEYS[0])).encode()
BY_HAND = f"""\
server:
  host: 0.0.0.0
  port: 9601
defaults:
  ttt_binding: mine
bindings_map:
  mine: openai_binding
security:
  allowed_api_keys:
    - {KEYS[0]}
    - {KEYS[1]}
logging:
  log_level: INFO
""".encode()


def load(folder: Path, data: bytes) -> LoadedConfig | None:
    """What starts with these bytes as main configuration; None when nothing does, with an error as promised."""
    file = folder / "main_config.yaml"
    file.write_bytes(data)
    file.chmod(0o600)
    try:
        return load_config(folder, {})
    except ConfigError as caught:
        error = caught
    assert meaning(error).exit_code == 78
    assert str(file) in error.message
    assert not any(key in error.message for key in KEYS)
    return None


def offsets(data: bytes) -> range:
    return range(0, len(data), 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "configs"
    path.mkdir(mode=0o700)
    return path


def test_the_undamaged_files_start(folder: Path) -> None:
    first, second = load(folder, WRITTEN), load(folder, BY_HAND)
    assert first is not None and second is not None
    assert (first.config.server.host, len(first.keys)) == ("127.0.0.1", 1)
    assert (second.config.server.host, len(second.keys)) == ("0.0.0.0", 2)


def test_cut_off_at_every_64th_byte_nothing_starts(folder: Path) -> None:
    assert [cut for cut in offsets(WRITTEN) if load(folder, WRITTEN[:cut])] == []


def test_cut_off_at_every_line_end_nothing_starts(folder: Path) -> None:
    lines = WRITTEN.splitlines(keepends=True)
    assert [n for n in range(len(lines)) if load(folder, b"".join(lines[:n]))] == []


def test_without_its_middle_nothing_starts_open(folder: Path) -> None:
    for start in offsets(WRITTEN):
        loaded = load(folder, WRITTEN[:start] + WRITTEN[start + 64 :])
        assert loaded is None or (loaded.config.server.host == "127.0.0.1" and loaded.keys.required)


def test_filled_with_zeros_or_noise_from_any_point_nothing_starts(folder: Path) -> None:
    for start in offsets(WRITTEN):
        rest = len(WRITTEN) - start
        for filler in (b"\0" * rest, b"\xff" * rest, WRITTEN[:rest], b" " * rest, b"\n" * rest):
            assert load(folder, WRITTEN[:start] + filler) is None or filler == WRITTEN[start:]


def test_an_inverted_byte_at_every_64th_never_starts(folder: Path) -> None:
    for at in offsets(WRITTEN):
        damaged = bytearray(WRITTEN)
        damaged[at] ^= 0xFF
        assert load(folder, bytes(damaged)) is None


def test_a_flipped_bit_never_opens_the_server(folder: Path) -> None:
    for at in offsets(WRITTEN):
        for bit in range(8):
            damaged = bytearray(WRITTEN)
            damaged[at] ^= 1 << bit
            loaded = load(folder, bytes(damaged))
            assert loaded is None or (loaded.config.server.host == "127.0.0.1" and loaded.keys.required), (at, bit)


def test_a_flipped_bit_in_what_guards_the_door_never_opens_it(folder: Path) -> None:
    spots = [
        (WRITTEN.index(b"  host:"), 18),
        (WRITTEN.index(b"security:"), 10),
        (WRITTEN.index(b"  allow_unauthenticated"), 31),
        (WRITTEN.index(b"  allowed_api_keys:"), 32),
    ]
    for start, length in spots:
        for at in range(start - 1, start + length):
            for bit in (0, 4):
                damaged = bytearray(WRITTEN)
                damaged[at] ^= 1 << bit
                loaded = load(folder, bytes(damaged))
                assert loaded is None or (
                    loaded.config.server.host == "127.0.0.1"
                    and loaded.keys.required
                    and not loaded.config.security.allow_unauthenticated
                ), (at, bit)


def test_a_file_written_by_hand_cut_off_anywhere_never_starts_open(folder: Path) -> None:
    for cut in range(len(BY_HAND)):
        loaded = load(folder, BY_HAND[:cut])
        assert loaded is None or (loaded.keys.required and loaded.keys.check(KEYS[0].encode())), cut


def test_an_edited_file_needs_its_end_line_only(folder: Path) -> None:
    edited = WRITTEN.replace(b"port: 9601", b"port: 9700")
    loaded = load(folder, edited)
    assert loaded is not None and loaded.config.server.port == 9700
    assert load(folder, edited.rstrip(b"\n"))
    assert load(folder, edited + b"\n\n")
    assert load(folder, edited.replace(b"\n", b"\r\n"))
    assert load(folder, edited + b"__version__: 0.3.2\n") is None
    (folder / "main_config.yaml").write_bytes(edited[:-8])
    with pytest.raises(ConfigError, match=rf"main_config.yaml:\d+: the file must end with the line '{END_LINE}'"):
        load_config(folder, {})


def test_a_backup_is_never_used(folder: Path) -> None:
    load(folder, WRITTEN)
    shutil.copy(folder / "main_config.yaml", folder / "main_config.yaml.bak")
    assert load(folder, WRITTEN[:100]) is None


@pytest.mark.parametrize("text", ["gAAAAABobm90IHJlYWxseQ==", "gAAAAABobm90IHJlYWxseQ==\n"])
def test_an_encrypted_file_does_not_start_and_is_left_alone(folder: Path, text: str) -> None:
    assert load(folder, text.encode()) is None
    assert (folder / "main_config.yaml").read_text(encoding="utf-8") == text


def test_an_encryption_key_does_not_start(folder: Path) -> None:
    assert load(folder, BY_HAND + b"  level: 20\n")
    with_key = BY_HAND.replace(b"security:\n", b"security:\n  encryption_key: c2VjcmV0\n")
    assert load(folder, with_key) is None
    load(folder, BY_HAND)
    with pytest.raises(ConfigError, match="LOLLMS_ENCRYPTION_KEY"):
        load_config(folder, {"LOLLMS_ENCRYPTION_KEY": "x"})
