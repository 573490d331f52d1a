"""A bare aiohttp server: what no facade on aiohttp can beat.

``/row`` encodes one object for each request; ``/rows`` answers with bytes that were made before.
Run as ``python -m bench.plain PORT FOLDER``; ``row.json`` and ``rows.json`` in the folder say what
they answer.
"""

import sys
from pathlib import Path

import orjson
from aiohttp import web


def make_app(folder: Path) -> web.Application:
    """Return it."""
    one = orjson.loads((folder / "row.json").read_bytes())
    rows = (folder / "rows.json").read_bytes()

    async def row(_: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(one), content_type="application/json")

    async def many(_: web.Request) -> web.Response:
        return web.Response(body=rows, content_type="application/json")

    app = web.Application()
    app.router.add_get("/row", row)
    app.router.add_get("/rows", many)
    return app


if __name__ == "__main__":
    web.run_app(
        make_app(Path(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
    )
