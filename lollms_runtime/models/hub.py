"""The model hub: what is in a repository, and which of its files are meant.

One request tells all: `GET /api/models/{repo}/revision/main?blobs=true` gives the commit and, for every file, its size
and SHA-256. The files are then asked for at that commit, so that all parts of a model are of one version, whatever is
uploaded meanwhile. Mirrors speak the same protocol; the variable HF_ENDPOINT names one.

The user's token goes to this endpoint only, and not over a connection that others can read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from lollms_core.errors import AuthFailed, ConfigError, InvalidRequest, NotFound, ProtocolError
from lollms_core.protocols.base import Timeouts
from lollms_core.safety.hosts import is_loopback
from lollms_core.safety.urls import Url, parse_url
from lollms_runtime.cancel import Cancel
from lollms_runtime.models.names import SUFFIX, HubName, has_quant, is_companion, is_safe_segment, part_of

if TYPE_CHECKING:
    from lollms_runtime.transport.sockets import LookUp

__all__ = ["Hub", "HubFile", "Listing", "candidates", "choose", "find_hub", "sha256_of_hop"]

_DEFAULT = "https://huggingface.co"
_PREFERRED = ("Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "Q4_0", "Q8_0")
_MOST_BYTES = 16 * 1024 * 1024
_MOST_PARTS = 10_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_ASKING = Timeouts(connect=10, first_byte=30, idle=30, total=60)


class HubFile(NamedTuple):
    """A GGUF file of a repository: its path there, size in bytes (None if not said), SHA-256 ("" if not said)."""

    path: str
    size: int | None
    sha256: str


class Listing(NamedTuple):
    """The GGUF files of a repository at one commit."""

    repo: str
    commit: str
    files: tuple[HubFile, ...]


class Hub(NamedTuple):
    """Where the hub is, and the token for it ("" if there is none)."""

    endpoint: Url
    token: str
    chosen: bool
    """Whether the user named the endpoint himself: then it may be in his own network."""

    @property
    def credentials(self) -> dict[str, str]:
        """The header lines that are for this hub only."""
        safe = self.endpoint.scheme == "https" or is_loopback(self.endpoint.host)
        return {"authorization": f"Bearer {self.token}"} if self.token and safe else {}

    @property
    def held_back(self) -> bool:
        """Whether there is a token that is not sent, because anybody on the way could read it."""
        return bool(self.token) and not self.credentials

    def url(self, path: str) -> Url:
        """An address of the hub; `path` has no leading slash and is already quoted."""
        return self.endpoint._replace(target=self.endpoint.path.rstrip("/") + "/" + path)

    def file_url(self, listing: Listing, file: HubFile) -> Url:
        """Where a file of a listing is."""
        return self.url(f"{listing.repo}/resolve/{listing.commit}/{quote(file.path)}")

    def named_by(self, url: Url) -> HubName | None:
        """What a URL of this hub's pages means: a repository or a file in it, as people copy it from the browser."""
        base = self.endpoint.path.rstrip("/")
        if url.origin != self.endpoint.origin or not url.path.startswith(base + "/"):
            return None
        segments = [unquote(each) for each in url.path[len(base) + 1 :].strip("/").split("/")]
        if not all(map(is_safe_segment, segments)):
            return None
        repo, rest = "/".join(segments[:2]), segments[2:]
        if len(segments) == 2 or rest == ["tree", "main"]:
            return HubName(repo)
        if (
            len(rest) >= 3
            and rest[0] in ("blob", "resolve")
            and rest[1] == "main"
            and rest[-1].lower().endswith(SUFFIX)
        ):
            return HubName(repo, file="/".join(rest[2:]))
        return None

    def list_files(self, repo: str, cancel: Cancel | None = None, *, resolve: LookUp | None = None) -> Listing:
        """The GGUF files of a repository.

        Raises `AuthFailed` for one that is not for everybody, `NotFound`, `ProtocolError` for an answer that makes no
        sense, and what `fetch` raises.
        """
        from lollms_runtime.fetcher import fetch_bytes

        try:
            body, _ = fetch_bytes(
                self.url(f"api/models/{repo}/revision/main?blobs=true"),
                max_bytes=_MOST_BYTES,
                cancel=cancel,
                headers={"accept": "application/json"},
                credentials=self.credentials,
                allow_private=self.chosen,
                timeouts=_ASKING,
                resolve=resolve,
            )
        except NotFound as error:
            raise NotFound(f"There is no repository {repo} at {self.endpoint.origin}. Check the spelling.") from error
        except AuthFailed as error:
            raise self.not_allowed(repo, error.status) from error
        return _listing(repo, body, self.endpoint.origin)

    def not_allowed(self, repo: str, status: int | None) -> AuthFailed:
        """The sentence for a repository that is not given to us."""
        origin = self.endpoint.origin
        if self.held_back:
            hint = f"Your token was not sent, because {origin} is not encrypted."
        elif self.token:
            hint = f"Accept its conditions at {origin}/{repo}, and check that your token may read it."
        else:
            hint = "Set HF_TOKEN, or keep a token with `lollms keys set huggingface`."
        return AuthFailed(
            f"{origin} does not give {repo}: it does not exist, or it is private or gated. {hint}", status=status
        )


