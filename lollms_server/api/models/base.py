"""What all bodies of the API share.

A request may hold fields that are not known here; they are ignored, so that a newer client can talk to an older
server. A known field of the wrong type is refused with 422. Nothing is converted: `"true"` is not a boolean.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MAX_DATA", "Answer", "ErrorResponse", "FieldProblem", "Key", "Metadata", "Name", "Request", "Text"]

MAX_DATA = 32 * 2**20
"""Characters of one item, whatever `limits.max_item_bytes` says."""
Name = Annotated[str, Field(min_length=1, max_length=512)]
Text = Annotated[str, Field(max_length=MAX_DATA)]
Key = Annotated[str, Field(max_length=256)]
Metadata = Annotated[dict[Key, Any], Field(max_length=64)]


class Request(BaseModel):
    """Base of what callers send."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class Answer(BaseModel):
    """Base of what the server sends."""

    model_config = ConfigDict(frozen=True)


class FieldProblem(Answer):
    """What is wrong with one field of a request."""

    loc: list[str | int]
    msg: str


class ErrorResponse(Answer):
    """The body of every error: a sentence, a stable code for programs, and the id of the request."""

    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = Field(default=None, description="With status 422: the fields at fault.")
