"""Errors of Google's Gemini API: the form `google.rpc.Status`, in answers that failed and inside of those that began.

    {"error": {"code": 400, "message": "...", "status": "INVALID_ARGUMENT", "details": [{"@type": "...", ...}]}}

`status` says what kind of fault it is; `details` say more of some: a key that is wrong comes with status
INVALID_ARGUMENT and the reason API_KEY_INVALID, a quota that is used up with the seconds to wait. An answer that was
to be streamed may have its error in a list.

What a model cannot do is said in words only ("... is not enabled for models/gemma-3-27b-it"), so here a few phrases are
looked for. Where they mean something that can be asked for in another way, the error names it as `param`, and
`lollms_core.protocols.lessons` learns from that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from lollms_core.errors import LollmsError
from lollms_core.protocols.base import HttpResponse, Target
from lollms_core.protocols.http_errors import Problem, error_of, http_error, problem_of
from lollms_core.protocols.json_limits import decode_lenient
from lollms_core.protocols.outgoing import encode_json

__all__ = [
    "LEVEL",
    "NO_THINKING",
    "PENALTY",
    "SIGNATURE",
    "SYSTEM",
    "THINKING",
    "THOUGHTS",
    "gemini_error",
    "problem_in",
    "reported",
    "wait_of",
]

PENALTY, SYSTEM, THINKING, SIGNATURE = "penalty", "systemInstruction", "thinkingConfig", "thoughtSignature"
NO_THINKING, LEVEL, THOUGHTS = "noThinking", "thinkingLevel", "includeThoughts"
"""What a model may refuse and is then asked without: both penalties, a system prompt of its own, settings of thinking
(all of them, to think not at all, a level, or to show thoughts without more), and calls of tools that nobody signed."""

_LEARNED = (
    ("developer instruction", SYSTEM),
    ("system instruction", SYSTEM),
    ("penalty", PENALTY),
    ("missing a thought_signature", SIGNATURE),
    ("only works in thinking mode", NO_THINKING),
    ("thinking_budget to 0", NO_THINKING),
    ("include_thoughts is only enabled", THOUGHTS),
    ("thinking level", LEVEL),
    ("thinking_level", LEVEL),
    ("thinking", THINKING),
)

_REFUSED = re.compile(
    r"is not (?:enabled|supported)|are not supported|is unsupported|missing a thought_signature|"
    r"only works in thinking mode|does not support|only enabled when",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"exceeds the maximum number of tokens|input token count", re.IGNORECASE)

_CODES: Mapping[str, str] = {
    "UNAUTHENTICATED": "authentication_error",
    "PERMISSION_DENIED": "permission_denied",
    "NOT_FOUND": "model_not_found",
    "RESOURCE_EXHAUSTED": "rate_limit_exceeded",
    "UNAVAILABLE": "service_unavailable",
    "DEADLINE_EXCEEDED": "timeout_error",
    "UNIMPLEMENTED": "not_supported_error",
}
"""Google's words for the kinds of faults, in those that `http_errors` knows; the HTTP status tells the others."""

_WRONG_KEYS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"})
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_STATUS = re.compile(r"[A-Z][A-Z_]{1,60}")


def problem_in(body: object) -> Problem | None:
    """What an answer says is wrong; None if it says nothing. `body` is decoded JSON, also a list with the error in it.

    The `type` of the problem is Google's word for it, `code` ours where there is one.
    """
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return problem_of(body)
    plain = problem_of({"error": error}) or Problem()
    said = error.get("status")
    word = said if isinstance(said, str) and _STATUS.fullmatch(said) else ""
    code, param = _CODES.get(word, ""), ""
    if any(isinstance(why := detail.get("reason"), str) and why in _WRONG_KEYS for detail in _details(error)):
        code = "invalid_api_key"
    elif word == "INVALID_ARGUMENT" and _REFUSED.search(plain.message):
        words = plain.message.lower()
        param = next((name for phrase, name in _LEARNED if phrase in words), "")
        code = "unsupported_parameter" if param else "not_supported_error"
    elif word == "INVALID_ARGUMENT" and _TOO_LONG.search(plain.message):
        code = "context_length_exceeded"
    return msgspec.structs.replace(plain, code=code, type=word.lower(), param=param)


def _details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = error.get("details")
    return [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []


def wait_of(body: object) -> float | None:
    """Seconds after which to try again, by the `RetryInfo` of an error; None if it has none."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    for detail in _details(error) if isinstance(error, dict) else ():
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (found := _DURATION.fullmatch(delay)):
            return float(found[1])
    return None


def reported(body: object, name: str, secrets: tuple[str, ...]) -> LollmsError:
    """The typed error for what stands inside of an answer that began well."""
    error = error_of(problem_in(body) or Problem(), name=name, secrets=secrets)
    error.retry_after = wait_of(body)
    return error


def gemini_error(response: HttpResponse, target: Target) -> LollmsError:
    """The typed error for a response whose status is not 2xx."""
    body = decode_lenient(response.body)
    problem = problem_in(body) if isinstance(body, dict | list) else None
    if problem is not None:
        told = {"message": problem.message, "code": problem.code, "type": problem.type, "param": problem.param}
        response = HttpResponse(response.status, response.headers, encode_json({"error": told}))
    error = http_error(response, target)
    if (seconds := wait_of(body)) is not None:
        error.retry_after = seconds
    return error
