"""The one function that fetches a URL which a user, a request or a server named. No other code does.

Such a URL is an order to make this machine ask somebody, and it may come from somebody who cannot ask there himself:
the metadata service of a cloud, the router, a database without a password. So each step is checked again:

- the URL is read once, strictly (`lollms_core.safety.urls`);
- its name is resolved once, every address must be allowed, and the connection goes to these addresses
  (`lollms_runtime.transport.pinned`);
- redirects are followed here, a few, each like a URL of its own. None leads from https to http, and none leads further
  inside than the address before it: from the internet into a private network, or from there to this machine;
- credentials are for the origin they were given for. After the first step away from it they are gone for good.

`allow_private` is for an operator who typed a private address himself. What gives a machine its credentials
(169.254.169.254 and its like), multicast and disguised addresses stay closed even then.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lollms_core.errors import (
    AuthFailed,
    InvalidRequest,
    LollmsError,
    NotFound,
    Overloaded,
    RateLimited,
    RedirectRefused,
    UpstreamError,
    UpstreamFailed,
)
from lollms_core.protocols.base import HttpRequest, Limits, Timeouts
from lollms_core.protocols.retry import parse_retry_after
from lollms_core.safety.urls import Reach, Url, follow, parse_url, reach
from lollms_runtime.cancel import Cancel, current_cancel

if TYPE_CHECKING:
    from lollms_runtime.transport.pinned import PinnedResponse
    from lollms_runtime.transport.sockets import LookUp

__all__ = ["MOST_REDIRECTS", "Fetched", "Hop", "fetch", "fetch_bytes", "status_error"]

MOST_REDIRECTS = 5
_FOLLOWED = (301, 302, 303, 307, 308)


class Hop(NamedTuple):
    """One step of a fetch: where it went, and the headers of what came back (names in lower case)."""

    url: Url
    status: int
    headers: Mapping[str, str]


class Fetched:
    """A response that is no redirect. `hops` are the steps that led to it, itself the last one."""

    def __init__(self, response: PinnedResponse, hops: Sequence[Hop]) -> None:
        self._response = response
        self.hops = tuple(hops)

    @property
    def url(self) -> Url:
        """Where the response came from in the end."""
        return self.hops[-1].url

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case."""
        return self._response.headers

    def chunks(self) -> Iterator[bytes]:
        """The body, unpacked, as it comes.

        Raises `IdleTimeout`, `TotalTimeout`, `TruncatedStream`, `ReplyTooLarge`, `Cancelled`.
        """
        return self._response.chunks()


@contextlib.contextmanager
def fetch(
    url: str | Url,
    *,
    cancel: Cancel | None = None,
    headers: Mapping[str, str] | None = None,
    credentials: Mapping[str, str] | None = None,
    allow_private: bool = False,
    max_bytes: int = Limits().reply_bytes,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - a frozen value
    resolve: LookUp | None = None,
) -> Iterator[Fetched]:
    """Ask for a URL with GET and follow its redirects; the block gets the response, whatever its status.

    `headers` go to every step, `credentials` (header lines too) to the URL's own origin only, both with names in lower
    case. `max_bytes` bounds the body, unpacked; `timeouts` count for each step. `resolve` is the look-up of names.
    Raises `InvalidRequest` for a URL or address that may not be fetched (`upstream_code` is `private` where
    `allow_private` would let it through), `RedirectRefused` for a redirect that may not
    be followed, and what a connection can raise (see `open_pinned`). The default token is that of the current work.
    """
    from lollms_runtime.transport.pinned import open_pinned
    from lollms_runtime.transport.sockets import system_look_up

    step = parse_url(url) if isinstance(url, str) else url
    start, hops = step.origin, list[Hop]()
    token = cancel or current_cancel()
    secret = dict(credentials or {})
    gate = _Gate(allow_private)
    while True:
        gate.url = step
        request = HttpRequest("GET", str(step), {**(headers or {}), **secret}, timeouts=timeouts)
        with open_pinned(
            step, request, token, Limits(reply_bytes=max_bytes), approve=gate.approve, resolve=resolve or system_look_up
        ) as response:
            hops.append(Hop(step, response.status, response.headers))
            if response.status not in _FOLLOWED:
                yield Fetched(response, hops)
                return
        step = _next_step(hops)
        if step.origin != start:
            secret = {}
        gate.redirected = True


