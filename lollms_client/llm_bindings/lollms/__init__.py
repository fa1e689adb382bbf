"""A lollms server, over its own protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from typing_extensions import override

from lollms_client.completion_format import completion_format
from lollms_client.http_binding import HttpBinding
from lollms_client.lollms_types import ELF_COMPLETION_FORMAT
from lollms_core.errors import LollmsError, NotFound, ProtocolError, Refused, UnsupportedFeature
from lollms_core.protocols.base import Codec, HttpRequest, Timeouts
from lollms_core.protocols.dialects import Dialect
from lollms_core.protocols.image_limits import SERVER_IMAGES
from lollms_core.protocols.json_limits import decode_body
from lollms_core.protocols.lollms import LollmsCodec, lollms_headers
from lollms_core.protocols.outgoing import encode_json
from lollms_runtime.keys import key_for

BindingName = "LollmsBinding"

_T = TypeVar("_T")
_object = msgspec.json.Decoder(dict[str, Any]).decode


class LollmsBinding(HttpBinding):
    """Text from a lollms server.

    `instance` and `personality` choose a binding instance and a personality of the server; without them the server's
    defaults are used. The key is `service_key`, else the environment variable LOLLMS_API_KEY, else, for a server on
    this machine, the one in the user's key file.
    """

    binding_name = "lollms"
    dialect = Dialect(name="lollms", images=SERVER_IMAGES)
    default_address = "http://localhost:9600"

    def __init__(
        self,
        host_address: str | None = None,
        model_name: str | None = "",
        service_key: str | None = None,
        verify_ssl_certificate: bool = True,
        timeouts: Mapping[str, float | None] | Timeouts | None = None,
        instance: str | None = None,
        personality: str | None = None,
        default_completion_format: object = None,
    ) -> None:
        """See `HttpBinding`.

        Raises `UnsupportedFeature` for the completion format Instruct: the server makes a chat of every call.
        """
        super().__init__(host_address, model_name, service_key, verify_ssl_certificate, timeouts)
        if completion_format(default_completion_format) is ELF_COMPLETION_FORMAT.Instruct:
            raise UnsupportedFeature(
                "A lollms server answers messages and has no way to continue a text: leave default_completion_format "
                "out, or set it to Chat. To continue a text use the binding openai or lollms_webui."
            )
        self.instance = instance
        self.personality = personality

    @property
    @override
    def codec(self) -> Codec:
        """The native protocol."""
        return LollmsCodec()

    @override
    def find_key(self) -> str:
        """The key for the server, looked up now. Raises `ConfigError` when others can read the key file."""
        return key_for(self.host_address, self._service_key)

    @override
    def options(self) -> Mapping[str, object]:
        """The instance and the personality to use."""
        return {"instance": self.instance, "personality": self.personality}

    @override
    def refused(self, error: Refused) -> Refused:
        """Says which ports there are and how to start a server."""
        return Refused(
            f"No lollms server answers at {self.host_address}. Start one with `lollms serve` (or ./run.sh), or give "
            "the address of a running one as host_address: a server listens on port 9601 unless told otherwise, this "
            "client asks port 9600 unless told otherwise."
        )

    @override
    def not_found(self, error: NotFound, asked: str) -> NotFound:
        """Says what was asked, and that host_address has no path where it has one."""
        words = f"{asked}: {error}" if asked else str(error)
        if path := urlsplit(self.host_address).path:
            words = (
                f"{asked or f'POST {self.host_address}/api/v1/generate'}: {error} host_address is only "
                f"scheme://host:port, such as http://localhost:9601; leave {path} out of it, unless a proxy has the "
                "server under that path."
            )
        return NotFound(words, status=error.status, request_id=error.request_id)

    @override
    def list_models(self) -> list[Any]:
        """The models of the instance in use, as dictionaries with `model_name` and the documented fields."""
        found = self._ask("GET", f"list_available_models/{quote(self._instance(), safe='')}").get("models")
        if not isinstance(found, list):
            raise ProtocolError(f"The server at {self.host_address} sent no list of models.")
        return [{"model_name": each.get("name"), **each} for each in found if isinstance(each, dict)]

    @override
    def get_model_info(self) -> dict[str, Any]:
        """The documented facts about the current model: `context_size` in tokens, `supports_vision` and so on."""
        return self._model_info(self.model_name)

    @override
    def get_ctx_size(self, model_name: str | None = None) -> int | None:
        """The context size in tokens that the server states; None where it states none."""
        size = self._model_info(model_name or self.model_name).get("context_size")
        return size if isinstance(size, int) else None

    @override
    def tokenize(self, text: str) -> list[Any]:
        """The tokens of a text, as the server's model counts them.

        Raises `UnsupportedFeature`, as do the other questions about tokens, where the server has no such route.
        """
        return self._field("tokenize", "tokens", list, text=text)

    @override
    def detokenize(self, tokens: list[Any]) -> str:
        """The text of tokens."""
        return self._field("detokenize", "text", str, tokens=tokens)

    @override
    def count_tokens(self, text: str) -> int:
        """How many tokens a text has for the server's model."""
        return self._field("count_tokens", "count", int, text=text)

    @override
    def embed(self, text: str | list[str], **kwargs: Any) -> list[Any]:
        """The embedding of a text as a list of numbers; for a list of texts a list of these. `model` names a model."""
        texts = [text] if isinstance(text, str) else list(text)
        model = str(kwargs.get("model") or kwargs.get("model_name") or "")
        named = {"model_name": model} if model else {}
        vectors = self._field("embed", "embeddings", list, input=texts, **named)
        return vectors[0] if isinstance(text, str) and vectors else vectors

    def lollms_listMountedPersonalities(self) -> list[str]:  # noqa: N802  the name that scripts know
        """The names of the server's personalities."""
        found = self._ask_where_it_is("GET", "list_personalities").get("personalities")
        if not isinstance(found, dict):
            raise ProtocolError(f"The server at {self.host_address} sent no list of personalities.")
        return sorted(found)

    def _instance(self) -> str:
        """The instance in use: the one that was chosen, else the server's default for text."""
        if self.instance:
            return self.instance
        defaults = self._ask("GET", "get_default_bindings").get("defaults")
        name = defaults.get("ttt_binding") if isinstance(defaults, dict) else None
        if not isinstance(name, str) or not name:
            raise UnsupportedFeature(
                f"The server at {self.host_address} has no default instance for text. "
                "Choose one: llm_binding_config={'instance': ...}."
            )
        return name

    def _model_info(self, model_name: str | None) -> dict[str, Any]:
        query = f"?{urlencode({'model_name': model_name})}" if model_name else ""
        return self._ask_where_it_is("GET", f"get_model_info/{quote(self._instance(), safe='')}{query}")

    def _field(self, route: str, name: str, kind: type[_T], **body: Any) -> _T:
        chosen = {"binding_name": self.instance, "model_name": self.model_name}
        sent = {**{key: each for key, each in chosen.items() if each}, **body}
        value = self._ask_where_it_is("POST", route, sent).get(name)
        if not isinstance(value, kind):
            raise ProtocolError(f"The server at {self.host_address} answered {route} without {name}.")
        return value

    def _ask_where_it_is(self, method: str, route: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask a route that not every version of the server has. Raises `UnsupportedFeature` where it is missing."""
        try:
            return self._ask(method, route, body)
        except NotFound as error:
            self._check_instance()  # the same status says that the instance is not there
            path = f"/api/v1/{route.partition('/')[0].partition('?')[0]}"
            raise UnsupportedFeature(
                f"The lollms server at {self.host_address} has no {method} {path}, so it cannot do this. It needs a "
                "version of the server that has this route; the routes of yours are listed at /docs.",
                status=error.status,
                request_id=error.request_id,
            ) from error

    def _check_instance(self) -> None:
        """Raises `NotFound` when the server, or the instance in use, is not there."""
        try:
            self._ask("GET", f"list_available_models/{quote(self._instance(), safe='')}")
        except NotFound:
            raise
        except LollmsError:
            return  # it is there, and only its models cannot be listed

    def _ask(self, method: str, route: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        target = self.target
        headers = lollms_headers(target)
        if body is not None:
            headers["content-type"] = "application/json"
        url = f"{target.base_url}/api/v1/{route}"
        content = b"" if body is None else encode_json(body)
        answer = self.fetch(HttpRequest(method, url, headers, content, target.timeouts, target.verify_tls))
        return decode_body(_object, answer.body)
