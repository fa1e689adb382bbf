"""`lollms pull`: a GGUF model from a URL or from the hub, into the user's models folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import click

from lollms_cli.output import Output
from lollms_cli.showing import unwinding
from lollms_core.errors import AuthFailed, Cancelled, ConfigError, InvalidRequest, LollmsError, StorageError

if TYPE_CHECKING:
    from lollms_runtime.models.download import Downloaded, Wanted
    from lollms_runtime.models.hub import Hub, HubFile, Listing
    from lollms_runtime.models.names import HubName

__all__ = ["pull"]

_SHOWN = 100  # models of a repository that are listed
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

_EXAMPLES = """\b
Examples:
  lollms pull unsloth/Qwen3-0.6B-GGUF
  lollms pull unsloth/Qwen3-0.6B-GGUF:Q8_0
  lollms pull unsloth/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q4_K_M.gguf
  lollms pull https://example.com/models/my-model.gguf
"""

_ENVIRONMENT = """\b
Environment:
  HF_TOKEN       the token for the hub, for private and gated models
  HF_ENDPOINT    another hub of the same protocol (https://huggingface.co)
  LOLLMS_MODELS  the folder for models
"""


@click.command(
    short_help="Get a GGUF model by URL or hub name.",
    help=(
        "Get a GGUF model: MODEL is a URL, or a name on the hub: ORG/REPO, ORG/REPO:QUANTIZATION or "
        "ORG/REPO/FILE.gguf.\n\n"
        "What came before an interruption is kept; the same command again goes on from there.\n\n"
        f"{_EXAMPLES}"
    ),
    epilog=_ENVIRONMENT,
)
@click.argument("model")
@click.option("--sha256", metavar="HEX", help="What the SHA-256 of the file must be (for a single file).")
@click.option("--name", metavar="NAME", help="The file name to keep it under (for a single file).")
@click.option("--force", is_flag=True, help="Replace another file of the same name.")
@click.option("--allow-private", is_flag=True, help="MODEL may be on this machine or in a private network.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only the path of the model.")
def pull(model: str, sha256: str | None, name: str | None, force: bool, allow_private: bool, quiet: bool) -> int:
    """Get a model; see the help above."""
    output = Output(quiet=quiet)
    if sha256 is not None:
        sha256 = sha256.strip().lower().removeprefix("sha256:")
        if not _SHA256.match(sha256):
            raise click.BadParameter("it has 64 hexadecimal digits.", param_hint="--sha256")
    wanted, call = _plan(output, model.strip(), sha256 or "", name, allow_private)
    try:
        with unwinding():  # a bar hides the cursor, which must come back whatever ends it
            paths = [_fetch(output, each, force=force) for each in wanted]
    except (KeyboardInterrupt, Cancelled):
        again = shlex.join(["lollms", "pull", *_given(model, sha256, name, force, allow_private)])
        output.message(f"\nlollms: what has come is kept. Go on with: {again}")
        raise
    output.line(str(paths[0].path))
    if not any(each.fetched for each in paths):
        output.note("It was there already, and is unchanged.")
    output.note(f'Use it: lollms -m {shlex.quote(call)} "..."')
    return 0


def _given(model: str, sha256: str | None, name: str | None, force: bool, allow_private: bool) -> list[str]:
    """The arguments of this command, to be shown."""
    options = [("--sha256", sha256), ("--name", name)]
    flags = [("--force", force), ("--allow-private", allow_private)]
    named = [word for option, value in options if value for word in (option, value)]
    return [model, *named, *(flag for flag, given in flags if given)]


# ---- what to fetch


def _plan(output: Output, model: str, sha256: str, name: str | None, allow_private: bool) -> tuple[list[Wanted], str]:
    """The files that are meant, and how to call the model afterwards."""
    from lollms_core.safety.urls import parse_url
    from lollms_runtime.models.hub import find_hub
    from lollms_runtime.models.names import parse_hub_name

    folder = _folder()
    hub = find_hub()
    if "://" in model:
        url = parse_url(model)
        on_hub = hub.named_by(url)
        if on_hub is None:
            return _from_url(hub, model, sha256, name, allow_private, folder)
        return _from_hub(output, hub, on_hub, sha256, name, folder)
    named = parse_hub_name(model)
    if named is None:
        raise click.UsageError(
            f"{model!r} is neither a URL nor a name on the hub. A name has an organisation and a repository, as in "
            "`lollms pull unsloth/Qwen3-0.6B-GGUF`."
        )
    return _from_hub(output, hub, named, sha256, name, folder)


def _folder() -> Path:
    from lollms_runtime.models import models_folder

    folder = models_folder()
    if folder is None:
        raise ConfigError("There is no home folder to keep models in. Set LOLLMS_MODELS to a folder.")
    return folder


def _from_url(
    hub: Hub, model: str, sha256: str, name: str | None, allow_private: bool, folder: Path
) -> tuple[list[Wanted], str]:
    from lollms_core.safety.urls import parse_url
    from lollms_runtime.models.download import Wanted
    from lollms_runtime.models.names import SUFFIX, model_file_name, part_of, whole_name

    url = parse_url(model)
    last = unquote(url.path.rpartition("/")[2])
    if name is None and not last.lower().endswith(SUFFIX):
        raise click.UsageError("The address does not end in a .gguf file name. Say how to call it with --name.")
    part = part_of(last)
    file = model_file_name(name or last)
    if part is None or name is not None:
        files = [(url, file)]
    elif part.number != 1 or sha256:
        raise click.UsageError(
            f"{last} is part {part.number} of a model in {part.total} files. Give the address of the first part, "
            "without --sha256: all of them are fetched."
        )
    else:
        old = f"-00001-of-{part.total:05}"
        numbers = [f"-{number:05}-of-{part.total:05}" for number in range(1, part.total + 1)]
        path, mark, query = url.target.partition("?")
        files = [
            (url._replace(target=number.join(path.rsplit(old, 1)) + mark + query), file.replace(old, number))
            for number in numbers
        ]
    at_hub = url.origin == hub.endpoint.origin
    return [
        Wanted(
            each,
            folder / kept,
            model,
            sha256,
            credentials=hub.credentials if at_hub else {},
            allow_private=allow_private or (at_hub and hub.chosen),
            trusts_hop=at_hub,
        )
        for each, kept in files
    ], whole_name(file)


def _from_hub(
    output: Output, hub: Hub, named: HubName, sha256: str, name: str | None, folder: Path
) -> tuple[list[Wanted], str]:
    from lollms_runtime.models.download import Wanted
    from lollms_runtime.models.hub import candidates, choose
    from lollms_runtime.models.names import model_file_name, quant_of, whole_name

    if hub.held_back:
        output.message(f"lollms: your token is not sent: {hub.endpoint.origin} is not encrypted")
    listing = hub.list_files(named.repo)
    files = choose(listing, named)
    if files is None:
        _show_choice(output, listing, candidates(listing, named))
        raise click.UsageError(f"{named.repo} has several models. Choose one: lollms pull {named.repo}/FILE")
    if len(files) > 1 and (sha256 or name):
        raise click.UsageError(f"This model has {len(files)} files: --name and --sha256 are for a single file.")
    if sha256 and files[0].sha256 not in ("", sha256):
        raise click.UsageError(f"{files[0].path} has another checksum at the hub: {files[0].sha256}.")
    quant = quant_of(files[0].path)
    label = f"{named.repo}:{quant}" if quant and not named.file and not name else ""
    kept = [model_file_name(name)] if name else [f"{named.repo}/{file.path}" for file in files]
    _say_choice(output, files)
    return [
        Wanted(
            hub.file_url(listing, file),
            folder / place,
            named.repo,
            sha256 or file.sha256,
            file.size,
            listing.commit,
            hub.credentials,
            allow_private=hub.chosen,
            trusts_hop=True,
        )
        for file, place in zip(files, kept, strict=True)
    ], label or whole_name(kept[0])


def _say_choice(output: Output, files: tuple[HubFile, ...]) -> None:
    from lollms_runtime.models.part_file import in_bytes

    sizes = [file.size for file in files if file.size is not None]
    size = f", {in_bytes(sum(sizes))}" if len(sizes) == len(files) else ""
    parts = f" in {len(files)} files" if len(files) > 1 else ""
    output.note(f"{files[0].path}{parts}{size}")


def _show_choice(output: Output, listing: Listing, models: list[tuple[HubFile, ...]]) -> None:
    from lollms_runtime.models.part_file import in_bytes

    output.message(f"{listing.repo} has:")
    for model in models[:_SHOWN]:
        sizes = [file.size for file in model if file.size is not None]
        size = in_bytes(sum(sizes)) if len(sizes) == len(model) else ""
        output.message(f"  {model[0].path}  {size}".rstrip())
    if len(models) > _SHOWN:
        output.message(f"  and {len(models) - _SHOWN} more")


# ---- fetching


def _fetch(output: Output, wanted: Wanted, *, force: bool) -> Downloaded:
    from lollms_cli.progress import can_draw
    from lollms_cli.pull_progress import progress_of
    from lollms_runtime.models.download import download
    from lollms_runtime.models.hub import find_hub
    from lollms_runtime.models.names import parse_hub_name

    try:
        with progress_of(output, wanted.target.name, terminal=can_draw()) as shown:
            return download(wanted, force=force, progress=shown.update, waits=shown.say)
    except AuthFailed as error:
        named = parse_hub_name(wanted.source)
        if named is None:
            raise
        raise find_hub().not_allowed(named.repo, error.status) from error
    except InvalidRequest as error:
        if error.upstream_code != "private":
            raise
        raise InvalidRequest(f"{error} If you trust it, add --allow-private.", param=error.param) from error
    except LollmsError as error:
        part = wanted.target.with_name(wanted.target.name + ".part")
        if not part.exists() or isinstance(error, (Cancelled, StorageError)):  # the latter says itself what is kept
            raise
        output.message(f"lollms: what has come of {wanted.target.name} is kept; the same command goes on from there")
        raise