def fetch_bytes(url: str | Url, *, max_bytes: int = Limits().reply_bytes, **more: object) -> tuple[bytes, Fetched]:
    """The whole body of a URL, and the response it came in; see `fetch`. Raises also `status_error`."""
    with fetch(url, max_bytes=max_bytes, **more) as response:  # type: ignore[arg-type]
        if response.status != 200:
            raise status_error(response)
        return b"".join(response.chunks()), response


def status_error(response: Fetched) -> LollmsError:
    """What a status other than success means. Nothing of the body is repeated: it may come from anybody."""
    status, origin = response.status, response.url.origin
    wait = parse_retry_after(response.headers, time.time())
    if status in (401, 403):
        return AuthFailed(
            f"{origin} does not give this without a key that allows it ({status}). Check the key and its rights.",
            status=status,
        )
    if status in (404, 410):
        return NotFound(f"There is nothing at this address of {origin} ({status}). Check the spelling.", status=status)
    if status == 429:
        when = f"in {wait:.0f} s" if wait else "later"
        return RateLimited(f"{origin} has had too many requests. Try again {when}.", status=status, retry_after=wait)
    if status in (502, 503, 504, 529):
        return Overloaded(f"{origin} is not available just now ({status}).", status=status, retry_after=wait)
    if status >= 500:
        return UpstreamFailed(f"{origin} failed ({status}). Try again later.", status=status, retry_after=wait)
    return UpstreamError(f"{origin} answered with status {status}, which was not expected.", status=status)


class _Gate:
    """What the addresses of each step must be like. `url` is the step that is being made."""

    def __init__(self, allow_private: bool) -> None:
        self.url = Url("http", "", 80, "/")
        self.redirected = False
        self._least = Reach.THIS_MACHINE if allow_private else Reach.GLOBAL
        self._allow_private = allow_private

    def approve(self, addresses: Sequence[str]) -> None:
        """Raises `InvalidRequest`, or `RedirectRefused` where a redirect led to these addresses."""
        nearest = min((reach(address) for address in addresses), default=Reach.NEVER)
        if nearest is Reach.NEVER:
            raise self._refused("an address that no request may go to")
        if nearest < self._least:
            raise self._refused(
                "this machine itself" if nearest is Reach.THIS_MACHINE else "in a private network",
                "" if self._allow_private else "private",
            )
        self._least = nearest

    def _refused(self, what: str, code: str = "") -> LollmsError:
        if self.redirected:
            return RedirectRefused(f"A redirect leads to {self.url.origin}, which is {what}. It was not followed.")
        return InvalidRequest(f"{self.url.origin} is {what}, and was not asked.", param="url", upstream_code=code)


def _next_step(hops: Sequence[Hop]) -> Url:
    """Where the last step's redirect leads. Raises `RedirectRefused`."""
    here = hops[-1]
    location = here.headers.get("location", "")
    if not location:
        raise RedirectRefused(f"{here.url.origin} redirects without saying where to.", status=here.status)
    if len(hops) > MOST_REDIRECTS:
        raise RedirectRefused(
            f"{hops[0].url.origin} redirects more than {MOST_REDIRECTS} times. It was not followed further.",
            status=here.status,
        )
    try:
        there = follow(here.url, location)
    except InvalidRequest as error:
        raise RedirectRefused(
            f"{here.url.origin} redirects to an address that cannot be used. It was not followed.", status=here.status
        ) from error
    if here.url.scheme == "https" and there.scheme != "https":
        raise RedirectRefused(
            f"{here.url.origin} redirects to {there.origin}, which is not encrypted. It was not followed.",
            status=here.status,
        )
    if any(hop.url == there for hop in hops):
        raise RedirectRefused(f"{here.url.origin} redirects in a circle.", status=here.status)
    return there
