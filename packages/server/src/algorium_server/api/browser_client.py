"""
A client for web pages, at the address from which pages load the old service's.

The script is ours, and has the same public names: `Algorithmia.client(key).algo(name).pipe(input)
.then(callback)`, and `Algorithmia.query(name, key, input, callback)`. It calls the server that it
was loaded from, unless the page says another one.

Source: wire specification, "Browser client", "Auxiliary routes".
"""

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

_SCRIPT: Final = "browser_client.js"
_AGE_S: Final = 3600


def browser_client_routes() -> APIRouter:
    """Return the route; everybody may load a script."""
    routes = APIRouter(tags=["browser client"])
    script = files(__package__).joinpath(_SCRIPT).read_bytes()

    @routes.get("/v1/clients/js/algorithmia-0.2.1.js", response_class=Response)
    async def browser_client() -> Response:
        """Return a client for web pages; no key is needed."""
        return Response(
            script,
            media_type="text/javascript; charset=utf-8",
            headers={
                "Cache-Control": f"public, max-age={_AGE_S}",
                # Pages of every site may load it, and may check what they got.
                "Access-Control-Allow-Origin": "*",
                "Cross-Origin-Resource-Policy": "cross-origin",
                "X-Content-Type-Options": "nosniff",
            },
        )

    return routes
