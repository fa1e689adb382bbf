"""The neutral calls of tests/wire as somebody would make them with each provider's official SDK.

Each function takes the address of a server, a model and a call, and uses the SDK as its documentation says: arguments
that it has for the knobs that are set, its own types where it wants these. What an SDK has no argument for is left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.support.wire_calls import Neutral

__all__ = ["CALLERS"]

KEY = "sdk-key-0123456789"


def _url(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def _chosen(params: dict[str, Any], **names: str) -> dict[str, Any]:
    """The parameters that an SDK has, by its names."""
    return {there: params[ours] for ours, there in names.items() if ours in params}


# ---- OpenAI's chat protocol, and those who have it too -------------------------------------------------------------


def _chat_messages(call: Neutral) -> list[dict[str, Any]]:
    return [_chat_message(message) for message in call["messages"]]


def _chat_message(message: dict[str, Any]) -> dict[str, Any]:
    role = message["role"]
    if role == "tool":
        return {"role": "tool", "tool_call_id": message["call"], "content": message["text"]}
    if message["tool_calls"]:
        calls = [
            {
                "id": each["id"],
                "type": "function",
                "function": {"name": each["name"], "arguments": json.dumps(each["arguments"], separators=(",", ":"))},
            }
            for each in message["tool_calls"]
        ]
        return {"role": role, "content": message["text"] or None, "tool_calls": calls}
    if any("png" in part for part in message["parts"]):
        return {"role": role, "content": [_chat_part(part) for part in message["parts"]]}
    return {"role": role, "content": message["text"]}


def _chat_part(part: dict[str, Any]) -> dict[str, Any]:
    if "png" in part:
        return {"type": "image_url", "image_url": {"url": _url(part["png"])}}
    return {"type": "text", "text": part["text"]}


def _chat_extras(call: Neutral) -> dict[str, Any]:
    """Tools and schema, where there are any."""
    extras: dict[str, Any] = {}
    if call["tools"]:
        extras["tools"] = [{"type": "function", "function": tool} for tool in call["tools"]]
    if call["schema"] is not None:
        shape = {"name": "answer", "schema": call["schema"], "strict": True}
        extras["response_format"] = {"type": "json_schema", "json_schema": shape}
    return extras


def _effort(call: Neutral) -> dict[str, Any]:
    return {"reasoning_effort": call["thoughts"]} if call["thoughts"] else {}


_CHAT = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop",
}


def openai_chat(url: str, model: str, call: Neutral) -> None:
    import httpx2
    import openai

    params = _chosen(call["params"], max_tokens="max_completion_tokens", **_CHAT)
    stream = {"stream": True, "stream_options": {"include_usage": True}} if call["stream"] else {}
    plain = httpx2.Client(trust_env=False)
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=plain) as client:
        client.chat.completions.create(
            model=model, messages=_chat_messages(call), **params, **stream, **_chat_extras(call), **_effort(call)
        )


def groq_chat(url: str, model: str, call: Neutral) -> None:
    import groq
    import httpx

    params = _chosen(call["params"], max_tokens="max_completion_tokens", **_CHAT)
    stream = {"stream": True} if call["stream"] else {}
    plain = httpx.Client(trust_env=False)
    with groq.Groq(base_url=url.removesuffix("/openai/v1"), api_key=KEY, max_retries=0, http_client=plain) as client:
        client.chat.completions.create(
            model=model, messages=_chat_messages(call), **params, **stream, **_chat_extras(call), **_effort(call)
        )


def mistral_chat(url: str, model: str, call: Neutral) -> None:
    import httpx
    from mistralai.client import Mistral

    params = _chosen(
        call["params"],
        **{**_CHAT, "seed": "random_seed"},
        max_tokens="max_tokens",
        top_k="top_k",
        repeat_penalty="repetition_penalty",
    )
    plain = httpx.Client(trust_env=False)
    with plain, Mistral(api_key=KEY, server_url=url.removesuffix("/v1"), client=plain) as client:
        ask = client.chat.stream if call["stream"] else client.chat.complete
        ask(model=model, messages=_chat_messages(call), **params, **_chat_extras(call), **_effort(call))


def huggingface_chat(url: str, model: str, call: Neutral) -> None:
    from huggingface_hub import InferenceClient, close_session

    params = _chosen(call["params"], max_tokens="max_tokens", **_CHAT)
    stream = {"stream": True, "stream_options": {"include_usage": True}} if call["stream"] else {}
    if effort := _effort(call):
        params["extra_body"] = effort  # there is no argument for it
    with InferenceClient(base_url=url, api_key=KEY) as client:
        try:
            answer = client.chat_completion(
                model=model, messages=_chat_messages(call), **params, **stream, **_chat_extras(call)
            )
            if call["stream"]:
                list(answer)
        finally:
            close_session()


# ---- protocols of their own ----------------------------------------------------------------------------------------


def openai_responses(url: str, model: str, call: Neutral) -> None:
    import httpx2
    import openai

    system = [each["text"] for each in call["messages"] if each["role"] == "system"]
    items = [item for each in call["messages"] if each["role"] != "system" for item in _response_items(each)]
    more = _chosen(call["params"], max_tokens="max_output_tokens", temperature="temperature", top_p="top_p")
    if system:
        more["instructions"] = "\n\n".join(system)
    if call["tools"]:
        more["tools"] = [{"type": "function", "strict": False, **tool} for tool in call["tools"]]
    if call["schema"] is not None:
        shape = {"type": "json_schema", "name": "answer", "schema": call["schema"], "strict": True}
        more["text"] = {"format": shape}
    if call["thoughts"]:
        more["reasoning"] = {"effort": call["thoughts"]}
    if call["stream"]:
        more["stream"] = True
    plain = httpx2.Client(trust_env=False)
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=plain) as client:
        client.responses.create(model=model, input=items, store=False, include=["reasoning.encrypted_content"], **more)


def _response_items(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [{"type": "function_call_output", "call_id": message["call"], "output": message["text"]}]
    parts = message["parts"]
    content: Any = message["text"]
    if any("png" in part for part in parts):
        content = [
            {"type": "input_image", "image_url": _url(part["png"]), "detail": "auto"}
            if "png" in part
            else {"type": "input_text", "text": part["text"]}
            for part in parts
        ]
    said = [{"type": "message", "role": message["role"], "content": content}] if parts else []
    return [
        *said,
        *(
            {
                "type": "function_call",
                "call_id": each["id"],
                "name": each["name"],
                "arguments": json.dumps(each["arguments"], separators=(",", ":")),
            }
            for each in message["tool_calls"]
        ),
    ]


def anthropic_messages(url: str, model: str, call: Neutral) -> None:
    import anthropic
    import httpx2

    # Knobs that the SDK has no argument for go in its `extra_body`, which is what it offers for them.
    beside = _chosen(call["params"], temperature="temperature", top_p="top_p", top_k="top_k")
    more = _chosen(call["params"], stop="stop_sequences")
    system = [each["text"] for each in call["messages"] if each["role"] == "system"]
    if system:
        more["system"] = "\n\n".join(system)
    if call["tools"]:
        more["tools"] = [
            {"name": each["name"], "description": each["description"], "input_schema": each["parameters"]}
            for each in call["tools"]
        ]
    if call["schema"] is not None:
        more["output_config"] = {"format": {"type": "json_schema", "schema": call["schema"]}}
    if call["thoughts"]:
        more.update(thinking={"type": "adaptive"}, output_config={"effort": call["thoughts"]})
    if call["stream"]:
        more["stream"] = True
    if beside:
        more["extra_body"] = beside
    plain = httpx2.Client(trust_env=False)
    base = url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=base, api_key=KEY, max_retries=0, http_client=plain) as client:
        client.messages.create(
            model=model,
            max_tokens=call["params"].get("max_tokens", 128_000),
            messages=_anthropic_turns(call["messages"]),
            timeout=60,
            **more,
        )


def _anthropic_turns(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns; results of tools are the user's, and turns of one role that follow each other are one."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] == "system":
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += _anthropic_blocks(message)
        elif message["role"] == "tool" or message["tool_calls"] or len(message["parts"]) > 1:
            turns.append({"role": role, "content": _anthropic_blocks(message)})
        else:
            turns.append({"role": role, "content": message["text"]})
    return turns


def _anthropic_blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message["call"], "content": message["text"]}]
    blocks = [_anthropic_part(part) for part in message["parts"]]
    return [
        *blocks,
        *(
            {"type": "tool_use", "id": each["id"], "name": each["name"], "input": each["arguments"]}
            for each in message["tool_calls"]
        ),
    ]


def _anthropic_part(part: dict[str, Any]) -> dict[str, Any]:
    if "png" in part:
        data = base64.b64encode(part["png"]).decode()
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    return {"type": "text", "text": part["text"]}


def gemini_generate(url: str, model: str, call: Neutral) -> None:
    import httpx2
    from google import genai
    from google.genai import types

    names = {each["id"]: each["name"] for message in call["messages"] for each in message["tool_calls"]}
    config = _chosen(
        call["params"],
        max_tokens="max_output_tokens",
        temperature="temperature",
        top_p="top_p",
        top_k="top_k",
        presence_penalty="presence_penalty",
        frequency_penalty="frequency_penalty",
        seed="seed",
        stop="stop_sequences",
    )
    system = [each["text"] for each in call["messages"] if each["role"] == "system"]
    if system:
        config["system_instruction"] = "\n\n".join(system)
    if call["tools"]:
        declared = [
            types.FunctionDeclaration(
                name=each["name"], description=each["description"], parameters_json_schema=each["parameters"]
            )
            for each in call["tools"]
        ]
        config["tools"] = [types.Tool(function_declarations=declared)]
    if call["schema"] is not None:
        config.update(response_mime_type="application/json", response_json_schema=call["schema"])
    if call["thoughts"]:
        level = types.ThinkingLevel(call["thoughts"].upper())
        config["thinking_config"] = types.ThinkingConfig(thinking_level=level, include_thoughts=True)
    plain = httpx2.Client(trust_env=False)
    options = types.HttpOptions(base_url=url.removesuffix("/v1beta"), api_version="v1beta", httpx_client=plain)
    client = genai.Client(api_key=KEY, vertexai=False, http_options=options)
    try:
        asked = {
            "model": model,
            "contents": _gemini_contents(call["messages"], names, types),
            "config": types.GenerateContentConfig(**config),
        }
        if call["stream"]:
            list(client.models.generate_content_stream(**asked))
        else:
            client.models.generate_content(**asked)
    finally:
        client.close()
        plain.close()


def _gemini_contents(messages: list[dict[str, Any]], names: dict[str, str], types: Any) -> list[Any]:
    turns: list[Any] = []
    for message in messages:
        if message["role"] == "system":
            continue
        role = "model" if message["role"] == "assistant" else "user"
        parts = _gemini_parts(message, names, types)
        if message["role"] == "tool" and turns[-1].parts[-1].function_response:  # answers come together
            turns[-1].parts += parts
        else:
            turns.append(types.Content(role=role, parts=parts))
    return turns


def _gemini_parts(message: dict[str, Any], names: dict[str, str], types: Any) -> list[Any]:
    if message["role"] == "tool":
        answer = types.FunctionResponse(
            id=message["call"], name=names[message["call"]], response={"output": message["text"]}
        )
        return [types.Part(function_response=answer)]
    parts = [
        types.Part.from_bytes(data=part["png"], mime_type="image/png")
        if "png" in part
        else types.Part(text=part["text"])
        for part in message["parts"]
    ]
    calls = [
        types.Part(function_call=types.FunctionCall(id=each["id"], name=each["name"], args=each["arguments"]))
        for each in message["tool_calls"]
    ]
    return [*parts, *calls]


def ollama_chat(url: str, model: str, call: Neutral) -> None:
    import ollama

    names = {each["id"]: each["name"] for message in call["messages"] for each in message["tool_calls"]}
    options = _chosen(
        call["params"],
        max_tokens="num_predict",
        temperature="temperature",
        top_p="top_p",
        top_k="top_k",
        min_p="min_p",
        repeat_penalty="repeat_penalty",
        repeat_last_n="repeat_last_n",
        presence_penalty="presence_penalty",
        frequency_penalty="frequency_penalty",
        seed="seed",
        stop="stop",
        n_threads="num_thread",
        ctx_size="num_ctx",
    )
    client = ollama.Client(host=url, trust_env=False, headers={"authorization": f"Bearer {KEY}"})
    try:
        answer = client.chat(
            model=model,
            messages=[_ollama_message(message, names) for message in call["messages"]],
            tools=[{"type": "function", "function": tool} for tool in call["tools"]] or None,
            format=call["schema"],
            options=options or None,
            think=call["thoughts"] or None,
            stream=call["stream"],
        )
        if call["stream"]:
            list(answer)
    finally:
        client._client.close()


def _ollama_message(message: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message["role"], "content": message["text"]}
    if images := [part["png"] for part in message["parts"] if "png" in part]:
        sent["images"] = images
    if message["tool_calls"]:
        sent["tool_calls"] = [
            {"function": {"name": each["name"], "arguments": each["arguments"]}} for each in message["tool_calls"]
        ]
    if message["role"] == "tool":
        sent["tool_name"] = names[message["call"]]
    return sent


CALLERS: dict[str, tuple[Callable[[str, str, Neutral], None], str, str]] = {
    "openai_chat": (openai_chat, "gpt-4o", "/v1"),
    "openai_responses": (openai_responses, "gpt-5", "/v1"),
    "anthropic": (anthropic_messages, "claude-opus-4-6", "/v1"),
    "gemini": (gemini_generate, "gemini-2.5-flash", "/v1beta"),
    "ollama": (ollama_chat, "llava", ""),
    "mistral": (mistral_chat, "mistral-small-latest", "/v1"),
    "groq": (groq_chat, "llama-3.3-70b-versatile", "/openai/v1"),
    "huggingface": (huggingface_chat, "meta-llama/Llama-3.1-8B-Instruct", "/v1"),
}
"""Of each protocol: who calls, a model, and what belongs to the address."""
