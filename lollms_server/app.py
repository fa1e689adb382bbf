"""The server as one ASGI application: the guard in front, the documented routes behind it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from lollms_core.errors import InternalError, InvalidRequest, LollmsError, MalformedBody, NotFound, meaning
from lollms_runtime.import_probe import Prober
from lollms_server.api import embeddings, generate, health, listings, model_info, page, reload, requests, tokens
from lollms_server.api.openapi import describe
from lollms_server.api.routes import request_id, services
from lollms_server.core.bindings import Binding, Surroundings
from lollms_server.core.bindings.manager import BindingManager
from lollms_server.core.config import LoadedConfig
from lollms_server.core.functions import FunctionManager
from lollms_server.core.personalities import PersonalityManager
from lollms_server.core.quick_route import QuickRoute
from lollms_server.core.reloading import Reloader
from lollms_server.core.requests import Registry
from lollms_server.core.resource_manager import ResourceManager
from lollms_server.core.responses import FieldError, error_body, error_headers, let_go
from lollms_server.core.scheduler import Scheduler
from lollms_server.core.services import Patience, Services
from lollms_server.middleware.guard import guard

__all__ = ["ServerApp", "create_app", "program_version"]

_MAX_SHOWN_ERRORS = 20
_FUNCTIONS = 0.3  # seconds for which the start waits for functions; slower ones follow


def create_app(
    loaded: LoadedConfig,
    *,
    bindings: Mapping[str, Binding] | None = None,
    patience: Patience | None = None,
    quick: bool = True,
) -> ServerApp:
    """The application for a configuration; `bindings` are further instances by name, made by the caller.

    A default of the configuration may name one of them if `load_config` was told so (`further`). `quick` puts the quick
    route in front of the documented ones; the answers are the same without it.
    """
    return ServerApp(_services(loaded, bindings or {}, patience or Patience()), quick=quick)


class ServerApp:
    """The ASGI callable. `services` are its parts, `api` the FastAPI application behind the guard."""

    def __init__(self, house: Services, *, quick: bool = True) -> None:
        self.services = house
        self.api = _api(house)
        inner = QuickRoute(self.api, house) if quick else self.api
        self._guarded = guard(inner, config=house.loaded.config, keys=house.loaded.keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._guarded(scope, receive, send)


def program_version() -> str:
    """The version that is installed; "0" when the program runs from a copy that is not."""
    try:
        return importlib.metadata.version("lollms-suite")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _services(loaded: LoadedConfig, bindings: Mapping[str, Binding], patience: Patience) -> Services:
    limits, resources = loaded.config.limits, loaded.config.resource_manager
    most = limits.max_active_requests
    # Of several callers none may take all of the places.
    of_one_key = most if len(loaded.keys) <= 1 else max(1, most // 2)
    scheduler = Scheduler(queue_timeout=resources.queue_timeout, queue_bound=max(1, most // 4), key_bound=of_one_key)
    registry = Registry(most, key_bound=of_one_key)
    prober = Prober(limits.import_timeout, allow_installs=loaded.config.security.allow_runtime_installs)
    functions = FunctionManager(loaded, probe=prober.probe, patience=_FUNCTIONS)
    personalities = PersonalityManager(loaded, prober)
    resource_manager = ResourceManager(resources.model_dump(), scheduler)
    manager = BindingManager(loaded, scheduler, resource_manager, registry=registry, prober=prober)
    for name, binding in bindings.items():
        manager.add(name, binding)
    return Services(
        loaded=loaded,
        manager=manager,
        personalities=personalities,
        functions=functions,
        scheduler=scheduler,
        registry=registry,
        reloader=Reloader(loaded, registry, functions, personalities, manager),
        patience=patience,
        version=program_version(),
    )


def _api(house: Services) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        defaults = house.loaded.config.defaults
        surroundings = Surroundings(
            house.loaded.folders.models,
            default_context_size=defaults.default_context_size,
            default_max_output_tokens=defaults.default_max_output_tokens,
        )
        await house.functions.start()
        await house.personalities.start()
        await house.manager.start(surroundings)
        try:
            yield
        finally:
            house.registry.close()
            house.registry.cancel_all("shutdown")
            await house.manager.stop()
            await house.functions.stop()
            await house.personalities.stop()
            await surroundings.close()

    api = FastAPI(
        title="LoLLMs server",
        version=house.version,
        description="Generate anything with any model. All routes but / and /health need the header X-API-Key.",
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # a page cannot send the key, and would load its programs from elsewhere
        redoc_url=None,
    )
    api.state.services = house
    for module in (generate, health, listings, model_info, requests, tokens, embeddings, reload, page):
        # Not `include_router`, which puts a second search for the route in front of each.
        api.router.routes.extend(module.router.routes)
    _handle_errors(api)
    describe(api)
    return api


def _handle_errors(api: FastAPI) -> None:
    """Every error leaves in the uniform body."""

    @api.exception_handler(LollmsError)
    async def known(request: Request, error: LollmsError) -> Response:
        return _reply(request, error)

    @api.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        let_go(error)
        found = error.errors()[:_MAX_SHOWN_ERRORS]
        fields = [FieldError(list(each["loc"]), str(each["msg"])) for each in found]
        sentence = "The request body does not have the documented form."
        if found and found[0]["type"] == "json_invalid":
            why = str((found[0].get("ctx") or {}).get("error", ""))
            sentence = f"The request body is not JSON: {why}."
            fields = [FieldError(["body"], f"This is not JSON: {why}.")]
        return _reply(request, MalformedBody(sentence), fields)

    @api.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return _reply(request, NotFound("There is nothing at this path."))
        reply = _reply(request, InvalidRequest(str(error.detail)))
        reply.status_code = error.status_code
        reply.headers.update(error.headers or {})
        return reply

    @api.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        return _reply(request, InternalError("An unforeseen exception."))  # the guard logs it


def _reply(request: Request, error: LollmsError, fields: Sequence[FieldError] = ()) -> Response:
    error.message = services(request).loaded.scrubber.clean(error.message)
    body = error_body(error, request_id(request), fields)
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return Response(body, meaning(error).http_status, headers)
