"""The base of codecs for which a call is one request: what is the same in all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import HttpRequest, HttpResponse, Limits, Reader, Target
from lollms_core.protocols.http_errors import http_error, secrets_of
from lollms_core.types import GenerationCall, ReceiptItem

__all__ = ["OneRequestCodec"]


class OneRequestCodec(ABC):
    """Subclasses give `request` and `reads`, and `error` where the provider says more than the usual."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()

    @abstractmethod
    def request(self, call: GenerationCall, target: Target) -> HttpRequest:
        """The request whose answer the reader reads. Raises for what cannot be asked for."""

    @abstractmethod
    def reads(self, call: GenerationCall, content_type: str, target: Target | None, **told: Any) -> Reader:
        """The reader of an answer; `told` is what every reader is made with: limits, receipt, name and secrets."""

    def prepare(self, call: GenerationCall, target: Target) -> Generator[Any, HttpResponse, HttpRequest]:
        """The request needs nothing before it: an exchange without steps. Raises as `request` does."""
        return self.request(call, target)
        yield  # makes this an exchange

    def reader(
        self,
        call: GenerationCall,
        content_type: str,
        target: Target | None = None,
        receipt: tuple[ReceiptItem, ...] = (),
    ) -> Reader:
        """A reader for the answer of `call`; with `target`, messages of errors name it and cannot hold its key."""
        name, secrets = ("", ()) if target is None else (target.provider, secrets_of(target))
        return self.reads(call, content_type, target, limits=self.limits, receipt=receipt, name=name, secrets=secrets)

    def error(self, response: HttpResponse, target: Target) -> LollmsError:
        """The typed error for a response whose status is not 2xx."""
        return http_error(response, target)
