"""
Connectors and storage of an account: every operation once, as in `_flow.py`.

Source: wire specification, "Connectors".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from algorium import _data_flow
from algorium._answers import check, unexpected
from algorium._errors import AccountNotFound, NotFound, UnexpectedResponse
from algorium._messages import Request, Response, segment
from algorium._retry import Flow
from algorium._values import to_json
from algorium.wire.uris import DataUri

CREDENTIAL_TYPES: Final = {
    "s3": "iam",
    "gs": "serviceaccount",
    "azureblob": "sas",
    "dropbox": "oauth",
}
"""By protocol, what the wire calls the kind of credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorInfo:
    """
    A connector: storage elsewhere, reached under `uri`. Its credentials never come back.

    Attributes:
        connector_id: Names it to the server.
        owner: Whose it is.
        protocol: `s3`, `gs`, `azureblob` or `dropbox`.
        label: Tells connectors of one protocol apart.
        is_default: Whether URIs without a label mean it.
        is_writeable: Whether files may be written and deleted.
        path: Pattern of what it opens.
        options: Endpoint, region and the like.
        created_at: When it was made, None if the server does not tell.
    """

    connector_id: str
    owner: str
    protocol: str
    label: str
    is_default: bool = False
    is_writeable: bool = False
    path: str = "*"
    options: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None

    @property
    def uri(self) -> DataUri:
        """The root of what it connects."""
        return DataUri(protocol=self.protocol, label=self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorCheck:
    """Whether one thing can be done through a connector, and what the storage said."""

    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorReport:
    """
    What can be done through a connector, tried just now.

    Attributes:
        write: None for a connector that may only be read.
        delete: Likewise.
    """

    list: ConnectorCheck
    read: ConnectorCheck
    write: ConnectorCheck | None = None
    delete: ConnectorCheck | None = None

    @property
    def ok(self) -> bool:
        """Whether all that was tried can be done."""
        tried = (self.list, self.read, self.write, self.delete)
        return all(check.ok for check in tried if check is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageUse:
    """
    What an account stores and may store.

    Attributes:
        username: The account.
        bytes_max: None for no limit.
        files_max: None for no limit.
    """

    username: str
    bytes: int
    files: int
    bytes_max: int | None = None
    files_max: int | None = None


def whoami() -> Flow[str]:
    """Return the caller's own name: the first directory of the root is theirs."""
    listing = yield from _data_flow.page(DataUri(), "")
    if not listing.folders:
        raise UnexpectedResponse("The server does not tell who you are.")
    return listing.folders[0]


def page(owner: str, marker: str) -> Flow[tuple[list[ConnectorInfo], str]]:
    """Read some of an account's connectors, and the marker of the next ones."""
    response = yield Request(
        method="GET", path=_path(owner), query=(("marker", marker),) if marker else ()
    )
    told = _object(response)
    results = told.get("results")
    if not isinstance(results, list):
        raise unexpected(response, "no list of connectors")
    following = told.get("marker")
    if following and following == marker:
        raise UnexpectedResponse(f"The connectors do not advance past {marker!r}.")
    connectors = [_connector(response, result) for result in results]
    return connectors, following if isinstance(following, str) else ""


def get(owner: str, connector_id: str) -> Flow[ConnectorInfo]:
    """
    Read a connector.

    Raises:
        NotFound: There is none of this id.
    """
    response = yield Request(method="GET", path=_path(owner, connector_id))
    return _connector(response, _object(response))


def create(owner: str, wish: Mapping[str, Any]) -> Flow[ConnectorInfo]:
    """
    Make a connector.

    Raises:
        InvalidInput: Credentials or options are not as the protocol needs them.
        AlreadyExists: There is one of this protocol and label.
    """
    response = yield _json_request("POST", _path(owner), {"username": owner, **wish})
    return _connector(response, _object(response))


def update(owner: str, connector_id: str, wish: Mapping[str, Any]) -> Flow[ConnectorInfo]:
    """
    Change a connector; what *wish* leaves out stays as it is.

    Raises:
        NotFound: There is none of this id.
        InvalidInput: Credentials or options are not as the protocol needs them.
    """
    response = yield _json_request("PUT", _path(owner, connector_id), wish)
    return _connector(response, _object(response))


def delete(owner: str, connector_id: str) -> Flow[None]:
    """
    Delete a connector; what it connects stays as it is.

    Raises:
        NotFound: There is none of this id.
    """
    response = yield Request(method="DELETE", path=_path(owner, connector_id))
    check(response)


def test(owner: str, connector_id: str) -> Flow[ConnectorReport]:
    """
    Try what can be done through a connector.

    Raises:
        NotFound: There is none of this id.
    """
    response = yield Request(
        method="POST", path=f"{_path(owner, connector_id)}/test", is_repeatable=True
    )
    told = _object(response)
    listed, read = _check_of(told.get("list")), _check_of(told.get("read"))
    if listed is None or read is None:
        raise unexpected(response, "no report about a connector")
    return ConnectorReport(
        list=listed,
        read=read,
        write=_check_of(told.get("write")),
        delete=_check_of(told.get("delete")),
    )


def storage(account: str) -> Flow[StorageUse]:
    """
    Read what an account stores and may store; empty for the caller's own.

    Raises:
        AccountNotFound: There is none of this name, or not for this caller.
    """
    query = (("account", account),) if account else ()
    response = yield Request(method="GET", path="/v1/storage", query=query)
    check(response, missing=AccountNotFound)
    told = response.json()
    if not isinstance(told, dict) or not isinstance(told.get("username"), str):
        raise unexpected(response, "no report about storage")
    return StorageUse(
        username=told["username"],
        bytes=_number(told.get("bytes")) or 0,
        files=_number(told.get("files")) or 0,
        bytes_max=_number(told.get("bytes_max")),
        files_max=_number(told.get("files_max")),
    )


def _path(owner: str, *rest: str) -> str:
    parts = ("users", owner, "connectors", *rest)
    return "/v1/" + "/".join(map(segment, parts))


def _json_request(method: str, path: str, body: Mapping[str, Any]) -> Request:
    return Request(
        method=method,
        path=path,
        headers={"Content-Type": "application/json"},
        body=to_json(body).encode(),
    )


def _object(response: Response) -> dict[str, Any]:
    check(response, missing=NotFound)
    told = response.json()
    if not isinstance(told, dict):
        raise unexpected(response, "no object")
    return told


def _connector(response: Response, told: Any) -> ConnectorInfo:
    if not isinstance(told, dict) or told.get("protocol") not in CREDENTIAL_TYPES:
        raise unexpected(response, "no connector")
    permissions, options = told.get("permissions"), told.get("options")
    try:
        created_at = datetime.fromisoformat(str(told.get("created_at")))
    except ValueError:
        created_at = None
    return ConnectorInfo(
        connector_id=str(told.get("connector_id")),
        owner=str(told.get("username") or ""),
        protocol=told["protocol"],
        label=str(told.get("label") or ""),
        is_default=bool(told.get("is_default")),
        is_writeable=isinstance(permissions, list) and "write" in permissions,
        path=str(told.get("path") or "*"),
        options=options if isinstance(options, dict) else {},
        created_at=created_at,
    )


def _check_of(told: object) -> ConnectorCheck | None:
    if not isinstance(told, dict):
        return None
    return ConnectorCheck(ok=told.get("ok") is True, message=str(told.get("message") or ""))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
