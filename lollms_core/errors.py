"""Every error the project raises, and the one table that says what each means outside Python.

    LollmsError
    ├── ConfigError                      the configuration cannot be used; nothing starts
    ├── InvalidRequest (ValueError)      the call as it was made cannot be served
    │   ├── UnknownBinding               no binding of that name
    │   ├── UnknownModel                 no model of that name
    │   │   └── ModelNotFound            no model file of that name
    │   ├── ContextTooLong               the prompt does not fit the model's context
    │   ├── MalformedBody                a request body that does not have the documented form
    │   ├── PayloadTooLarge              a request body over the limit
    │   ├── UnsupportedMediaType         a request body that is not JSON
    │   └── RequestIdInUse               a request with that id is running
    ├── NotFound (LookupError)           a personality, instance or request that does not exist
    ├── UnsupportedFeature (NotImplementedError)   this backend cannot do what was asked
    ├── MissingDependency (ImportError)  a package that must be installed first; the message has the command
    ├── AccessDenied (PermissionError)   our server refuses the caller
    │   ├── KeyMissing, KeyRejected      no key; a key we do not know
    │   ├── OriginRefused                a web page of another origin
    │   └── HostRefused                  a Host header that is not ours
    ├── AuthFailed (PermissionError)     the backend rejects the key we sent
    ├── TransportError (ConnectionError)
    │   ├── ConnectFailed                nobody reached at the address
    │   │   └── Refused (ConnectionRefusedError)
    │   ├── TruncatedStream              the answer ended before its end
    │   ├── ProtocolError                bytes that are not what the protocol says
    │   │   └── ReplyTooLarge            a reply, event or nesting over the limit
    │   └── RedirectRefused              the backend answered with a redirect
    ├── UpstreamTimeout (TimeoutError)
    │   ├── ConnectTimeout, FirstByteTimeout, IdleTimeout, TotalTimeout
    ├── UpstreamError                    the backend answered with an error
    │   ├── RateLimited                  too many requests there
    │   ├── Overloaded                   it is too busy, starting, or down
    │   └── UpstreamFailed               it broke
    ├── EngineError                      a local engine
    │   ├── EngineCrashed                its process died
    │   ├── ModelLoadFailed              it could not load the model
    │   └── InstanceUnavailable          a configured instance that is not loaded
    ├── WorkflowFailed                   the script of a personality failed
    ├── QueueTimeout (TimeoutError)      waited too long for a free slot
    ├── TooManyRequests                  our server is full, or one key asks too much
    ├── CallbackFailed                   a function of the caller's raised: the streaming callback, a search
    ├── StructuredOutputError            no answer of the wanted form within the budget; `attempts` has the trail
    ├── StorageError (OSError)           a file or database could not be read or written
    ├── Cancelled                        stopped on request; `partial` has what came
    └── InternalError                    a defect of ours

Errors carry fields, never text to be parsed. `partial` is the reply up to the failure, where there was one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from lollms_core.types import Attempt, Reply


class LollmsError(Exception):
    """Base of all errors. The message is a sentence that says what to do.

    Attributes: `status` the backend's HTTP status, `upstream_code` the backend's own error code, `retry_after` seconds
    the backend asked us to wait, `provider` its name, `param` the parameter at fault, `request_id`, `partial`.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        upstream_code: str = "",
        retry_after: float | None = None,
        provider: str = "",
        param: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.upstream_code = upstream_code
        self.retry_after = retry_after
        self.provider = provider
        self.param = param
        self.request_id = request_id
        self.partial: Reply | None = None

    def __str__(self) -> str:
        return self.message

    @property
    def code(self) -> str:
        """The stable name of this kind of error, for programs."""
        return meaning(self).code


class ConfigError(LollmsError): ...


class InvalidRequest(LollmsError, ValueError): ...


class UnknownBinding(InvalidRequest): ...


class UnknownModel(InvalidRequest): ...


class ModelNotFound(UnknownModel): ...


class ContextTooLong(InvalidRequest): ...


class MalformedBody(InvalidRequest): ...


class PayloadTooLarge(InvalidRequest): ...


class UnsupportedMediaType(InvalidRequest): ...


class RequestIdInUse(InvalidRequest): ...


class NotFound(LollmsError, LookupError): ...


class UnsupportedFeature(LollmsError, NotImplementedError): ...


class MissingDependency(LollmsError, ImportError): ...


class AccessDenied(LollmsError, PermissionError): ...


class KeyMissing(AccessDenied): ...


class KeyRejected(AccessDenied): ...


class OriginRefused(AccessDenied): ...


class HostRefused(AccessDenied): ...


class AuthFailed(LollmsError, PermissionError): ...


class TransportError(LollmsError, ConnectionError): ...


class ConnectFailed(TransportError): ...


class Refused(ConnectFailed, ConnectionRefusedError): ...


class TruncatedStream(TransportError): ...


class ProtocolError(TransportError): ...


class ReplyTooLarge(ProtocolError): ...


class RedirectRefused(TransportError): ...


class UpstreamTimeout(LollmsError, TimeoutError): ...


class ConnectTimeout(UpstreamTimeout): ...


class FirstByteTimeout(UpstreamTimeout): ...


class IdleTimeout(UpstreamTimeout): ...


class TotalTimeout(UpstreamTimeout): ...


