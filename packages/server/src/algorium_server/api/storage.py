"""
What an account stores and may store: `/v1/storage`.

Source: ours; the old service had nothing like it.
"""

from algorium_server.api.credentials import Credentials
from algorium_server.api.errors import send_error
from algorium_server.api.http import Receive, Scope, Send, encode_json, parse_query, respond
from algorium_server.domain.errors import MethodNotAllowed, NotFound
from algorium_server.services.files.storage import StorageService


class StorageFace:
    """
    ASGI application for `/v1/storage`.

    Args:
        storage: Knows.
        credentials: Tells who asks.
    """

    def __init__(self, storage: StorageService, credentials: Credentials) -> None:
        self._storage = storage
        self._credentials = credentials

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer GET and HEAD."""
        principal = await self._credentials.asking(scope)
        if list(filter(None, scope["path"].split("/"))) != ["v1", "storage"]:
            raise NotFound(f"nothing answers at {scope['path']}")
        if scope["method"] not in {"GET", "HEAD"}:
            allow = [(b"allow", b"GET, HEAD")]
            await send_error(scope, send, MethodNotAllowed("Method not allowed"), headers=allow)
            return
        account = parse_query(scope).get("account", "")
        report = await self._storage.report(principal, account=account)
        body = {
            "username": report.account.username,
            "bytes": report.use.bytes,
            "files": report.use.files,
            "bytes_max": report.quota.bytes_max,
            "files_max": report.quota.files_max,
        }
        await respond(
            send,
            200,
            encode_json(body),
            headers=[(b"cache-control", b"no-store")],
            is_head=scope["method"] == "HEAD",
        )
