"""`lollms install` resolves an extra against the source pip recorded, never against a bare name of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from lollms_cli.installation import Installation, find_installation, missing
from lollms_core.errors import ConfigError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def installed(recorded: dict[str, Any], *requires: str) -> Installation:
    return Installation("0.1.0", ("x", "y"), tuple(Requirement(text) for text in requires), recorded)


def test_a_checkout_is_named_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    editable = installed({"url": folder.as_uri(), "dir_info": {"editable": True}})
    assert editable.pip_arguments("x") == ["--editable", f"{folder}[x]"]
    copied = installed({"url": folder.as_uri(), "dir_info": {}})
    assert copied.pip_arguments("x") == [f"lollms-suite[x] @ {folder.as_uri()}"]


def test_a_repository_is_named_with_the_commit_that_was_installed() -> None:
    recorded = {
        "url": "https://example.org/lollms.git",
        "vcs_info": {"vcs": "git", "commit_id": COMMIT},
        "subdirectory": "py",
    }
    wanted = f"lollms-suite[x] @ git+https://example.org/lollms.git@{COMMIT}#subdirectory=py"
    assert installed(recorded).pip_arguments("x") == [wanted]


def test_an_archive_is_named_with_its_hash() -> None:
    recorded = {"url": "https://example.org/l.whl", "archive_info": {"hashes": {"sha256": "ab" * 32}}}
    wanted = f"lollms-suite[x] @ https://example.org/l.whl#sha256={'ab' * 32}"
    assert installed(recorded).pip_arguments("x") == [wanted]


def test_from_an_index_the_version_is_pinned() -> None:
    assert installed({}).pip_arguments("x") == ["lollms-suite[x]==0.1.0"]


def test_a_source_that_is_gone_is_said_instead_of_looked_for_elsewhere(tmp_path: Path) -> None:
    gone = tmp_path / "gone.whl"
    with pytest.raises(ConfigError, match="no longer there"):
        installed({"url": gone.as_uri(), "archive_info": {}}).pip_arguments("x")


def test_extras_of_our_own_are_resolved() -> None:
    found = installed(
        {},
        "base>=1",
        'no-such-one>=2; extra == "x"',
        'lollms-suite[x]; extra == "y"',
        'two; extra == "y" and sys_platform == "nowhere"',
        'no-such-three; extra == "y"',
    )
    assert {r.name for r in found.needs("y")} == {"no-such-one", "no-such-three"}
    assert {r.name for r in found.needs("x")} == {"no-such-one"}
    assert missing(found.needs("y")) == found.needs("y")


def test_this_installation_is_found_with_its_extras() -> None:
    here = find_installation()
    assert {"server", "llamacpp", "ecosystem", "dev", "openai"} <= set(here.extras)
    assert here.needs("server")
    assert not here.needs("openai")
    assert not missing([Requirement("click>=8.1")])
    assert missing([Requirement("click>=999")])
