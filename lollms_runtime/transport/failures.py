"""The sentences: one function per way in which HTTP can fail, used by both transports so that they fail alike.

A message names the origin (`http://host:port`) and nothing more of an address, because paths and queries can hold keys.
"""

from __future__ import annotations

import os
import ssl
from urllib.parse import urlsplit

from lollms_core import errors

__all__ = [
    "bad_address",
    "bad_header",
    "closed_early",
    "connect_timeout",
    "first_byte_timeout",
    "idle_timeout",
    "malformed",
    "origin",
    "redirected",
    "refused",
    "stopped",
    "too_large",
    "total_timeout",
    "truncated",
    "unknown_name",
    "unreachable",
    "untrusted",
    "went_stale",
]


def origin(url: str) -> str:
    """`scheme://host:port` of an address, printable and without a user's name or password."""
    try:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the address"
    text = f"{parts.scheme}://{place}" if parts.scheme and place else "the address"
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def bad_address(url: str) -> errors.InvalidRequest:
    """For an address that is not a plain http or https one."""
    return errors.InvalidRequest(
        f"{origin(url)!r} cannot be used as an address. It must start with http:// or https://, followed by a host, "
        "in plain ASCII without spaces, and hold no user name or password; keys go into the settings.",
        param="url",
    )


def bad_header(name: str) -> errors.InvalidRequest:
    """For a header that cannot be sent. The value is not shown: it may be a key."""
    shown = "".join(c if c.isprintable() else "?" for c in name)[:60]
    return errors.InvalidRequest(
        f"The header {shown!r} holds characters that HTTP cannot carry. Look for line ends or other invisible "
        "characters in the key or header settings.",
        param=shown,
    )


def refused(url: str) -> errors.Refused:
    """For a connection that the machine at the address refuses."""
    return errors.Refused(f"Nothing is listening at {origin(url)}. Start the server there, or correct the address.")


def unknown_name(url: str) -> errors.ConnectFailed:
    """For a name without addresses; `upstream_code` is `dns`."""
    return errors.ConnectFailed(
        f"The host name of {origin(url)} was not found. Check its spelling and this machine's network.",
        upstream_code="dns",
    )


def unreachable(url: str, error: OSError | None = None) -> errors.ConnectFailed:
    """For a connection that fails in any other way; `upstream_code` is `network`."""
    reason = os.strerror(error.errno) if error is not None and error.errno is not None and error.errno > 0 else ""
    return errors.ConnectFailed(
        f"{origin(url)} cannot be reached{': ' + reason if reason else ''}. Check the address and the network.",
        upstream_code="network",
    )


def untrusted(url: str, error: Exception) -> errors.ConnectFailed:
    """TLS failed: the certificate is not trusted, or the other side speaks no TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        message = (
            f"The certificate of {origin(url)} is not trusted: {error.verify_message}. Install the certificate of its "
            "authority on this machine; or, on a network you trust, switch TLS verification off for this address."
        )
    else:
        message = (
            f"No secure connection to {origin(url)} could be made. Check that it speaks https and not plain http, and "
            "that the port is right."
        )
    return errors.ConnectFailed(message, upstream_code="tls")


def connect_timeout(url: str, seconds: float) -> errors.ConnectTimeout:
    """For a connection that is not there in time."""
    return errors.ConnectTimeout(
        f"{origin(url)} did not accept a connection within {seconds:g} s. Check the address and the network."
    )


def first_byte_timeout(url: str, seconds: float) -> errors.FirstByteTimeout:
    """For headers that do not come in time."""
    return errors.FirstByteTimeout(
        f"{origin(url)} took the request but did not begin to answer within {seconds:g} s. It may be overloaded "
        "or still loading its model: try again later, or allow more time."
    )


def idle_timeout(url: str, seconds: float) -> errors.IdleTimeout:
    """For a body that stalls."""
    return errors.IdleTimeout(
        f"{origin(url)} stopped sending in the middle of its answer for {seconds:g} s. Try again, or allow more time."
    )


def total_timeout(url: str, seconds: float) -> errors.TotalTimeout:
    """For an exchange that is not complete in time."""
    return errors.TotalTimeout(
        f"The answer of {origin(url)} was not complete within the {seconds:g} s that were allowed. Ask for less, or "
        "allow more time."
    )


def closed_early(url: str) -> errors.TruncatedStream:
    """For a connection that ends or breaks before there are headers."""
    return errors.TruncatedStream(f"{origin(url)} closed the connection without an answer. Try again.")


def went_stale(url: str) -> errors.ConnectFailed:
    """For a kept connection that turns out to be closed: the request never arrived; `upstream_code` is `network`."""
    return errors.ConnectFailed(
        f"{origin(url)} closed a connection that had been kept open. Try again.", upstream_code="network"
    )


def truncated(url: str) -> errors.TruncatedStream:
    """For a connection that ends or breaks in the middle of the body."""
    return errors.TruncatedStream(f"The answer of {origin(url)} ended before its end. Try again.")


def malformed(url: str, reason: str = "") -> errors.ProtocolError:
    """For bytes that are not HTTP, or not HTTP that was asked for."""
    return errors.ProtocolError(
        f"The answer of {origin(url)} is not valid HTTP{': ' + reason if reason else ''}. Check that the address and "
        "port are those of the service, and not of something in front of it."
    )


def too_large(url: str, limit: int) -> errors.ReplyTooLarge:
    """For a body over the limit, in bytes."""
    return errors.ReplyTooLarge(
        f"The answer of {origin(url)} is larger than the {limit:,} bytes that are allowed, and was stopped."
    )


def redirected(url: str, status: int, location: str) -> errors.RedirectRefused:
    """For a status of 300 to 399. Only the origin of the location is shown."""
    target = origin(location)
    hint = f"to {target}; use that address, if you trust it" if "://" in target else "elsewhere; correct the address"
    return errors.RedirectRefused(
        f"{origin(url)} redirects {hint}. Redirects are not followed, because they would carry your key along.",
        status=status,
    )


def stopped() -> errors.Cancelled:
    """For an exchange that was cancelled."""
    return errors.Cancelled("Stopped on request.")
