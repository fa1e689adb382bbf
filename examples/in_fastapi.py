"""Answers of a model in a web service, as they come. Needs `pip install fastapi uvicorn`; then

    uvicorn in_fastapi:app
    curl -N -d '{"question": "What is the capital of France?"}' -H "Content-Type: application/json" localhost:8000/ask

LLM_BINDING, LLM_HOST and LLM_MODEL choose the model. When a caller goes away, the model stops.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from lollms_client import AsyncLollmsClient, AsyncStream
from lollms_core.errors import LollmsError
from lollms_core.types import TextDelta


@asynccontextmanager
async def one_client(app: FastAPI) -> AsyncIterator[None]:
    """One client serves all requests; it ends with the program, and a local model with it."""
    binding, host, model = (os.environ.get(f"LLM_{name}", "") for name in ("BINDING", "HOST", "MODEL"))
    async with AsyncLollmsClient(binding or "pythonllamacpp", host or None, model_name=model) as app.state.client:
        yield


app = FastAPI(lifespan=one_client)


class Question(BaseModel):
    question: str = Field(min_length=1, max_length=4000)


@app.post("/ask")
async def ask(asked: Question, request: Request) -> StreamingResponse:
    stream = request.app.state.client.stream(asked.question, max_tokens=200)
    texts = texts_of(stream)
    try:
        first = await anext(texts, "")  # a model that can not be reached is a status, not an empty answer
    except LollmsError as error:
        raise HTTPException(502, str(error)) from error
    return StreamingResponse(rest_of(first, texts), media_type="text/plain")


async def texts_of(stream: AsyncStream) -> AsyncIterator[str]:
    async with stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                yield event.text


async def rest_of(first: str, texts: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for text in texts:
        yield text
