"""`lollms rm`: delete a model that `lollms pull` has fetched."""

from __future__ import annotations

import contextlib
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lollms_cli.output import Output
from lollms_core.errors import ModelNotFound, StorageError

if TYPE_CHECKING:
    from lollms_runtime.models import PulledModel

__all__ = ["rm"]


@click.command(short_help="Delete a pulled model.")
@click.argument("model")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(model: str, yes: bool) -> int:
    """Delete a model from the models folder, with all its files.

    Only what is in that folder can be deleted.
    """
    from lollms_runtime.models import models_folder, pulled_models
    from lollms_runtime.models.part_file import in_bytes

    output = Output()
    there = pulled_models()
    meant = next((each for each in there if model in (each.name, *each.names)), None)
    if meant is None:
        near = difflib.get_close_matches(model, [each.name for each in there], 1)
        hint = f" Did you mean {near[0]!r}?" if near else " `lollms models -b pythonllamacpp` lists what is there."
        raise ModelNotFound(f"There is no model {model!r} in {models_folder()}.{hint}")
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise click.UsageError("Nothing was deleted: there is no terminal to ask on. Add --yes to delete it.")
        if not click.confirm(f"Delete {meant.name} ({in_bytes(meant.size)})?", default=False, err=True):
            output.message("lollms: nothing was deleted")
            return 1
    _delete(meant, models_folder())
    output.line(f"Deleted {meant.name}.")
    return 0


def _delete(model: PulledModel, folder: Path | None) -> None:
    """Delete the files of a model, their notes, and folders that are empty then. Raises `StorageError`."""
    for path in _files(model):
        try:
            path.unlink()
        except OSError as error:
            raise StorageError(f"{path} cannot be deleted: {error.strerror}.") from error
        with contextlib.suppress(OSError):
            path.with_name(path.name + ".json").unlink()
    above = model.path.parent
    while folder is not None and above != folder and folder in above.parents:
        try:
            above.rmdir()
        except OSError:  # not empty
            return
        above = above.parent


def _files(model: PulledModel) -> list[Path]:
    """All files of a model, the first part last: while it is there, the model can be named again."""
    from lollms_runtime.models.names import part_of

    part = part_of(model.path.name)
    if part is None:
        return [model.path]
    old = f"-00001-of-{part.total:05}"
    numbers = range(part.total, 0, -1)
    return [
        model.path.with_name(f"-{number:05}-of-{part.total:05}".join(model.path.name.rsplit(old, 1)))
        for number in numbers
    ]
