"""`lollms install EXTRA`: what a feature needs, installed by our own interpreter's pip, after saying what that is.

Two runs of pip: the first only resolves and reports; what it reported is shown; the second installs exactly that, by
version and hash and without resolving again, so nothing else can come in between. Never a source package (its build
would run code of strangers): only wheels.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from lollms_cli.output import Output, one_line
from lollms_core.errors import InvalidRequest, LollmsError, MissingDependency

if TYPE_CHECKING:
    from lollms_cli.installation import Installation

__all__ = ["Package", "install", "planned"]

_SAFE = ["--only-binary", ":all:"]


class Package(NamedTuple):
    """One package of the plan; `sha256` is "" where pip did not say."""

    name: str
    version: str
    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@click.command(short_help="Install what a feature needs, after asking.")
@click.argument("extra", required=False)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--require-hashes",
    "hashes",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Install only what this requirements file lists with hashes.",
)
def install(extra: str | None, yes: bool, hashes: Path | None) -> int:
    """Install what the feature EXTRA needs.

    Shows the exact list of packages first and asks. Without EXTRA: lists the extras.
    """
    from lollms_cli.installation import find_installation, missing

    output = Output()
    installation = find_installation()
    if extra is None:
        for name in installation.extras:
            output.line(f"{name:12} {_state(installation, name)}")
        return 0
    _check_name(extra, installation.extras)
    if not missing(installation.needs(extra)):
        output.line(f"Everything that {extra} needs is installed.")
        return 0
    if importlib.util.find_spec("pip") is None:
        raise MissingDependency(f"This Python has no pip. Get it with: {sys.executable} -m ensurepip")
    try:
        packages = _shown(output, installation, extra, hashes)
        agreed = _confirm(yes)
    except (KeyboardInterrupt, click.Abort):
        output.message("\nlollms: nothing was installed")  # on a line of its own, below the question
        raise
    if not agreed:
        output.message("lollms: nothing was installed")
        return 1
    try:
        _run_pip(packages, hashes)
    except KeyboardInterrupt:
        output.message(f"lollms: pip was interrupted; `lollms install {extra}` again installs what is still missing")
        raise
    still = missing(installation.needs(extra))
    if still:
        raise LollmsError(f"pip ended without an error, but {', '.join(map(str, still))} is still missing.")
    output.line(f"Installed. {extra} is ready; a running server must be started again.")
    return 0


def _shown(output: Output, installation: Installation, extra: str, hashes: Path | None) -> list[Package]:
    """Find out what the extra needs, and show it."""
    output.message(f"lollms: asking pip what {extra} needs ...")
    packages = planned(installation, extra, hashes)
    output.line(f"{extra} needs {len(packages)} package{'s' if len(packages) != 1 else ''}:")
    for package in packages:
        output.line(f"  {package}  {package.url}")
    return packages


def _state(installation: Installation, extra: str) -> str:
    from lollms_cli.installation import missing

    needs = installation.needs(extra)
    if not needs:
        return "needs nothing more"
    absent = missing(needs)
    return f"needs {', '.join(sorted(r.name for r in absent))}" if absent else "installed"


def _check_name(extra: str, extras: tuple[str, ...]) -> None:
    if extra in extras:
        return
    near = difflib.get_close_matches(extra, extras, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise click.UsageError(f"There is no extra {extra!r}.{hint} There are: {', '.join(extras)}.")


def _confirm(yes: bool) -> bool:
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("Nothing was installed: there is no terminal to ask on. Add --yes to install these.")
    return click.confirm("Install them?", default=False, err=True)


def planned(installation: Installation, extra: str, hashes: Path | None) -> list[Package]:
    """What pip would install for the extra: a dry run that resolves and installs nothing. Raises `LollmsError`."""
    import subprocess

    wanted = ["--require-hashes", "--requirement", str(hashes)] if hashes else installation.pip_arguments(extra)
    command = _pip("--quiet", "--dry-run", "--report", "-", *_SAFE, *wanted)
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env=_environment(), stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise LollmsError(f"pip cannot install {extra}: {_pip_words(done.stderr)}")
    packages = [_package(item) for item in json.loads(done.stdout)["install"]]
    packages = [package for package in packages if package.name != "lollms-suite"]
    if hashes:
        _check_cover(installation, extra, packages, hashes)
    return sorted(packages)


def _package(item: dict[str, Any]) -> Package:
    from packaging.utils import canonicalize_name

    told = item.get("download_info") or {}
    digests = (told.get("archive_info") or {}).get("hashes") or {}
    about = item["metadata"]
    return Package(canonicalize_name(about["name"]), about["version"], told.get("url", ""), digests.get("sha256", ""))


def _check_cover(installation: Installation, extra: str, packages: list[Package], hashes: Path) -> None:
    """The file must hold all that the extra lacks."""
    from packaging.utils import canonicalize_name

    from lollms_cli.installation import missing

    listed = {package.name: package.version for package in packages}
    lacking = [
        str(requirement)
        for requirement in missing(installation.needs(extra))
        if not requirement.specifier.contains(listed.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]
    if lacking:
        raise InvalidRequest(f"{hashes} does not list what {extra} needs: {', '.join(lacking)}.")


def _run_pip(packages: list[Package], hashes: Path | None) -> None:
    """Install exactly these. Its own words go to standard error. Raises `LollmsError`."""
    import tempfile

    if hashes:
        _install("--require-hashes", "--requirement", str(hashes))
        return
    known = all(package.sha256 for package in packages)
    lines = [f"{p.name}=={p.version}" + (f" --hash=sha256:{p.sha256}" if known else "") for p in packages]
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder) / "requirements.txt"
        exact.write_text("\n".join(lines) + "\n", encoding="utf-8")
        _install("--no-deps", *(["--require-hashes"] if known else []), "--requirement", str(exact))


def _install(*arguments: str) -> None:
    import subprocess

    done = subprocess.run(
        _pip("--quiet", *_SAFE, *arguments),
        stdout=sys.stderr,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise LollmsError("pip could not install the packages; its own words are above.")


def _pip(*arguments: str) -> list[str]:
    # -P: a file named pip.py in the current folder is not what we mean
    return [sys.executable, "-P", "-m", "pip", "install", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def _pip_words(text: str) -> str:
    """The errors among what pip wrote, on one line."""
    lines = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")]
    return one_line(" ".join(lines) or text) or "it said nothing more."
