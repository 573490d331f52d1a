"""``/openapi.json``, and ``/docs``: the same for people, plain HTML without any script."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from aiohttp import web

from weir_api.web.dialect import Encoded, encode, json_reply
from weir_api.web.endpoint import Family
from weir_api.web.openapi import BOUND, document

Object = dict[str, Any]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --code: #0a6; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .5em; }
h3 { border-top: 1px solid var(--line); padding-top: 1em; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .6em .8em; overflow-x: auto; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; margin: .4em 0 1em; }
th, td { text-align: left; vertical-align: top; padding: .2em .8em .2em 0; }
td { border-top: 1px solid var(--line); }
th { font-weight: 600; }
.method { color: var(--code); font-weight: 700; }
nav ul { columns: 18rem; padding-left: 1.2em; }
p { margin: .5em 0; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_SIGNS = {
    "minimum": "≥",
    "exclusiveMinimum": "&gt;",
    "maximum": "≤",
    "exclusiveMaximum": "&lt;",
    "minLength": "characters ≥",
    "maxLength": "characters ≤",
    "minItems": "items ≥",
    "maxItems": "items ≤",
    "pattern": "like",
}

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class Documents:
    """What tells of a family's endpoints."""

    def __init__(self, family: Family) -> None:
        """Make the document and the page."""
        made = document(family)
        self._json = Encoded(encode(made))
        self._page = page(made)

    def install(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_route("GET", "/openapi.json", self._get_json)
        app.router.add_route("GET", "/docs", self._get_page)

    async def _get_json(self, _request: web.Request) -> web.Response:
        return json_reply(self._json)

    async def _get_page(self, _request: web.Request) -> web.Response:
        return web.Response(
            text=self._page,
            content_type="text/html",
            headers={
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                "Referrer-Policy": "no-referrer",
            },
        )


def page(document: Object) -> str:
    """Return the page for an OpenAPI document of ours."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            _prose(info.get("description", "")),
            '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>',
            *_contents(document),
            *_operations(document),
            *_shapes(document),
            "</body></html>",
        ]
    )


def _contents(document: Object) -> Iterator[str]:
    yield "<nav>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><ul>"
        for method, path, operation in _of_tag(document, tag["name"]):
            where, name = escape(operation["operationId"]), _method_and_path(method, path)
            what = _inline(operation["summary"])
            yield f'<li><a href="#{where}">{name}</a><br>{what}</li>'
        yield "</ul>"
    yield "</nav>"


def _of_tag(document: Object, tag: str) -> Iterator[tuple[str, str, Object]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _method_and_path(method: str, path: str) -> str:
    return f'<code><span class="method">{method}</span> {escape(path)}</code>'


def _operations(document: Object) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>"
        for method, path, operation in _of_tag(document, tag["name"]):
            yield f'<section id="{escape(operation["operationId"])}">'
            yield f"<h3>{_method_and_path(method, path)}</h3>"
            yield f"<p>{_inline(operation['summary'])}</p>"
            yield _prose(operation.get("description", ""))
            yield from _parameters(operation)
            yield from _body(operation)
            yield from _answers(operation)
            yield f"<pre>{escape(_curl(method, path, operation))}</pre></section>"


def _parameters(operation: Object) -> Iterator[str]:
    rows = [
        (
            f"<code>{escape(one['name'])}</code>",
            escape(one["in"]),
            _type(one["schema"]),
            _bounds(one["schema"], one.get("required", False)),
            _inline(one.get("description", "")),
        )
        for one in operation.get("parameters", ())
    ]
    yield from _table(("Parameter", "In", "Type", "", ""), rows)


def _body(operation: Object) -> Iterator[str]:
    body = operation.get("requestBody")
    if body is None:
        return
    for media_type, content in body["content"].items():
        needed = "" if body["required"] else ", may be left out"
        yield f"<p>Body, <code>{escape(media_type)}</code>{needed}: {_type(content['schema'])}</p>"


def _answers(operation: Object) -> Iterator[str]:
    rows = []
    for status, answer in operation["responses"].items():
        shapes = ", ".join(_type(one["schema"]) for one in answer.get("content", {}).values())
        rows.append((f"<code>{escape(status)}</code>", shapes, _inline(answer["description"])))
    yield from _table(("Answer", "Shape", ""), rows)
    for answer in operation["responses"].values():
        for content in answer.get("content", {}).values():
            if "example" in content:
                example = content["example"]
                text = example if isinstance(example, str) else json.dumps(example, indent=2)
                yield f"<pre>{escape(text)}</pre>"


def _curl(method: str, path: str, operation: Object) -> str:
    words = ["curl"] if method == "GET" else ["curl", "-X", method]
    if operation["security"]:
        words.append("-H 'Authorization: Bearer '\"$TOKEN\"")
    body = operation.get("requestBody")
    if body is not None:
        (content,) = body["content"].values()
        example = json.dumps(content.get("example", {})).replace("'", r"'\''")
        words.append(f"-H 'Content-Type: application/json' -d '{example}'")
    where = re.sub(r"{(\w+)}", lambda name: f"${name[1].upper()}", path)
    return " ".join([*words, f'"$HOST{where}"' if "$" in where else f"$HOST{where}"])


def _shapes(document: Object) -> Iterator[str]:
    yield "<h2>Shapes</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<section id="shape-{escape(name)}"><h3>{escape(name)}</h3>'
        yield _prose(schema.get("description", ""))
        if "properties" not in schema:
            yield f"<p>{_type(schema)}</p></section>"
            continue
        required = schema.get("required", ())
        rows = [
            (
                f"<code>{escape(field)}</code>",
                _type(one),
                _bounds(one, field in required),
                _inline(one.get("description", "")),
            )
            for field, one in schema["properties"].items()
        ]
        yield from _table(("Field", "Type", "", ""), rows)
        yield "</section>"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield "<table><tr>" + "".join(f"<th>{one}</th>" for one in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _type(schema: Object) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#shape-{name}">{name}</a>'
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[word]))
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(one))}</code>" for one in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_type(schema['additionalProperties'])}"
    return escape(str(kind))


def _bounds(schema: Object, required: bool) -> str:
    shown = ["required"] if required else []
    if not required and "default" in schema:
        shown.append(f"default <code>{escape(json.dumps(schema['default']))}</code>")
    for branch in (schema, *schema.get("anyOf", ())):
        for word, sign in _SIGNS.items():
            if word in branch and branch[word] not in (-BOUND, BOUND - 1):
                shown.append(f"{sign} {escape(str(branch[word]))}")
    return ", ".join(shown)


def _prose(text: str) -> str:
    """Return the little Markdown that descriptions use: paragraphs, lists, code, bold."""
    shown = []
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = part.split("\n")
        if part and all(line.startswith("- ") for line in lines):
            shown.append(
                "<ul>" + "".join(f"<li>{_inline(one[2:])}</li>" for one in lines) + "</ul>"
            )
        elif part:
            shown.append(f"<p>{_inline(part)}</p>")
    return "\n".join(shown)


def _inline(text: str) -> str:
    safe = escape(text, quote=False)
    safe = re.sub(r"``?([^`]+)``?", r"<code>\1</code>", safe)
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", safe)
