"""What an error of Hugging Face means: of the router, of the models behind it, and of Inference Endpoints.

Text Generation Inference says what kind of error it is in `error_type`; others send a sentence and a status. A model
that is not in memory answers with status 503 and the seconds that loading it may take.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.http_errors import Problem, error_of, http_error, problem_of, scrub, secrets_of
from lollms_core.protocols.json_limits import decode_lenient
from lollms_core.protocols.outgoing import encode_json

__all__ = ["huggingface_error", "task_error"]

_TYPES = {
    "overloaded": "server_overloaded",
    "healthcheck": "service_unavailable",
}
"""What Text Generation Inference calls an error, and the code that says so everywhere."""

_FAILED = ("generation", "incomplete_generation")

_SAID = (
    ("must have less than", "context_length_exceeded"),
    ("`max_new_tokens` must be <=", "context_length_exceeded"),
    ("are not used by the model", "unsupported_parameter"),
    ("not supported by any provider", "model_not_found"),
    ("does not exist", "model_not_found"),
)
"""Errors that have nothing but words for what is another matter than their status says."""

_LONGEST_WAIT = 24 * 3600.0


def huggingface_error(response: HttpResponse, target: Target) -> LollmsError:
    """The typed error for a response whose status is not 2xx; `retry_after` is what loading the model may take."""
    body = decode_lenient(response.body)
    if not isinstance(body, dict) or response.status < 400:
        return http_error(response, target)
    problem = _problem(body)
    if problem is None:
        return http_error(response, target)
    if problem.type in _FAILED:
        error = task_error(body, target.provider, secrets_of(target))
        error.status = response.status
        return error
    told = {"message": problem.message, "code": problem.code, "type": problem.type, "param": problem.param}
    coded = encode_json({"error": told})
    error = http_error(HttpResponse(response.status, response.headers, coded), target)
    wait = body.get("estimated_time")
    if error.retry_after is None and isinstance(wait, int | float) and 0 < wait <= _LONGEST_WAIT:
        error.retry_after = float(wait)
    return error


def task_error(body: dict[str, Any], name: str = "", secrets: Iterable[str] = ()) -> LollmsError:
    """The typed error that stands in an answer which began well."""
    problem = _problem(body) or Problem()
    if problem.type in _FAILED:
        said = scrub(problem.message, secrets)
        problem = Problem(message=said, type="server_error")
    elif problem.type == "validation" and not problem.code:
        problem = Problem(message=problem.message, type="invalid_request_error")
    return error_of(problem, name=name, secrets=secrets)


def _problem(body: dict[str, Any]) -> Problem | None:
    """What is wrong, in any of the forms; None where the body does not say."""
    said = body.get("error")
    if isinstance(said, list):
        said = "; ".join(each for each in said if isinstance(each, str))
    kind = body.get("error_type")
    if not isinstance(said, str):
        found = problem_of(body)
        if found is None or found.code != "model_not_supported":
            return found
        return Problem(found.message, "model_not_found", found.type, found.param)
    kind = kind if isinstance(kind, str) else ""
    code = next((code for words, code in _SAID if words in said), "")
    return Problem(message=said, code=code or _TYPES.get(kind, ""), type=kind)
