"""A name on the hub means one model, all of its files, or the user is asked; names never become odd paths."""

from __future__ import annotations

import time

import pytest

from lollms_core.errors import ConfigError, InvalidRequest, NotFound
from lollms_core.safety.urls import parse_url
from lollms_runtime.models.hub import Hub, HubFile, Listing, choose, find_hub, sha256_of_hop
from lollms_runtime.models.names import (
    HubName,
    has_quant,
    is_companion,
    is_safe_segment,
    model_file_name,
    parse_hub_name,
    part_of,
    quant_of,
    whole_name,
)
from lollms_runtime.models.part_file import in_bytes
from tests.support.path_payloads import PATH_PAYLOADS

COMMIT = "a" * 40


def listing(*paths: str) -> Listing:
    return Listing("org/repo", COMMIT, tuple(HubFile(path, 10, "") for path in paths))


def test_a_huge_listing_is_read_in_no_time() -> None:
    """A hostile hub: each of thousands of names claims to be a model in parts."""
    paths = [f"m{number}-00001-of-00001.gguf" for number in range(20_000)]
    start = time.process_time()
    assert chosen("org/repo", *paths) is None
    assert time.process_time() - start < 2


def chosen(name: str, *paths: str) -> list[str] | None:
    named = parse_hub_name(name)
    assert named is not None
    files = choose(listing(*paths), named)
    return None if files is None else [file.path for file in files]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("org/repo", HubName("org/repo")),
        ("Qwen/Qwen3-0.6B-GGUF:Q8_0", HubName("Qwen/Qwen3-0.6B-GGUF", "Q8_0")),
        ("hf.co/org/repo:UD-Q4_K_XL", HubName("org/repo", "UD-Q4_K_XL")),
        ("huggingface.co/org/repo", HubName("org/repo")),
        ("org/repo/a.gguf", HubName("org/repo", file="a.gguf")),
        ("org/repo/BF16/a-00001-of-00002.gguf", HubName("org/repo", file="BF16/a-00001-of-00002.gguf")),
    ],
)
def test_names_on_the_hub(text: str, meant: HubName) -> None:
    assert parse_hub_name(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "repo",
        "org/",
        "/repo",
        "org/repo/",
        "org/repo/a.bin",
        "org/../a",
        "../org/repo",
        "org/repo/../a.gguf",
        "a b/c",
        "org/repo:",
        "org/repo:a/b",
        "org/repo/a.gguf:Q4",
        "org\\repo",
        "org/repo\n",
        "con/repo",
        "org/nul.txt",
        "org/a.",
        "org/repo/.hidden.gguf",
        "org/repo?x",
        "org/répo",
        "https://hf.co/org/repo",
    ],
)
def test_anything_else_is_no_name(text: str) -> None:
    assert parse_hub_name(text) is None


@pytest.mark.parametrize("payload", PATH_PAYLOADS)
def test_payloads_are_no_file_names(payload: str) -> None:
    for text in (payload, payload + ".gguf"):
        if "/" in payload or "\\" in payload or ".." in payload or not payload.isascii():
            with pytest.raises(InvalidRequest):
                model_file_name(text)
        else:
            assert is_safe_segment(text) == ("/" not in text and is_safe_segment(text))


