"""Another lollms server, over its own protocol."""

from collections.abc import Mapping

from typing_extensions import override

from lollms_core.protocols.base import Timeouts
from lollms_core.protocols.lollms import LollmsCodec
from lollms_core.protocols.lollms_catalog import LollmsCatalog
from lollms_server.core.bindings.http import HttpBinding, HttpProtocol

__all__ = ["LollmsBinding"]


class LollmsBinding(HttpBinding):
    """One instance of another lollms server, and with it a personality if one is named."""

    binding_type_name = "lollms_binding"
    default_url = "http://localhost:9600"
    url_settings = ("base_url", "host_address")
    key_settings = ("service_key",)
    timeouts = Timeouts(first_byte=600.0, idle=300.0)  # what it asks may have to load a model first

    @override
    def protocol(self, url: str) -> HttpProtocol:
        return HttpProtocol(LollmsCodec(), LollmsCatalog())

    @override
    def target_options(self) -> Mapping[str, object]:
        return {"instance": self.config.get("instance"), "personality": self.config.get("personality")}
