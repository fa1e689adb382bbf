"""A lollms web UI of the older kind, over its own protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from lollms_client.asking import ask
from lollms_client.completion_format import completion_format
from lollms_client.http_binding import HttpBinding
from lollms_core.errors import InvalidRequest, Refused
from lollms_core.protocols.base import Codec, Timeouts
from lollms_core.protocols.dialects import Dialect

if TYPE_CHECKING:
    from lollms_core.protocols.lollms_webui_catalog import LollmsWebuiCatalog

BindingName = "LollmsWebuiBinding"


class LollmsWebuiBinding(HttpBinding):
    """Text from a lollms web UI.

    `personality` is the number of a mounted personality, its place in `lollms_listMountedPersonalities()`; without it
    the text is simply continued. `service_key` is sent as a bearer token.
    """

    binding_name = "lollms_webui"
    dialect = Dialect(name="lollms web UI")
    default_address = "http://localhost:9600"

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = "",
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        personality: int | None = None,
        default_completion_format: object = None,
        timeouts: Mapping[str, float | None] | Timeouts | None = None,
    ) -> None:
        """See `HttpBinding`. `default_completion_format` changes nothing: this server only continues texts.

        Raises `InvalidRequest` for a personality that is no whole number and for an unknown completion format.
        """
        super().__init__(host_address, model_name, service_key, verify_ssl_certificate, timeouts)
        completion_format(default_completion_format)
        if personality is not None and (isinstance(personality, bool) or not isinstance(personality, int)):
            raise InvalidRequest(
                f"personality is {personality!r}; it must be the number of a mounted personality.", param="personality"
            )
        self.personality = personality

    @property
    @override
    def codec(self) -> Codec:
        """The web UI's protocol."""
        from lollms_core.protocols.lollms_webui import LollmsWebuiCodec

        return LollmsWebuiCodec()

    @override
    def options(self) -> Mapping[str, object]:
        """The personality to use."""
        return {"personality": self.personality}

    @override
    def refused(self, error: Refused) -> Refused:
        """Says what is expected at the address."""
        return Refused(
            f"No lollms web UI answers at {self.host_address}. Start it, or give the address of a running one as "
            "host_address. For a lollms server of today use the binding `lollms`."
        )

    @override
    def facts(self, model_name: str) -> dict[str, Any]:
        """Nothing: the web UI says no more of its models than their names."""
        return {}

    @override
    def get_model_info(self) -> dict[str, Any]:
        """The current model, where it is asked, and the personality. Nothing is contacted."""
        return {**super().get_model_info(), "personality": self.personality}

    @override
    def embedding_model(self) -> str:
        """None: the web UI has a model of its own for this. To name one is `UnsupportedFeature`."""
        return ""

    def lollms_listMountedPersonalities(self) -> list[str]:  # noqa: N802  the name that scripts know
        """The names of the mounted personalities, in the order of their numbers."""
        return ask(self.catalog.personalities(self.target), self.fetch)

    @property
    @override
    def catalog(self) -> LollmsWebuiCatalog:
        from lollms_core.protocols.lollms_webui_catalog import LollmsWebuiCatalog

        return LollmsWebuiCatalog()
