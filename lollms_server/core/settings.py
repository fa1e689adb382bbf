"""The main configuration as a model: every documented setting, its type, its bounds and its default.

Types are strict, because a value of the wrong type in a file is a mistake or damage and neither may be guessed at.
Unknown names are refused for the same reason. Every number, text and list has an upper bound.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from lollms_core.safety.hosts import is_ip_literal, is_loopback, split_host_port

__all__ = ["MainConfig", "bind_host"]

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]
FolderText = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
Number = Annotated[float, Field(ge=-1e308, le=1e308, allow_inf_nan=False)]
Scalar = bool | Whole | Number | Annotated[str, Field(max_length=4096)] | None

_HASH = re.compile(r"sha256:[0-9a-f]{64}\Z")
_LOOKS_HASHED = re.compile(r"(?i)sha-?\d+\s*:")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/@\\]+\Z")
_SHORTEST_KEY = 8
_ENCRYPTED = "gAAAA"


def bind_host(text: str) -> str:
    """The IP address to listen on for what a person wrote: an address, or `localhost` for 127.0.0.1.

    Nothing else is accepted, so that damage to the word cannot turn it into the name of another place.
    Raises ValueError with a sentence.
    """
    written = text.strip().lower()
    if written == "localhost":
        return "127.0.0.1"
    if not is_ip_literal(written):
        raise ValueError("must be an IP address, such as 127.0.0.1 or 0.0.0.0, or localhost.")
    return written


class Part(BaseModel):
    """Base of all sections: strict types, no unknown names, read-only."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, validate_default=True
    )


class ServerPart(Part):
    """Where the server listens and which pages may talk to it."""

    host: Annotated[str, Field(max_length=64)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 9601
    allowed_origins: Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=100)] = [
        "http://localhost",
        "http://localhost:8000",
        "http://localhost:5173",
        "http://127.0.0.1",
        "http://127.0.0.1:8000",
        "http://127.0.0.1:5173",
    ]
    allowed_hosts: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=100)] = []

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        return bind_host(value)

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, values: list[str]) -> list[str]:
        origins = [value.strip().lower().rstrip("/") for value in values]
        if "*" in origins:
            raise ValueError("'*' would let every web page use this server; name the origins.")
        for origin in origins:
            if origin != "null" and not _ORIGIN.match(origin):
                raise ValueError("must hold origins such as http://localhost:5173, without a path.")
        return origins

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, values: list[str]) -> list[str]:
        hosts = []
        for value in values:
            try:
                host, port = split_host_port(value.strip())
            except ValueError as error:
                raise ValueError("must hold host names or IP addresses, such as chat.example.org.") from error
            if port is not None:
                raise ValueError("must hold host names without a port.")
            hosts.append(host)
        return hosts


class PathsPart(Part):
    """Folders; relative ones start at the folder that holds the configuration folder."""

    config_base_dir: FolderText | None = None
    instance_bindings_folder: FolderText = "bindings"
    personalities_folder: FolderText = "personal_personalities"
    bindings_folder: FolderText = "personal_bindings"
    functions_folder: FolderText = "personal_functions"
    models_folder: FolderText = "models"
    example_personalities_folder: FolderText | None = "zoos/personalities"
    example_bindings_folder: FolderText | None = "zoos/bindings"
    example_functions_folder: FolderText | None = "zoos/functions"


class SecurityPart(Part):
    """Who may use the server. `allowed_api_keys` has no default: its absence must never mean an open server."""

    allowed_api_keys: Annotated[list[Annotated[SecretStr, Field(max_length=512)]], Field(max_length=1000)]
    encryption_key: Annotated[SecretStr, Field(max_length=512)] | None = None
    allow_unauthenticated: bool = False
    allow_runtime_installs: bool = False

    @field_validator("allowed_api_keys")
    @classmethod
    def _keys(cls, values: list[SecretStr]) -> list[SecretStr]:
        for value in values:
            key = value.get_secret_value()
            if _HASH.match(key):
                continue
            if key.startswith(_ENCRYPTED):
                raise ValueError("holds an encrypted value, and this version cannot read encrypted settings.")
            if _LOOKS_HASHED.match(key):
                raise ValueError("holds a hashed key that is not sha256: followed by 64 of 0-9 and a-f.")
            if len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
                raise ValueError(f"must hold keys of at least {_SHORTEST_KEY} visible ASCII characters, no spaces.")
        return values


