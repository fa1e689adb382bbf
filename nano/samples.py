"""Print sample dialogues through the OpenAI-shaped chat API of llama.cpp, failures included.

usage: python samples.py [MODEL.gguf]   writes SAMPLES.md
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from evaluate import HERE, SHIPPED, load

Message = dict[str, Any]


def user(text: str, system: str = "") -> list[Message]:
    return ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": text}]


def tool(name: str, description: str, **params: str) -> dict[str, Any]:
    props = {k: {"type": v} for k, v in params.items()}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": props, "required": list(props)},
        },
    }


TOOLS = [
    tool("get_weather", "Get the weather for a city", city="string"),
    tool("calculator", "Evaluate an arithmetic expression", expression="string"),
    tool("generate_image", "Generate an image from a prompt", prompt="string"),
]
ODD_TOOLS = [
    tool("frobnicate_widget", "Frobnicate the widget", widget="string", amount="integer"),
    tool("open_gate", "Open the gate for a user", user="string"),
    tool("list_planets", "List the planets"),
]
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["name", "age", "city"],
    "additionalProperties": False,
}
ZONES = (
    "You are a helpful assistant.\n\n-- Memory --\n- User's favorite language is Rust\n\n"
    "-- User Data Zone --\nName: Omar\nCompany: Acme"
)

# (heading, user turns, extra request fields)
DIALOGUES: list[tuple[str, list[Message] | list[str], dict[str, Any]]] = [
    ("Greeting", user("Hello"), {}),
    ("Identity", user("Who are you?"), {}),
    ("Abilities", user("what can you do"), {}),
    ("Capital, typo", user("whats the captial of italy"), {}),
    ("Sum", user("What is 34 + 48?"), {}),
    ("Definition", user("What is an algorithm?"), {}),
    ("Translation", user("How do you say water in Spanish?"), {}),
    ("Echo", user("Repeat: the silver rocket"), {}),
    ("Uppercase", user("Write cat in capital letters."), {}),
    ("Yes or no", user("Is a carrot an animal? Answer yes or no."), {}),
    (
        "Yes or no as JSON",
        user('Is Paris the capital of France? Answer as JSON: {"answer": true, "explanation": "string"}'),
        {},
    ),
    (
        "Extraction",
        user(
            'Extract the information into this template: {"full_name":"string","age":"integer",'
            '"profession":"string","hobbies":["string"]}'
            "\nText: Ada Lovelace is a 36-year-old engineer who lives in London. They enjoy reading and chess."
        ),
        {},
    ),
    (
        "Extraction under a JSON schema",
        user("Extract the name, age and city as JSON: Sofia is 28 years old and lives in Porto."),
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "person", "strict": True, "schema": PERSON},
            }
        },
    ),
    ("Grammar: the answer must be yes or no", user("Is snow white?"), {"grammar": 'root ::= "yes" | "no"'}),
    (
        "Search query",
        user('Generate a search query for this request as JSON {"query": "string"}: Tell me about the golden castle.'),
        {},
    ),
    ("Memory zone", user("What is my favorite language?", ZONES), {}),
    ("User data zone", user("What is my name?", ZONES), {}),
    (
        "Context",
        user(
            "What is the code word?",
            "You are a helpful assistant. The code word is Kalimo. The meeting is at 4 on Friday.",
        ),
        {},
    ),
    (
        "Memory extraction",
        user(
            "Extract the facts about the user worth remembering as a bullet list.\n\n"
            "user: My favourite language is Rust.\nassistant: Great.\nuser: I live in Lyon.\nassistant: Nice!"
        ),
        {},
    ),
    (
        "Chat title",
        user("Generate a title for this conversation:\nuser: How do I repair a bicycle?\nassistant: Let me see."),
        {},
    ),
    (
        "Summary",
        user(
            "Summarise: A new library opened in Oslo on Monday. "
            "Many people came to see it. The owner, Tomas, was very happy."
        ),
        {},
    ),
    ("Thinking", user("What is 27 + 35?", "Think step by step."), {}),
    ("Code", user("Write a Python function that reverses a string."), {}),
    ("Fun fact", user("Tell me a fun fact about space."), {}),
    ("Explanation", user("Explain what an API aggregator is, as if to a beginner."), {}),
    ("Poem", user("Write a short poem about stars."), {}),
    ("Poem of three lines", user("Write a 3-line poem about incredible speed."), {}),
    ("Story", user("Write a short story about a robot who discovers music."), {}),
    ("Any story", user("Tell me a story."), {}),
    ("Code, another wording", user("Write a Python function that takes two numbers and returns their sum."), {}),
    ("Yes or no with a reason", user("Is 32 bigger than 40?"), {}),
    (
        "Yes or no as JSON, the reason first",
        user('Is a carrot an animal? Answer as JSON: {"explanation": "string", "answer": true}'),
        {},
    ),
    ("Out of domain", user("Write me a poem about the stock market in Latin."), {}),
    (
        "Five turns",
        [
            "Hi, my name is Pedro.",
            "My favourite colour is green.",
            "What is 5 + 6?",
            "What is my favourite colour?",
            "What is my name?",
        ],
        {},
    ),
    ("Tool call", user("What is the weather in Madrid?"), {"tools": TOOLS}),
    (
        "Tool call, unusual tool",
        user("Call frobnicate_widget with widget = blue lamp and amount = 42"),
        {"tools": ODD_TOOLS},
    ),
    ("Tool call without arguments", user("List the planets"), {"tools": ODD_TOOLS}),
    ("Tools present but not needed", user("Hello"), {"tools": TOOLS}),
    (
        "Tool result",
        [
            {"role": "user", "content": "What is the weather in Rome?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "sunny, 21 C"},
        ],
        {"tools": TOOLS},
    ),
]


def show(message: Message) -> str:
    calls = message.get("tool_calls")
    text = "" if not message.get("reasoning_content") else f"(reasoning) {message['reasoning_content']}\n"
    return text + (f"(tool call) {json.dumps(calls[0]['function'])}" if calls else message.get("content") or "")


def main(path: str) -> None:
    server, seconds = load(path)
    lines = [
        "# Sample dialogues",
        "",
        f"Made by `samples.py` with {Path(path).name} at temperature 0, through the chat API of llama.cpp.",
        "Nothing was selected; failures stay in.",
        "",
    ]
    for i, (heading, turns, extra) in enumerate(DIALOGUES, 1):
        lines += [f"## {i}. {heading}", ""]
        scripted = all(isinstance(t, str) for t in turns)
        messages: list[Message] = []
        for step in turns if scripted else [turns]:
            messages = messages + user(step) if scripted else list(step)
            for m in messages[-1:] if scripted else messages:
                lines += [f"**{m['role']}:**", "", "```text", show(m), "```", ""]
            out = server.handle_chat_completions({"messages": messages, "max_tokens": 220, "temperature": 0, **extra})
            reply = out["choices"][0]["message"] if "choices" in out else {"content": f"ERROR {out}"}
            lines += ["**lollms-nano:**", "", "~~~text", show(reply), "~~~", ""]
            messages.append({"role": "assistant", "content": reply.get("content") or ""})
    chunks: list[str] = []
    start = time.time()
    first = [0.0]

    def on_chunk(chunk: Any) -> bool:
        for c in chunk if isinstance(chunk, list) else [chunk]:
            text = ((c.get("choices") or [{}])[0].get("delta") or {}).get("content") if isinstance(c, dict) else None
            if text:
                first[0] = first[0] or time.time() - start
                chunks.append(text)
        return False

    server.handle_chat_completions(
        {"messages": user("What can you do?"), "max_tokens": 120, "temperature": 0, "stream": True}, on_chunk
    )
    lines += [
        "## Streaming",
        "",
        f'"What can you do?" came in {len(chunks)} chunks, the first after {first[0] * 1000:.1f} ms, '
        f"all after {(time.time() - start) * 1000:.1f} ms:",
        "",
        "~~~text",
        " | ".join(chunks),
        "~~~",
    ]
    with open(HERE / "SAMPLES.md", "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")
    print(f"loaded in {seconds:.3f} s, {len(DIALOGUES)} dialogues, {len(chunks)} streamed chunks")


if __name__ == "__main__":
    main([*sys.argv[1:], SHIPPED][0])