class UpstreamError(LollmsError): ...


class RateLimited(UpstreamError): ...


class Overloaded(UpstreamError): ...


class UpstreamFailed(UpstreamError): ...


class EngineError(LollmsError): ...


class EngineCrashed(EngineError): ...


class ModelLoadFailed(EngineError): ...


class InstanceUnavailable(EngineError): ...


class WorkflowFailed(LollmsError): ...


class QueueTimeout(LollmsError, TimeoutError): ...


class TooManyRequests(LollmsError): ...


class CallbackFailed(LollmsError): ...


class StructuredOutputError(LollmsError):
    attempts: tuple[Attempt, ...] = ()  # what was tried, and what came of it


class StorageError(LollmsError, OSError): ...


class Cancelled(LollmsError): ...


class InternalError(LollmsError): ...


class Meaning(NamedTuple):
    """What an error class means outside Python."""

    code: str
    http_status: int
    exit_code: int
    retryable: bool


MEANINGS: dict[type[LollmsError], Meaning] = {
    LollmsError: Meaning("error", 500, 1, False),
    ConfigError: Meaning("config_error", 500, 78, False),
    InvalidRequest: Meaning("invalid_request", 400, 1, False),
    UnknownBinding: Meaning("unknown_binding", 400, 2, False),
    UnknownModel: Meaning("unknown_model", 400, 1, False),
    ModelNotFound: Meaning("model_not_found", 400, 1, False),
    ContextTooLong: Meaning("context_too_long", 400, 1, False),
    MalformedBody: Meaning("malformed_body", 422, 1, False),
    PayloadTooLarge: Meaning("payload_too_large", 413, 1, False),
    UnsupportedMediaType: Meaning("unsupported_media_type", 415, 1, False),
    RequestIdInUse: Meaning("request_id_in_use", 409, 1, False),
    NotFound: Meaning("not_found", 404, 1, False),
    UnsupportedFeature: Meaning("unsupported_feature", 501, 1, False),
    MissingDependency: Meaning("missing_dependency", 501, 1, False),
    AccessDenied: Meaning("access_denied", 403, 4, False),
    KeyMissing: Meaning("key_missing", 403, 4, False),
    KeyRejected: Meaning("key_rejected", 401, 4, False),
    OriginRefused: Meaning("origin_refused", 403, 1, False),
    HostRefused: Meaning("host_refused", 421, 1, False),
    AuthFailed: Meaning("auth_failed", 502, 4, False),
    TransportError: Meaning("transport_error", 502, 1, True),
    ConnectFailed: Meaning("connect_failed", 503, 1, True),
    Refused: Meaning("connection_refused", 503, 1, True),
    TruncatedStream: Meaning("truncated_stream", 502, 1, True),
    ProtocolError: Meaning("protocol_error", 502, 1, False),
    ReplyTooLarge: Meaning("reply_too_large", 502, 1, False),
    RedirectRefused: Meaning("redirect_refused", 502, 1, False),
    UpstreamTimeout: Meaning("timeout", 504, 1, True),
    ConnectTimeout: Meaning("connect_timeout", 504, 1, True),
    FirstByteTimeout: Meaning("first_byte_timeout", 504, 1, True),
    IdleTimeout: Meaning("idle_timeout", 504, 1, True),
    TotalTimeout: Meaning("total_timeout", 504, 1, False),
    UpstreamError: Meaning("upstream_error", 502, 1, False),
    RateLimited: Meaning("rate_limited", 429, 1, True),
    Overloaded: Meaning("overloaded", 503, 1, True),
    UpstreamFailed: Meaning("upstream_failed", 502, 1, True),
    EngineError: Meaning("engine_error", 500, 1, False),
    EngineCrashed: Meaning("engine_crashed", 503, 1, True),
    ModelLoadFailed: Meaning("model_load_failed", 503, 1, False),
    InstanceUnavailable: Meaning("instance_unavailable", 503, 1, True),
    WorkflowFailed: Meaning("workflow_failed", 500, 1, False),
    QueueTimeout: Meaning("queue_timeout", 408, 1, True),
    TooManyRequests: Meaning("too_many_requests", 429, 1, True),
    CallbackFailed: Meaning("callback_failed", 500, 1, False),
    StructuredOutputError: Meaning("structured_output_failed", 502, 1, False),
    StorageError: Meaning("storage_error", 500, 1, False),
    Cancelled: Meaning("cancelled", 499, 130, False),
    InternalError: Meaning("internal_error", 500, 1, False),
}


def meaning(error: LollmsError | type[LollmsError]) -> Meaning:
    """The row of an error; a subclass made elsewhere has the row of its nearest ancestor."""
    kind = error if isinstance(error, type) else type(error)
    return next(MEANINGS[base] for base in kind.__mro__ if base in MEANINGS)


def error_for_code(code: str) -> type[LollmsError] | None:
    """The class of a stable code as it travels on the wire; None if it is not one of ours."""
    return _BY_CODE.get(code)


_BY_CODE: dict[str, type[LollmsError]] = {row.code: kind for kind, row in MEANINGS.items()}


def as_dict(error: LollmsError) -> dict[str, Any]:
    """The documented error dictionary: `status` False, `error` and `message` the sentence, `code` the stable name."""
    return {"status": False, "error": error.message, "message": error.message, "code": error.code}