def find_hub(environ: Mapping[str, str] | None = None) -> Hub:
    """The hub of HF_ENDPOINT, else the public one; with the token of HF_TOKEN, else the one kept for `huggingface`.

    Raises `ConfigError` for an endpoint that is no URL, and for a token file that others can read.
    """
    env = os.environ if environ is None else environ
    named = env.get("HF_ENDPOINT", "").strip()
    try:
        endpoint = parse_url(named or _DEFAULT)
    except InvalidRequest as error:
        raise ConfigError(f"HF_ENDPOINT is not the address of a hub: {error}") from error
    token = env.get("HF_TOKEN", "").strip()
    if not token:
        from lollms_runtime.provider_keys import provider_key

        token = provider_key("huggingface")
    return Hub(endpoint, token, bool(named) and named.rstrip("/") != _DEFAULT)


def sha256_of_hop(headers: Mapping[str, str]) -> tuple[str, int | None]:
    """The SHA-256 ("" if none) and size that the hub tells in the headers of its redirect to the storage."""
    etag = headers.get("x-linked-etag", "").strip('"').lower()
    size = headers.get("x-linked-size", "")
    return etag if _SHA256.fullmatch(etag) else "", int(size) if size.isascii() and size.isdigit() else None


# ---- reading the listing


def _listing(repo: str, body: bytes, origin: str) -> Listing:
    try:
        said: Any = msgspec.json.decode(body)
        commit, siblings = said["sha"], said["siblings"]
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit) or not isinstance(siblings, list):
            raise ValueError
        files = tuple(file for each in siblings if (file := _file(each)) is not None)
    except (msgspec.DecodeError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"{origin} did not answer like a model hub. Check HF_ENDPOINT.") from error
    return Listing(repo, commit, files)


def _file(said: Any) -> HubFile | None:
    """One GGUF file of the listing; None for other files, and for names that could not be files here."""
    path, size, lfs = said["rfilename"], said.get("size"), said.get("lfs") or {}
    if not isinstance(path, str) or not path.lower().endswith(SUFFIX):
        return None
    if not all(map(is_safe_segment, path.split("/"))):
        return None
    sha256 = lfs.get("sha256", "")
    return HubFile(
        path,
        size if isinstance(size, int) and size >= 0 else None,
        sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else "",
    )


# ---- choosing


def candidates(listing: Listing, name: HubName) -> list[tuple[HubFile, ...]]:
    """The models that a name may mean, each with all its files in order.

    Raises `NotFound` when there is none, or when a part of one is missing.
    """
    if name.file:
        found = [file for file in listing.files if file.path == name.file]
    else:
        found = [file for file in listing.files if not is_companion(file.path)]
        if name.quant:
            found = [file for file in found if has_quant(file.path, name.quant)]
    if not found:
        what = f"a file {name.file}" if name.file else f"a {name.quant} model" if name.quant else "a GGUF file"
        raise NotFound(f"{listing.repo} does not have {what}.{_there(listing)}")
    parts: dict[str, dict[int, HubFile]] = {}
    for file in listing.files:
        if (part := part_of(file.path)) is not None:
            parts.setdefault(part.first, {})[part.number] = file
    models: dict[str, tuple[HubFile, ...]] = {}
    for file in found:
        part = part_of(file.path)
        first = part.first if part else file.path
        if first not in models:
            models[first] = _all_parts(listing.repo, first, parts[first], part.total) if part else (file,)
    return list(models.values())


def choose(listing: Listing, name: HubName) -> tuple[HubFile, ...] | None:
    """All files of the model that is meant; None when several could be. Raises `NotFound`; see `candidates`.

    Without a choice of the user's it is the quantization that most people take; among several models of one
    quantization nobody but the user can choose.
    """
    models = candidates(listing, name)
    if len(models) == 1:
        return models[0]
    for quant in () if name.quant else _PREFERRED:
        fitting = [model for model in models if has_quant(model[0].path, quant)]
        if len(fitting) > 1:
            return None
        if fitting:
            return fitting[0]
    return None


def _all_parts(repo: str, first: str, parts: Mapping[int, HubFile], count: int) -> tuple[HubFile, ...]:
    # counted first: a name may claim 99999 parts, and thousands of names may
    if len(parts) < count or count > _MOST_PARTS:
        raise NotFound(f"{repo} does not have all {count} parts of {first}. Choose another file.")
    return tuple(parts[number] for number in range(1, count + 1))


def _there(listing: Listing) -> str:
    names = [file.path for file in listing.files]
    if not names:
        return " It has no GGUF file at all; look for a repository whose name ends in -GGUF."
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f" It has: {', '.join(names[:20])}{more}."
