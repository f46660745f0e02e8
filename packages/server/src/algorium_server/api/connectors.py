"""
Connectors over HTTP: `/v1/users/{username}/connectors`.

What is created with credentials is never shown with them again.

Source: wire specification, "POST /v1/users/{username}/connectors"; the other verbs are ours.
"""

from typing import Any, Final
from urllib.parse import unquote

import msgspec

from algorium_server.api import pages
from algorium_server.api.credentials import Credentials
from algorium_server.api.errors import send_error
from algorium_server.api.http import (
    Receive,
    Scope,
    Send,
    encode_json,
    parse_query,
    read_body,
    respond,
)
from algorium_server.api.listings import timestamp
from algorium_server.domain.connectors import (
    ConnectorOptions,
    CredentialKind,
    StorageProtocol,
    StoredConnector,
)
from algorium_server.domain.errors import (
    InvalidInput,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import CONNECTOR_JSON_BYTES_MAX, LISTING_ENTRIES_MAX
from algorium_server.services.files.connectors import (
    ConnectorService,
    Description,
    OwnedConnector,
)
from algorium_server.services.files.trying import Trial


class _Body(msgspec.Struct):
    username: str | None = None
    protocol: StorageProtocol | None = None
    cred_type: CredentialKind | None = None
    cred_data: dict[str, str] | None = None
    label: str | None = None
    is_default: bool | None = None
    path: str | None = None
    writeable: bool | None = None
    options: ConnectorOptions | None = None


_REQUIRED: Final = ("username", "protocol", "cred_type", "cred_data")


class ConnectorsFace:
    """
    ASGI application for `/v1/users/{username}/connectors`.

    Args:
        connectors: Does the work.
        credentials: Tells who asks.
    """

    def __init__(self, connectors: ConnectorService, credentials: Credentials) -> None:
        self._connectors = connectors
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        principal = await self._credentials.asking(scope)
        parts = _parts(scope)
        is_known = parts[2:3] == ["connectors"] and parts[4:] in ([], ["test"])
        allowed = _ALLOWED.get(len(parts), "") if is_known else ""
        if not allowed:
            raise NotFound(f"nothing answers at {scope['path']}")
        if scope["method"] not in allowed.split(", "):
            allow = [(b"allow", allowed.encode())]
            await send_error(scope, send, MethodNotAllowed("Method not allowed"), headers=allow)
            return
        username, connector_id = parts[1], parts[3] if len(parts) > 3 else ""
        match scope["method"], len(parts):
            case "GET", 3:
                answer = await self._list(principal, username, scope)
            case "POST", 3:
                answer = await self._create(principal, username, scope, receive)
            case "GET", _:
                found = await self._connectors.connector(principal, username, connector_id)
                answer = shown(found)
            case "PUT", _:
                wanted = _description(await _read(scope, receive), username)
                answer = shown(
                    await self._connectors.change(principal, username, connector_id, wanted)
                )
            case "DELETE", _:
                await self._connectors.delete(principal, username, connector_id)
                await respond(send, 204)
                return
            case _:
                trials = await self._connectors.test(principal, username, connector_id)
                answer = {name: _trial(trial) for name, trial in trials.items()}
        await respond(send, 200, encode_json(answer), headers=[(b"cache-control", b"no-store")])

    async def _create(
        self, principal: Principal, username: str, scope: Scope, receive: Receive
    ) -> dict[str, Any]:
        body = await _read(scope, receive)
        missing = [name for name in _REQUIRED if getattr(body, name) is None]
        if missing:
            raise InvalidInput(f"{missing[0]} is missing")
        wanted = _description(body, username)
        created = shown(await self._connectors.create(principal, username, wanted))
        # As the old service answered; what else there is can be asked for.
        return {name: created[name] for name in _CREATED}

    async def _list(self, principal: Principal, username: str, scope: Scope) -> dict[str, Any]:
        query = parse_query(scope)
        limit = pages.parse_limit(
            query.get("limit", ""), default=LISTING_ENTRIES_MAX, limit_max=LISTING_ENTRIES_MAX
        )
        found = await self._connectors.connectors(
            principal,
            username,
            limit=limit + 1,
            after=pages.key_of_marker(query.get("marker", ""), (str, str)),
        )
        entries, last = pages.cut(found, limit)
        answer: dict[str, Any] = {"results": [shown(each) for each in entries]}
        if last is not None:
            key = (last.connector.protocol.value, last.connector.label)
            answer["marker"] = pages.marker_of(key)
        return answer


_CREATED: Final = ("connector_id", "username", "label", "protocol", "is_default", "permissions")
_ALLOWED: Final = {3: "GET, POST", 4: "GET, PUT, DELETE", 5: "POST"}
"""By how many parts the path has behind `/v1`."""


def shown(owned: OwnedConnector) -> dict[str, Any]:
    """Return a connector as JSON-able values, without any credential."""
    connector = owned.connector
    return {
        "connector_id": connector.connector_id,
        "username": owned.owner.username,
        "label": connector.label,
        "protocol": connector.protocol.value,
        "is_default": connector.is_default,
        "permissions": ["read", "write"] if connector.is_writeable else ["read"],
        "path": connector.path,
        "options": _options(connector),
        "created_at": timestamp(connector.created_at),
    }


def _options(connector: StoredConnector) -> dict[str, Any]:
    options = connector.options
    default = ConnectorOptions()
    fields = ConnectorOptions.__dataclass_fields__
    return {
        name: getattr(options, name)
        for name in fields
        if getattr(options, name) != getattr(default, name)
    }


def _trial(trial: Trial | None) -> dict[str, Any] | None:
    return None if trial is None else {"ok": trial.is_ok, "message": trial.message}


def _parts(scope: Scope) -> list[str]:
    # `users`, a name, `connectors`, maybe an id, maybe `test`.
    raw = scope["raw_path"].decode("latin-1")
    return [unquote(part) for part in raw.split("/") if part][1:]


def _description(body: _Body, username: str) -> Description:
    if body.username is not None and body.username.lower() != username.lower():
        raise InvalidInput("username is another one than in the path")
    return Description(
        protocol=body.protocol,
        cred_type=body.cred_type,
        credentials=body.cred_data,
        label=body.label,
        is_default=body.is_default,
        is_writeable=body.writeable,
        path=body.path,
        options=body.options,
    )


async def _read(scope: Scope, receive: Receive) -> _Body:
    raw = await read_body(
        scope,
        receive,
        bytes_max=CONNECTOR_JSON_BYTES_MAX,
        too_large=f"a connector's description is limited to {CONNECTOR_JSON_BYTES_MAX} bytes",
    )
    try:
        return msgspec.json.decode(raw, type=_Body)
    except msgspec.ValidationError as error:
        # Where it is wrong, and how; the library never quotes strings that are no choices.
        raise InvalidInput(_safe(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedJson("the body is not JSON") from None


def _safe(words: str) -> str:
    return words if "cred_data" not in words else "cred_data must be an object of texts"
