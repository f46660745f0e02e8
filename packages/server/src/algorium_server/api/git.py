"""
Repositories over HTTP: `/git/{owner}/{name}.git`, as git itself asks for them.

Credentials are HTTP Basic: the account's name, and an API key or the password; any other spelling
of a key is read as well. What goes wrong is text: git shows it to whoever typed the command.

Only what git's own protocol asks for is answered, and nothing that lies in a repository's
directory is served as a file.

Source: wire specification, "Internal git hosting"; git's documentation of `http-protocol`.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from urllib.parse import unquote

from algorium_server.api.credentials import PRINCIPAL_KEY, Credentials
from algorium_server.api.errors import as_known
from algorium_server.api.http import (
    Disconnected,
    Header,
    Receive,
    Scope,
    Send,
    body_chunks,
    header,
    parse_query,
    respond,
)
from algorium_server.api.protocol import CONNECTION_KEY, JsonProtocol
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.errors import (
    AlgoriumError,
    MethodNotAllowed,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    RequestTimedOut,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import GIT_PROCESS_S_MAX, GIT_STALL_S_MAX
from algorium_server.services.directory import Directory
from algorium_server.services.people.passwords import Passwords
from algorium_server.services.source.hosting import GitService, Hosting

_PATH: Final = re.compile(
    r"/+git/+(?P<owner>[^/]+)/+(?P<name>[^/]+?)(?:\.git)?/+"
    r"(?P<what>info/+refs|git-upload-pack|git-receive-pack)/*"
)
_TEXT: Final = "text/plain; charset=utf-8"
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="Algorium", charset="UTF-8"')
_VARIABLES: Final = {
    b"content-type": "CONTENT_TYPE",
    b"content-encoding": "HTTP_CONTENT_ENCODING",
    b"git-protocol": "GIT_PROTOCOL",
    b"user-agent": "HTTP_USER_AGENT",
}
"""
Headers that git is told of, and what CGI calls them. Not the body's length: where a body ends too
early, as when the server is killed, git waits for the rest for ever, at the cost of a processor.
"""
_VALUE: Final = re.compile(rb"[\x20-\x7e]{0,1000}")
_BODY_BYTES_MAX: Final = 1 << 50
"""No limit of this face: git has its own, and says so in words."""


class GitFace:
    """
    The face of git.

    Args:
        hosting: Serves repositories.
        credentials: Tells who shows a key.
        directory: Who there is.
        passwords: Tells who knows a password.
        catch_up: Brings in what other gateways have written, such as a new algorithm.
    """

    def __init__(
        self,
        hosting: Hosting,
        credentials: Credentials,
        directory: Directory,
        passwords: Passwords,
        *,
        catch_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._hosting = hosting
        self._credentials = credentials
        self._directory = directory
        self._passwords = passwords
        self._catch_up = catch_up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        has_begun = False

        async def send_in_time(message: Scope) -> None:
            nonlocal has_begun
            has_begun = True
            async with asyncio.timeout(GIT_STALL_S_MAX):
                await send(message)

        try:
            await self._answer(scope, receive, send_in_time)
        except Disconnected:
            raise
        except Exception as error:
            if has_begun:
                raise
            await _refuse(scope, send, as_known(error))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _PATH.fullmatch(scope["path"])
        if match is None:
            raise NotFound("A repository is cloned with git: git clone .../git/OWNER/NAME.git")
        service = _service(scope, match["what"])
        if self._catch_up is not None:
            await self._catch_up()
        principal = await self._principal(scope)
        self._credentials.note(scope, principal)
        algorithm = self._hosting.algorithm(
            principal, owner=match["owner"], name=match["name"], service=service
        )
        path = "info/refs" if match["what"].startswith("info") else str(service)
        serving = asyncio.ensure_future(
            self._serve(
                scope,
                receive,
                send,
                principal=principal,
                algorithm=algorithm,
                service=service,
                path=path,
            )
        )
        connection = scope.get(CONNECTION_KEY)
        try:
            if isinstance(connection, JsonProtocol):
                connection.tell_loss(serving.cancel)
                if connection.is_lost:
                    serving.cancel()
            await asyncio.wait({serving}, timeout=GIT_PROCESS_S_MAX)
            if not serving.done():
                raise RequestTimedOut("this took too long")
        finally:
            if isinstance(connection, JsonProtocol):
                connection.on_lost = None
            if not serving.done():
                serving.cancel()
                await asyncio.wait({serving})
        if serving.cancelled():
            raise Disconnected
        serving.result()

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        principal: Principal,
        algorithm: Algorithm,
        service: GitService,
        path: str,
    ) -> None:
        async with self._hosting.serve(
            principal,
            algorithm,
            service,
            _body(receive),
            method=scope["method"],
            path=path,
            query=f"service={service}" if scope["method"] == "GET" else "",
            variables=_variables(scope),
        ) as answer:
            headers: list[Header] = [h for h in answer.headers if h[0] != b"connection"]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            async for chunk in answer.body:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _principal(self, scope: Scope) -> Principal:
        raw = header(scope, b"authorization") or b""
        kind, _, rest = raw.decode("latin-1").strip().partition(" ")
        if kind.lower() != "basic":
            # What acts for its caller inside a slot must not read that caller's source.
            return await self._credentials.asking({**scope, PRINCIPAL_KEY: None})
        username, secret = _basic(rest)
        principal = self._of_key(secret)
        if principal is not None:
            name = principal.account.username
            if username and username.lower() != name.lower():
                raise NotAuthorized(f"This API key is of the account {name}: use it as that.")
            return principal
        client = scope.get("client") or ("",)
        account = await self._passwords.account(username, secret, address=str(client[0]))
        if account is None:
            raise NotAuthenticated(
                "Wrong name, API key or password. git takes your account's name as the user name,"
                " and an API key as the password."
            )
        return self._directory.principal_of(account)

    def _of_key(self, secret: str) -> Principal | None:
        found = self._directory.principal_of_key(secret) if secret else None
        if found is None and "%" in secret:  # some programs encode it twice
            found = self._directory.principal_of_key(unquote(secret))
        return found


def _service(scope: Scope, what: str) -> GitService:
    method = scope["method"]
    if not what.startswith("info"):
        if method != "POST":
            raise MethodNotAllowed("git asks here with POST")
        return GitService(what)
    if method != "GET":
        raise MethodNotAllowed("git asks here with GET")
    try:
        return GitService(parse_query(scope).get("service", ""))
    except ValueError:
        raise NotAuthorized(
            "This server speaks git's smart protocol only: use git 1.6.6 or later."
        ) from None


def _basic(encoded: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise NotAuthenticated("The Authorization header is not readable.") from None
    username, _, secret = text.partition(":")
    return username, secret


def _variables(scope: Scope) -> dict[str, str]:
    variables = {}
    for name, variable in _VARIABLES.items():
        value = header(scope, name)
        if value is not None and _VALUE.fullmatch(value):
            variables[variable] = value.decode()
    client = scope.get("client")
    if client:
        variables["REMOTE_ADDR"] = str(client[0])
    return variables


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    async for chunk in body_chunks(receive, bytes_max=_BODY_BYTES_MAX, too_large=""):
        yield chunk


async def _refuse(scope: Scope, send: Send, error: AlgoriumError) -> None:
    headers: list[Header] = [(b"cache-control", b"no-store")]
    if isinstance(error, NotAuthenticated):
        headers.append(_CHALLENGE)
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    text = "\n".join(line for line in (error.message, error.hint) if line)
    await respond(
        send,
        error.status,
        f"{text}\n".encode(),
        content_type=_TEXT,
        headers=headers,
        is_head=scope["method"] == "HEAD",
    )
