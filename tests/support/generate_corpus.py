"""Requests to `POST /api/v1/generate`, several hundred of them, of every kind that two readers could see differently.

`quick` of a case is True for a body that the quick route must serve by itself (plain text in, text out), False for one
that only the documented route may see, and None where either will do.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lollms_server.core.parameters import KNOWN
from tests.support.generate_answers import ANSWERS, RAISED
from tests.support.raw_http import prompt
from tests.support.server import KEY
from tests.support.twin_servers import Headers

__all__ = ["CASES", "Case"]

MAX_ITEM = 5000
"""The corpus is for servers with this `limits.max_item_bytes`, and `MAX_BODY` as `limits.max_body_bytes`."""
MAX_BODY = 200_000


class Case(NamedTuple):
    """One request: see the module, and `raw_request` for `headers` and `chunks`."""

    name: str
    body: bytes
    quick: bool | None = None
    headers: Headers = ()
    chunks: Sequence[bytes] | None = None


TEXT = {"type": "text", "role": "user_prompt", "data": "hello"}
ITEM = '{"type":"text","role":"user_prompt","data":"hello"}'
NULLS = ("personality", "binding_name", "model_name", "functions", "tools", "response_schema", "text_prompt")
ROLES = ("user_message", "assistant_message", "tool_result", "user_prompt", "system_context")


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _with(field: str, value: str, item: str = ITEM) -> bytes:
    """A plain body with one more field, as JSON text."""
    return f'{{"input_data":[{item}],"{field}":{value}}}'.encode()


def _data(text: str) -> bytes:
    """A body whose prompt is this text of JSON, between its quotes."""
    return f'{{"input_data":[{{"type":"text","role":"user_prompt","data":"{text}"}}]}}'.encode("utf-8", "surrogatepass")


def _plain() -> Iterator[tuple[str, Any]]:
    """Bodies that the quick route must serve."""
    yield "text", prompt("hello")
    yield "empty text", prompt("")
    yield "a stream", prompt("hello", stream=True)
    yield "everything said", prompt("hello", stream=False, generation_type="ttt", binding_name="main", model_name="m")
    for text in (
        "héllo ☃ 🎉",
        "\u2028\u2029\ufeff\ufffe\U0010ffff",
        "\x00\x01\x1f\x7f",
        "\\ / \" ' \b\f\n\r\t",
        " " * 50,
    ):
        yield f"text {text[:5]!a}", prompt(text)
    for role in ROLES:
        yield f"{role} alone", {"input_data": [{**TEXT, "role": role}]}
        yield f"{role} first", {"input_data": [{**TEXT, "role": role}, TEXT]}
        yield f"{role} last", {"input_data": [TEXT, {**TEXT, "role": role}]}
    yield "a conversation", {"input_data": [{**TEXT, "role": role, "data": role} for role in ROLES * 3]}
    yield "500 items", {"input_data": [TEXT] * 500}
    yield "text at the limit", prompt("x" * MAX_ITEM)
    yield "text over the limit", prompt("x" * (MAX_ITEM + 1))
    yield "wide text at the limit", prompt("é" * MAX_ITEM)
    yield "many texts", {"input_data": [{**TEXT, "data": "x" * MAX_ITEM}] * 30}
    for name, bounds in KNOWN.items():
        values = {
            0,
            1,
            -1,
            bounds.low,
            bounds.high,
            bounds.low - 1,
            bounds.high + 1,
            0.5,
            1e-300,
            1e15,
            2**53,
            -(2**53),
        }
        for value in sorted(value for value in values if -(2**53) <= value <= 2**53):
            yield f"{name} {value!r}", prompt("hello", parameters={name: value})
    for one, other in (("max_tokens", "n_predict"), ("ctx_size", "context_size")):
        yield f"{one} and {other}", prompt("hello", parameters={one: 5, other: 6})
        yield f"{other} and {one}", prompt("hello", parameters={other: 6, one: 5})
    yield "all parameters", prompt("hello", parameters=dict.fromkeys(KNOWN, 1))
    for name in ("main", "seeing", "own", "nobody", "broken", "b" * 256, "é", "../main", " main"):
        for stream in (False, True):
            yield f"binding {name[:9]} {stream}", prompt("hello", binding_name=name, stream=stream)
    for name in ("m", "other/model:latest", "huge", "x" * 256, "\x00", "☃"):
        yield f"model {name[:9]!a}", prompt("hello", model_name=name)
        yield f"model {name[:9]!a} of own", prompt("hello", binding_name="own", model_name=name, stream=True)
    yield "own fails", prompt("fail", binding_name="own")
    yield "own in a stream", prompt("hello", binding_name="own", stream=True, parameters={"seed": 1})
    for text in (*ANSWERS, *RAISED, *(f"late {code}" for code in RAISED)):
        for stream in (False, True):
            yield f"answer {text} {stream}", prompt(text, stream=stream)


def _bare() -> Iterator[tuple[str, Any]]:
    """Plain bodies as other clients write them: with every field, and nothing in most. The quick route serves them."""
    bare = {**TEXT, "mime_type": None, "metadata": {}}
    yield "item", {"input_data": [bare], "generation_type": "ttt", "stream": True, "parameters": {}}
    yield (
        "items",
        {"input_data": [bare, {**bare, "metadata": None}, {**TEXT, "mime_type": None}, {**TEXT, "metadata": {}}]},
    )
    yield "all fields", prompt("hello", **dict.fromkeys(NULLS))
    yield "tool result", {"input_data": [{**bare, "role": "tool_result"}, {**bare, "role": "assistant_message"}]}
    for name in NULLS:
        for binding in ("main", "own"):
            yield f"{name} for {binding}", {**prompt("hello", binding_name=binding), name: None}


def _rich() -> Iterator[tuple[str, Any]]:
    """Bodies that hold more than the quick route may understand, or are wrong."""
    for field, values in {
        "personality": ["x", "", 5],
        "functions": [[], ["a.b"], "a"],
        "tools": [[], [{"type": "function", "function": {"name": "f"}}], {}],
        "response_schema": [{}, {"type": "object"}, []],
        "text_prompt": ["first", "", 5],
        "generation_type": ["tti", "stt", "smell", "", 5, "TTT"],
        "stream": [0, 1, "true", [], {}],
        "binding_name": ["", "b" * 512, "b" * 513, 5, ["main"]],
        "model_name": ["", "m" * 512, "m" * 513, 5, {}],
        "parameters": [
            [],
            "x",
            5,
            {"": 1},
            {"k" * 257: 1},
            {f"p{n}": n for n in range(64)},
            {f"p{n}": 1 for n in range(65)},
        ],
        "unknown": [None, 1, {"deep": [{}]}],
        "input_data": [None, [], {}, "x", 5, [None], [[]], ["x"], [{}], [TEXT] * 1000, [TEXT] * 1001],
    }.items():
        for value in values:
            yield f"{field} {str(value)[:30]} {len(str(value))}", {**prompt("hello"), field: value}
    for field, values in {
        "type": ["image", "audio", "smell", "", None, 5, "Text"],
        "role": ["poet", "input_image", "", "r" * 64, "r" * 65, None, 5, "User_Prompt"],
        "data": [None, 5, [], {}, True],
        "mime_type": ["text/plain", "", "m" * 127, "m" * 128, 5, "image/png"],
        "metadata": [{"a": 1}, {"tool_call_id": "1"}, {"k" * 257: 1}, [], "x"],
        "unknown": [None, 1],
    }.items():
        for value in values:
            yield f"item with {field} {str(value)[:30]}", {"input_data": [{**TEXT, field: value}]}
            yield f"second with {field} {str(value)[:30]}", {"input_data": [TEXT, {**TEXT, field: value}]}
    for field in TEXT:
        yield f"item without {field}", {"input_data": [{name: each for name, each in TEXT.items() if name != field}]}
    calls = [{"id": "1", "name": "f", "arguments": {"a": 1}}]
    yield "tool calls", {"input_data": [{**TEXT, "role": "assistant_message", "metadata": {"tool_calls": calls}}, TEXT]}
    for name in (*KNOWN, "stop", "system_message", "mirostat", "base_url", "api_key", "Temperature"):
        for value in (None, True, "1", [], {}, ["x"], 2**53 + 1, -(2**63), 2**64, 10**30):
            if value is not None or name not in KNOWN:
                yield f"{name} {str(value)[:30]}", prompt("hello", parameters={name: value})
    for body in ({}, [], None, "text", 5, True, [TEXT], {"input_data": [TEXT], "input": 1}):
        yield f"body {str(body)[:30]}", body


def _either() -> Iterator[tuple[str, Any]]:
    """Bodies that are nearly plain."""
    for name in ("stream", "parameters", "generation_type"):
        yield f"null {name}", prompt("hello", **{name: None})
    for name in KNOWN:
        yield f"parameter {name} is null", prompt("hello", parameters={name: None})
    yield "501 items", {"input_data": [TEXT] * 501}


NUMBERS = (
    "-0", "-0.0", "0.0", "5.0", "1e0", "1E+2", "1e-400", "1e400", "-1e400", "4.9e-324", "2.4703282292062327e-324",
    "1.7976931348623157e308", "1.7976931348623159e308", "9007199254740992.5", "9007199254740993", "9007199254740993.0",
    "0.1000000000000000055511151231257827", "0.30000000000000004", "1.00000000000000011102230246251565404",
    "123456789012345678901234567890", "0.000000000000000000000000000000000000001", "9" * 400, "0." + "9" * 400,
    "1" + "0" * 400 + "e-400", "NaN", "Infinity", "-Infinity", "nan", "+1", "01", "-", ".5", "1.", "1e", "0x10",
    "1_000",
    "--1", "1e+", "1 2", "\u0661", "-01", "1e5", "1e6", "10000000.0", "8388608e-23",
)  # fmt: skip

TEXTS = (
    *(chr(code) for code in (*range(32), 127, 128, 159)), '"', "\\", "\\x", "\\u12", "\\u00e9", "\\u00E9",
    "\\U0001f389",
    "\\/", "\\'", "\\0", "\\u0000", "\\u001f", "\\ud83c\\udf89", "\\uD83C\\uDF89", "\\ud83c", "\\udf89",
    "\\udf89\\ud83c",
    "\\ud83c\\n", "\\ud83cx", "\\\\ud83c", "\\\\\\ud83c", "\ud83c", "\udf89", "\\uFFFF", "\\uFEFF", "\ufeff", "\\u00",
    "\\b\\f\\n\\r\\t\\\"", "{{", "${x}", "%s", "<script>",
)  # fmt: skip

BYTES = (
    b"\xff", b"\xc0\x80", b"\xe2\x28\xa1", b"\xf4\x90\x80\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\x80", b"\xf0\x9f\x8e",
    b"\xc1\xbf", b"\xe0\x80\xaf", b"\xfe\xff",
)  # fmt: skip


def _written() -> Iterator[Case]:
    """Bodies written by hand: numbers, texts, keys that stand twice, and what is hardly JSON."""
    for name in ("temperature", "max_tokens", "seed"):
        for number in NUMBERS:
            yield Case(f"{name} {number[:25]} {len(number)}", _with("parameters", f'{{"{name}":{number}}}'))
    for text in TEXTS:
        yield Case(f"text {text!a}", _data(text))
        yield Case(
            f"name {text!a}",
            _with("model_name", f'"{text}"').replace(b"\xed", b"\xed"[:1]) if text.isascii() else _data(text * 2),
        )
    for odd in BYTES:
        yield Case(f"bytes {odd!r} in a text", _data("@").replace(b"@", odd), False)
        yield Case(f"bytes {odd!r} in a name", _with("model_name", '"@"').replace(b"@", odd), False)
        yield Case(f"bytes {odd!r} in a key", _with("parameters", '{"@":1}').replace(b"@", odd), False)
        yield Case(f"bytes {odd!r} behind", _with("stream", "false") + odd, False)
    twice = {
        "input_data": ("[]", f"[{ITEM}]"),
        "stream": ("true", "false"),
        "parameters": ('{"top_k":1}', '{"top_k":2,"seed":3,"top_k":4}'),
        "binding_name": ('"nobody"', '"main"'),
        "generation_type": ('"tti"', '"ttt"'),
        "unknown": ("1", "2"),
    }
    for name, (one, other) in twice.items():
        for first, second in ((one, other), (other, one), (one, one)):
            body = f'{{"input_data":[{ITEM}],"{name}":{first},"{name}":{second}}}'
            yield Case(f"{name} {first[:9]} then {second[:9]}", body.encode())
    for one, other in (('"a"', '"b"'), ("1", '"b"'), ('"b"', "1"), ("null", '"b"')):
        item = f'{{"type":"text","data":{one},"role":"user_prompt","data":{other}}}'
        yield Case(f"data {one} then {other}", f'{{"input_data":[{item}]}}'.encode())
    whole = _with("stream", "false").decode()
    for name, body in {
        "escaped keys": whole.replace("input_data", "input\\u005fdata").replace("role", "r\\u006fle"),
        "escaped values": whole.replace('"text"', '"\\u0074ext"').replace("user_prompt", "user\\u005fprompt"),
        "white space": whole.replace(",", " \t\r\n,\n ").replace(":", " : "),
        "white space around": f" \n{whole}\r\n\t ",
        "trailing text": f"{whole} x",
        "trailing object": f"{whole}{{}}",
        "trailing NUL": f"{whole}\0",
        "leading NUL": f"\0{whole}",
        "BOM": f"\ufeff{whole}",
        "comma at the end": whole.replace("false}", "false,}"),
        "comma in the list": whole.replace("}]", "},]"),
        "comment": whole.replace("false", "false/*x*/"),
        "single quotes": whole.replace('"', "'"),
        "form feed": whole.replace(",", ",\f"),
        "no-break space": whole.replace(",", ",\u00a0"),
        "True": whole.replace("false", "True"),
        "cut off": whole[:-1],
        "cut in a text": whole[:30],
        "in a list": f"[{whole}]",
        "as a text": json.dumps(whole),
        "nothing": "",
        "a space": " ",
        "spaces": " " * 1000,
        "deep lists": "[" * 90_000,
        "deep objects": '{"a":' * 15_000 + "1" + "}" * 15_000,
        "deep metadata": whole.replace('"hello"', f'"x","metadata":{{"a":{"[" * 150 + "]" * 150}}}'),
        "deep unknown": whole.replace("false", f'false,"x":{"[" * 300 + "]" * 300}'),
        "deep parameter": whole.replace('"stream":false', f'"parameters":{{"x":{"[" * 190 + "]" * 190}}}'),
        "many keys": whole.replace("false", "false" + "".join(f',"k{n}":{n}' for n in range(3000))),
    }.items():
        yield Case(name, body.encode())
    for codec in ("utf-16", "utf-16-le", "utf-32"):
        yield Case(f"in {codec}", whole.encode(codec), False)
    for over in (-1, 0, 1):
        padding = MAX_BODY + over - len(_data(""))
        yield Case(f"a body {over} over the limit", _data("x" * padding))


OWN_IDS = (
    "", " ", "short", "a" * 15, "a" * 16, "A-z-09" * 3, "a" * 64, "a" * 65, "with space in the id",
    "under_score_under_score",
    "a" * 16 + "\x7f", "é" * 16, "0123456789abcdef\t", "a,b," * 6, "made-by-the-server-0",
)  # fmt: skip
CONTENT_TYPES = (
    "application/json", "APPLICATION/JSON", "Application/Json; Charset=UTF-8", "application/json;charset=utf-8",
    'application/json; charset="utf-8"', "application/json ; charset = utf-8", "application/json; charset=latin-1",
    "application/json;", "application/json; v=1", "application/json; charset=utf-8; v=1", " application/json ", "",
    "text/plain", "application/x-www-form-urlencoded", "application/problem+json", "application/vnd.x+json", "json",
    "application/json, text/plain", "application/jsonp", "multipart/form-data; boundary=x", "application/json\t",
)  # fmt: skip
ACCEPTS = (
    "*/*",
    "application/json",
    "text/event-stream",
    "text/html",
    "",
    "nonsense",
    "application/json;q=0",
    "a/b, */*;q=0.1",
)
OTHERS: tuple[Headers, ...] = (
    (("x-api-key", None),), (("x-api-key", "wrong-key-0123456789"),), (("x-api-key", ""),), (("x-api-key",
    f" {KEY} "),),
    (("x-api-key", KEY), ("x-api-key", KEY)), (("X-API-KEY", KEY),), (("x-api-key", KEY.upper()),),
    (("x-api-key", None), ("authorization", f"Bearer {KEY}")), (("x-api-key", None), ("authorization",
    f"bearer  {KEY}")),
    (("authorization", "Bearer wrong"),), (("x-api-key", None), ("cookie", f"key={KEY}")),
    (("x-request-id", "a" * 20), ("x-request-id", "b" * 20)), (("x-request-id", None),),
    (("content-type", "application/json"), ("content-type", "application/json")), (("content-type", None),),
    (("content-type", "application/json"), ("content-type", "text/plain")), (("content-encoding", "gzip"),),
    (("host", "evil.example"),), (("host", "127.0.0.1"),), (("host", "localhost:1"),), (("host", ""),),
    (("origin", "http://evil.example"),), (("origin", "null"),), (("origin", "http://localhost"),),
    (("sec-fetch-site", "cross-site"),), (("sec-fetch-site", "same-origin"), ("origin", "http://localhost")),
    (("expect", "100-continue"),), (("upgrade", "websocket"),), (("te", "trailers"),), (("x-" + "h" * 200,
    "v" * 5000),),
    (("accept-encoding", "gzip, br"),), (("range", "bytes=0-5"),), (("if-none-match", "*"),), (("x-forwarded-for",
    "1.2.3.4"),),
    (("content-length", "abc"),), (("content-length", "-1"),), (("content-length", "+5"),),
    (("x-http-method-override", "DELETE"),), (("accept-language", "de"),), (("user-agent", ""),),
)  # fmt: skip


def _headers() -> Iterator[Case]:
    """The same two bodies under every odd header, a plain one and one that is refused."""
    bodies = (_json(prompt("hello")), b"{}")
    fields: list[Headers] = [(("x-request-id", each),) for each in OWN_IDS]
    fields += [(("content-type", each),) for each in CONTENT_TYPES]
    fields += [(("accept", each),) for each in ACCEPTS]
    for headers in (*fields, *OTHERS):
        for body in bodies:
            shown = ", ".join(f"{name}: {value}"[:40] for name, value in headers)
            yield Case(f"{shown!a} {len(body)}", body, None, headers)


def _chunked() -> Iterator[Case]:
    """Bodies in chunks that are cut where it hurts; they come in one piece or in several."""
    for name, body in {
        "plain": _json(prompt("héllo 🎉")),
        "stream": _json(prompt("héllo", stream=True)),
        "wrong": b'{"input_data":[]}',
        "no JSON": b'{"input_data":[}',
        "escape": _data("\\u00e9\\n"),
    }.items():
        middle = len(body) // 2
        for number, cuts in enumerate(([middle], [1], [len(body) - 1], list(range(1, len(body))), [7, 8, middle], [])):
            chunks = [body[start:end] for start, end in itertools.pairwise([0, *cuts, len(body)])]
            yield Case(f"{name} in {len(chunks)} chunks {number}", body, None, (), chunks)
    yield Case("no chunk at all", b"", None, (), [])
    large = _json(prompt("x" * (MAX_ITEM * 20)))
    yield Case("a large body in chunks", large, None, (), [large[at : at + 4096] for at in range(0, len(large), 4096)])
    over = _data("x" * MAX_BODY)
    yield Case(
        "a body over the limit in chunks", over, None, (), [over[at : at + 65536] for at in range(0, len(over), 65536)]
    )


def _cases() -> Iterator[Case]:
    for name, body in _plain():
        yield Case(f"plain: {name}", _json(body), True)
    for name, body in _bare():
        yield Case(f"bare: {name}", _json(body), True)
    for text in ("héllo ☃", "🎉 \U0010ffff", "\\ud83c \\\\ud83c", "\0\x1f\x7f"):
        yield Case(f"escaped: {text!a}", json.dumps(prompt(text)).encode(), True)
    for name, body in _rich():
        yield Case(f"rich: {name}", _json(body), False)
    for name, body in _either():
        yield Case(f"either: {name}", _json(body))
    for kind, cases in (("written", _written()), ("headers", _headers()), ("chunked", _chunked())):
        for case in cases:
            yield case._replace(name=f"{kind}: {case.name}")


CASES: tuple[Case, ...] = tuple(_cases())
