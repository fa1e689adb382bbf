"""`/`: a line for programs, or, with `webui.enable_ui`, a page that says how to get the web interface.

The page runs nothing and loads nothing: its policy allows one style sheet, the one inside of it, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from lollms_server.api.routes import services

__all__ = ["router"]

router = APIRouter()

_LINE = "LOLLMS Server is running...\nSee /health; with a key, /openapi.json describes the API.\n"
_STYLE = "body{font:1rem/1.6 sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}code{font-size:.95em}"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>LoLLMs server</title>
<style>{style}</style>
</head>
<body>
<h1>LOLLMS Server is running</h1>
<p>This is version {version}. It comes without the web interface, although <code>webui.enable_ui</code> is on.</p>
<h2>How to get the web interface</h2>
<p>Install a version that has it: in the folder that holds your copy of lollms, run <code>git pull</code> and then
<code>./install.sh</code> (on Windows <code>install.bat</code>), and start the server again. <code>CHANGELOG.md</code>
says from which version on it is there. Then this page gives way to it; nothing else has to be set.</p>
<h2>Until then</h2>
<ul>
<li>Ask a model on the command line: <code>lollms "Tell me a fun fact about space."</code></li>
<li>See what is here: <code>lollms bindings list</code>, <code>lollms personalities list</code>,
<code>lollms doctor</code></li>
<li>Programs use <code>POST /api/v1/generate</code>; <code>/openapi.json</code> describes the whole API (send your key
in the header <code>X-API-Key</code>).</li>
</ul>
</body>
</html>
"""


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def root(request: Request) -> Response:
    """Says that the server is here."""
    house = services(request)
    if not house.loaded.config.webui.enable_ui:
        return PlainTextResponse(_LINE)
    headers = {"content-security-policy": _policy(), "referrer-policy": "no-referrer", "cache-control": "no-store"}
    page = _PAGE.format(style=_STYLE, version=html.escape(house.version))
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)