class DefaultsPart(Part):
    """What a request gets that does not say otherwise."""

    ttt_binding: Name | None = None
    tti_binding: Name | None = None
    tts_binding: Name | None = None
    stt_binding: Name | None = None
    ttv_binding: Name | None = None
    ttm_binding: Name | None = None
    default_context_size: Annotated[int, Field(ge=64, le=100_000_000)] = 4096
    default_max_output_tokens: Annotated[int, Field(ge=1, le=100_000_000)] = 1024


class ResourcePart(Part):
    """How many local generations run at once and how long others wait (seconds)."""

    gpu_strategy: Literal["semaphore", "simple_lock", "none"] = "semaphore"
    gpu_limit: Annotated[int, Field(ge=1, le=1024)] = 1
    queue_timeout: Annotated[int, Field(ge=1, le=86_400)] = 120


class WebUiPart(Part):
    """The web interface."""

    enable_ui: bool = False


class LoggingPart(Part):
    """How much is logged; `log_level` counts, `level` is its number in older files."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    level: Annotated[int, Field(ge=0, le=100)] = 20


class LimitsPart(Part):
    """What one caller may cost. Sizes in bytes, times in seconds."""

    max_body_bytes: Annotated[int, Field(ge=1024, le=2**30)] = 32 * 2**20
    max_item_bytes: Annotated[int, Field(ge=1024, le=2**30)] = 16 * 2**20
    max_active_requests: Annotated[int, Field(ge=1, le=100_000)] = 1024
    failed_keys_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 20
    header_timeout: Annotated[int, Field(ge=1, le=300)] = 15
    body_timeout: Annotated[int, Field(ge=1, le=3600)] = 30
    keep_alive_timeout: Annotated[int, Field(ge=1, le=3600)] = 15
    workflow_timeout: Annotated[int, Field(ge=1, le=86_400)] = 600
    function_timeout: Annotated[int, Field(ge=1, le=86_400)] = 60
    import_timeout: Annotated[int, Field(ge=1, le=3600)] = 30
    max_function_rounds: Annotated[int, Field(ge=1, le=100)] = 8


Overrides = Annotated[dict[Name, Scalar], Field(max_length=100)]


class MainConfig(Part):
    """The whole of `main_config.yaml`."""

    FILE_NAMES: ClassVar[tuple[str, ...]] = tuple(
        f"main_config.{suffix}" for suffix in ("yaml", "yml", "toml", "json", "db", "sqlite", "sqlite3")
    )

    version: Annotated[str, Field(max_length=64)] | None = Field(default=None, alias="__version__")
    server: ServerPart = ServerPart()
    paths: PathsPart = PathsPart()
    security: SecurityPart
    defaults: DefaultsPart = DefaultsPart()
    bindings_map: Annotated[dict[Name, Name], Field(max_length=1000)] = {}
    resource_manager: ResourcePart = ResourcePart()
    webui: WebUiPart = WebUiPart()
    logging: LoggingPart = LoggingPart()
    limits: LimitsPart = LimitsPart()
    personalities_config: Annotated[dict[Name, Overrides], Field(max_length=10_000)] | None = None

    @field_validator("personalities_config")
    @classmethod
    def _switches(cls, value: dict[str, dict[str, Scalar]] | None) -> dict[str, dict[str, Scalar]] | None:
        for overrides in (value or {}).values():
            if not isinstance(overrides.get("enabled", True), bool):
                raise ValueError("'enabled' must be true or false.")
        return value

    def api_keys(self) -> list[str]:
        """The allowed keys as written: plain text or `sha256:<hex>`."""
        return [key.get_secret_value() for key in self.security.allowed_api_keys]

    def plain_keys(self) -> list[str]:
        """The allowed keys that are written in clear."""
        return [key for key in self.api_keys() if not _HASH.match(key)]

    def listens_beyond_loopback(self, host: str | None = None) -> bool:
        """True when the address to listen on (default: the configured one) can be reached from other machines."""
        return not is_loopback(host or self.server.host)