def test_a_model_file_ends_in_gguf() -> None:
    assert model_file_name("my-model") == "my-model.gguf"
    assert model_file_name("My.Model.GGUF") == "My.Model.GGUF"


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("Qwen3-0.6B-Q4_K_M.gguf", "Q4_K_M"),
        ("model.Q8_0.gguf", "Q8_0"),
        ("qwen2.5-1.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("a-IQ4_XS.gguf", "IQ4_XS"),
        ("a-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("a-UD-IQ1_S.gguf", "UD-IQ1_S"),
        ("BF16/a-BF16-00001-of-00002.gguf", "BF16"),
        ("Q4_K_M/model-00001-of-00003.gguf", "Q4_K_M"),
        ("ggml-model-f16.gguf", "F16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("a-TQ1_0.gguf", "TQ1_0"),
        ("a-q4.gguf", "Q4"),
        ("model.gguf", ""),
        ("Qwen3-model.gguf", ""),
        ("llama-7b.gguf", ""),
    ],
)
def test_quantizations_are_read_from_names(path: str, quant: str) -> None:
    assert quant_of(path) == quant
    assert not quant or has_quant(path, quant.lower())


def test_parts() -> None:
    assert part_of("a/b-00002-of-00003.gguf") == ("a/b-00001-of-00003.gguf", 2, 3)
    assert part_of("b.gguf") is part_of("b-00004-of-00003.gguf") is part_of("b-2-of-3.gguf") is None
    assert whole_name("a/b-00002-of-00003.gguf") == "a/b"
    assert is_companion("mmproj-F16.gguf") and is_companion("x/imatrix_unsloth.gguf") and not is_companion("a.gguf")


MANY = ["a-Q2_K.gguf", "a-Q4_K_M.gguf", "a-Q4_K_S.gguf", "a-Q8_0.gguf", "mmproj-F16.gguf"]


@pytest.mark.parametrize(
    ("name", "paths", "files"),
    [
        ("o/r", MANY, ["a-Q4_K_M.gguf"]),
        ("o/r", ["a-Q2_K.gguf", "a-Q8_0.gguf"], ["a-Q8_0.gguf"]),
        ("o/r", ["only.gguf", "mmproj-F16.gguf"], ["only.gguf"]),
        ("o/r:q8_0", MANY, ["a-Q8_0.gguf"]),
        ("o/r:Q2_K", MANY, ["a-Q2_K.gguf"]),
        ("o/r/mmproj-F16.gguf", MANY, ["mmproj-F16.gguf"]),
        ("o/r", ["small-Q4_K_M.gguf", "large-Q4_K_M.gguf"], None),
        ("o/r", ["a-Q2_K.gguf", "a-Q3_K_M.gguf"], None),
        ("o/r", ["one.gguf", "two.gguf"], None),
        ("o/r", ["x-00002-of-00002.gguf", "x-00001-of-00002.gguf"], ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"]),
        (
            "o/r/x-00002-of-00002.gguf",
            ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"],
            ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"],
        ),
        (
            "o/r:Q4_K_M",
            ["Q4_K_M/m-00001-of-00001.gguf", "Q8_0/m-00001-of-00001.gguf"],
            ["Q4_K_M/m-00001-of-00001.gguf"],
        ),
    ],
)
def test_one_model_is_meant_or_none(name: str, paths: list[str], files: list[str] | None) -> None:
    assert chosen(name, *paths) == files
    assert chosen(name, *reversed(paths)) == files


@pytest.mark.parametrize(
    ("name", "paths", "words"),
    [
        ("o/r", [], "no GGUF file at all"),
        ("o/r", ["mmproj-F16.gguf"], "mmproj"),
        ("o/r:Q5_K_M", MANY, "a-Q4_K_M"),
        ("o/r/b.gguf", MANY, "a-Q4_K_M"),
        ("o/r", ["x-00001-of-00003.gguf", "x-00003-of-00003.gguf"], "all 3 parts"),
        ("o/r", ["x-00001-of-99999.gguf"], "parts"),
    ],
)
def test_what_is_not_there_is_said(name: str, paths: list[str], words: str) -> None:
    with pytest.raises(NotFound, match=words):
        chosen(name, *paths)


HUB = Hub(parse_url("https://huggingface.co"), "hf_secret", False)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("https://huggingface.co/org/repo", HubName("org/repo")),
        ("https://huggingface.co/org/repo/tree/main", HubName("org/repo")),
        ("https://huggingface.co/org/repo/blob/main/d/a.gguf", HubName("org/repo", file="d/a.gguf")),
        ("https://huggingface.co/org/repo/resolve/main/a.gguf?download=true", HubName("org/repo", file="a.gguf")),
        ("https://huggingface.co/org/repo/resolve/v2/a.gguf", None),
        ("https://huggingface.co/org/repo/blob/main/%2e%2e/a.gguf", None),
        ("https://example.com/org/repo", None),
        ("http://huggingface.co/org/repo", None),
    ],
)
def test_addresses_of_the_hubs_pages_are_names(url: str, meant: HubName | None) -> None:
    assert HUB.named_by(parse_url(url)) == meant


def test_the_token_is_not_sent_in_the_clear() -> None:
    assert HUB.credentials == {"authorization": "Bearer hf_secret"}
    clear = Hub(parse_url("http://mirror.example"), "hf_secret", True)
    assert clear.credentials == {} and clear.held_back
    assert Hub(parse_url("http://127.0.0.1:1"), "hf_secret", True).credentials


def test_the_endpoint_of_the_environment() -> None:
    hub = find_hub({"HF_ENDPOINT": "https://mirror.example/hub/", "HF_TOKEN": " t "})
    assert (hub.endpoint.origin, hub.token, hub.chosen) == ("https://mirror.example", "t", True)
    file = HubFile("d/a b#1.gguf", 1, "")
    assert str(hub.file_url(listing(), file)) == (
        f"https://mirror.example/hub/org/repo/resolve/{COMMIT}/d/a%20b%231.gguf"
    )
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        find_hub({"HF_ENDPOINT": "mirror.example", "HF_TOKEN": "t"})


def test_what_the_hub_tells_about_its_storage() -> None:
    told = {"x-linked-etag": '"' + "AB" * 32 + '"', "x-linked-size": "12"}
    assert sha256_of_hop(told) == ("ab" * 32, 12)
    assert sha256_of_hop({"x-linked-etag": '"' + "ab" * 20 + '"', "x-linked-size": "-1"}) == ("", None)


def test_sizes_for_people() -> None:
    sizes = [0, 999, 1000, 99_499, 123_456, 1_500_000, 999_600, 4_683_000_000, 2 * 10**15]
    assert [in_bytes(size) for size in sizes] == (
        ["0 B", "999 B", "1.0 kB", "99.5 kB", "123 kB", "1.5 MB", "1.0 MB", "4.7 GB", "2000 TB"]
    )
