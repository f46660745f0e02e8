"""
What administrators ask about the server itself: `/v1/admin/host`.

Source: ours; the old service had nothing like it.
"""

from algorium_server.api.credentials import Credentials
from algorium_server.api.errors import send_error
from algorium_server.api.http import Receive, Scope, Send, encode_json, respond
from algorium_server.domain.errors import MethodNotAllowed, NotFound
from algorium_server.services.examination import Examination


class AdminFace:
    """
    ASGI application for `/v1/admin/host`.

    Args:
        examination: Examines the host.
        credentials: Tells who asks.
    """

    def __init__(self, examination: Examination, credentials: Credentials) -> None:
        self._examination = examination
        self._credentials = credentials

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer GET and HEAD."""
        principal = await self._credentials.asking(scope)
        if list(filter(None, scope["path"].split("/"))) != ["v1", "admin", "host"]:
            raise NotFound(f"nothing answers at {scope['path']}")
        if scope["method"] not in {"GET", "HEAD"}:
            allow = [(b"allow", b"GET, HEAD")]
            await send_error(scope, send, MethodNotAllowed("Method not allowed"), headers=allow)
            return
        await respond(
            send,
            200,
            encode_json(await self._examination.report(principal)),
            headers=[(b"cache-control", b"no-store")],
            is_head=scope["method"] == "HEAD",
        )
