"""OpenAI, and any endpoint that speaks its chat-completions protocol; its Responses protocol where a model needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from lollms_core.errors import ConfigError, InvalidRequest
from lollms_core.protocols.base import Codec
from lollms_core.protocols.catalog import OpenAICatalog
from lollms_core.protocols.dialects import DIALECTS, Dialect, dialect_at, in_its_form
from lollms_core.protocols.responses_routing import codec_for
from lollms_server.core.bindings.http import HttpBinding, HttpProtocol

__all__ = ["OpenAIBinding"]


class OpenAIBinding(HttpBinding):
    """One OpenAI-compatible endpoint.

    Its dialect is that of `provider`, else of whoever is at the address; `api` says which of the two protocols.
    """

    binding_type_name = "openai_binding"
    default_url = "https://api.openai.com/v1"

    @override
    def protocol(self, url: str) -> HttpProtocol:
        self._dialect = dialect = in_its_form(self._named() or dialect_at(url), url)
        return HttpProtocol(self._codec_of(dialect), OpenAICatalog(dialect))

    @override
    def target_options(self) -> Mapping[str, object]:
        """What the provider has in its query: Azure the version of its API."""
        given = self.config.get("api_version")
        return {name: given or usual for name, (_, usual) in self._dialect.query.items()}

    @override
    def _setting(self, names: Sequence[str]) -> str:
        """Without an address it is the one of the named provider, so that no key goes to another."""
        found = super()._setting(names)
        if found or names is not self.url_settings or (row := self._named()) is None:
            return found
        if not row.address:
            raise ConfigError(f"provider is {row.name}, which has no address of its own; give base_url.")
        return row.address

    def _named(self) -> Dialect | None:
        """The dialect of the setting `provider`."""
        name: Any = self.config.get("provider")
        if not name:
            return None
        row = DIALECTS.get(str(name).strip().lower())
        if row is None:
            raise ConfigError(f"provider is {name!r}; it must be one of {', '.join(sorted(DIALECTS))}, or left out.")
        return row

    def _codec_of(self, dialect: Dialect) -> Codec:
        try:
            return codec_for(str(self.config.get("api") or "auto"), dialect)
        except InvalidRequest as error:
            raise ConfigError(error.message) from error
