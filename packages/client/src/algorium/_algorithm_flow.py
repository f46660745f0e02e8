"""
Algorithms and their versions for those who make them: every operation once, as in `_flow.py`.

Builds are in `_build_flow.py`, source and environments in `_source_flow.py`.

Source: wire specification, "Create, read, update, delete", "Versions and publishing", "Error logs".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from algorium._answers import check, unexpected
from algorium._errors import (
    AlgorithmNotFound,
    NotAuthorized,
    NotFound,
    UnexpectedResponse,
    VersionNotFound,
)
from algorium._messages import Request, Response, segment
from algorium._retry import Flow
from algorium._values import to_json
from algorium.wire.authoring import AlgorithmInfo, FailedCall, ScmStatus
from algorium.wire.bodies import BodyError
from algorium.wire.refs import AlgorithmRef

T = TypeVar("T")

PAGE_MAX: Final = 50
"""Entries to ask for at once."""

PUBLISH_S_MAX: Final = 600.0
"""A publication may wait for the sample input to be run."""

DOCUMENTS: Final = {
    "sbom": "sbom",
    "lock": "lock",
    "provenance": "provenance",
    "schema": "schema",
}
"""What is kept of a version, and the last segment of its path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some of a list, and what asks for more of it; empty at the end."""

    results: tuple[T, ...]
    marker: str = ""


def path_of(ref: AlgorithmRef, *rest: str) -> str:
    """Return the path of something that belongs to an algorithm; the version is left out."""
    head = (ref.algorithm_id,) if ref.algorithm_id else (ref.owner, ref.name)
    return "/v1/algorithms/" + "/".join(map(segment, (*head, *rest)))


def json_request(method: str, path: str, body: Mapping[str, Any], **how: Any) -> Request:
    """Return a request with a JSON body."""
    return Request(
        method=method,
        path=path,
        headers={"Content-Type": "application/json"},
        body=to_json(body).encode(),
        **how,
    )


def read(response: Response, reader: Callable[[Any], T]) -> T:
    """
    Return what the body of a successful answer says.

    Raises:
        UnexpectedResponse: It is not of this protocol.
    """
    try:
        return reader(response.json())
    except BodyError as error:
        raise unexpected(response, str(error)) from error


def read_page(response: Response, reader: Callable[[Any], T], *, marker: str) -> Page[T]:
    """
    Return a page of a list.

    Raises:
        UnexpectedResponse: It is not of this protocol, or does not lead on.
    """
    told = response.json()
    if not isinstance(told, dict) or not isinstance(told.get("results"), list):
        raise unexpected(response, "no list of results")
    following = told.get("marker")
    if marker and following == marker:
        raise UnexpectedResponse(f"The list does not advance past {marker!r}.")
    return Page(
        results=tuple(read_each(response, told["results"], reader)),
        marker=following if isinstance(following, str) else "",
    )


def read_list(response: Response, reader: Callable[[Any], T]) -> list[T]:
    """
    Return a list that has no pages.

    Raises:
        UnexpectedResponse: It is not of this protocol.
    """
    told = response.json()
    if not isinstance(told, list):
        raise unexpected(response, "no list")
    return read_each(response, told, reader)


def read_each(response: Response, values: list[Any], reader: Callable[[Any], T]) -> list[T]:
    """Read the elements of a list; raises as `read`."""
    try:
        return [reader(value) for value in values]
    except BodyError as error:
        raise unexpected(response, str(error)) from error


def page_query(marker: str, limit: int, **filters: bool | None) -> tuple[tuple[str, str], ...]:
    """Return the query of a page; filters that are None are left out."""
    wanted = {name: str(value).lower() for name, value in filters.items() if value is not None}
    query = {"limit": str(limit), "marker": marker, **wanted}
    return tuple((name, value) for name, value in query.items() if value)


def create(ref: AlgorithmRef, wish: Mapping[str, Any]) -> Flow[AlgorithmInfo]:
    """
    Create an algorithm.

    Args:
        ref: Its owner and name.
        wish: `details`, `settings` and so on, as the wire has them.

    Raises:
        AlgorithmNameTaken: The owner has one of that name.
        InvalidInput: A setting is wrong.
        NotAuthorized: You may not create algorithms of that owner.
    """
    response = yield json_request("POST", f"/v1/algorithms/{segment(ref.owner)}", wish)
    check(response)
    return _algorithm(response, ref)


def get(ref: AlgorithmRef) -> Flow[AlgorithmInfo]:
    """
    Read an algorithm, as its newest build or version that the caller may see.

    Raises:
        AlgorithmNotFound: There is none.
    """
    response = yield Request(method="GET", path=path_of(ref))
    check(response, missing=AlgorithmNotFound)
    return _algorithm(response, ref)


def exists(ref: AlgorithmRef) -> Flow[bool]:
    """Tell whether there is an algorithm, even one that the caller may not see."""
    response = yield Request(method="GET", path=path_of(ref))
    try:
        check(response, missing=AlgorithmNotFound)
    except AlgorithmNotFound:
        return False
    except NotAuthorized:
        return True
    return True


def owned(username: str) -> Flow[list[AlgorithmInfo]]:
    """
    Read the algorithms of an account that the caller may see.

    Raises:
        AccountNotFound: There is none of that name.
    """
    response = yield Request(method="GET", path=f"/v1/users/{segment(username)}/algorithms")
    check(response)
    return read_list(response, lambda each: AlgorithmInfo.from_json(each, owner=username))


def update(ref: AlgorithmRef, wish: Mapping[str, Any]) -> Flow[AlgorithmInfo]:
    """
    Change an algorithm; what *wish* leaves out stays as it is.

    Raises:
        AlgorithmNotFound: There is none.
        InvalidInput: A setting is wrong.
    """
    response = yield json_request("PUT", path_of(ref), wish)
    check(response, missing=AlgorithmNotFound)
    return _algorithm(response, ref)


def delete(ref: AlgorithmRef) -> Flow[None]:
    """
    Delete an algorithm with its source, builds and versions.

    Raises:
        AlgorithmNotFound: There is none.
        NotAuthorized: It is not yours, or has been public.
    """
    response = yield Request(method="DELETE", path=path_of(ref))
    check(response, missing=AlgorithmNotFound)


def publish(ref: AlgorithmRef, wish: Mapping[str, Any]) -> Flow[AlgorithmInfo]:
    """
    Publish a build as a version.

    Raises:
        AlgorithmNotFound: There is none.
        VersionAlreadyPublished: There is no build that is not published yet.
        InvalidInput: The version or a setting is wrong, or the check before it refuses.
    """
    path = path_of(ref, "versions")
    response = yield json_request("POST", path, wish, work_s=PUBLISH_S_MAX)
    check(response, missing=AlgorithmNotFound)
    return _algorithm(response, ref)


def versions(
    ref: AlgorithmRef,
    *,
    marker: str,
    published: bool | None = None,
    callable_: bool | None = None,
    limit: int = PAGE_MAX,
) -> Flow[Page[AlgorithmInfo]]:
    """
    Read some of an algorithm's versions, newest first.

    Raises:
        AlgorithmNotFound: There is none.
    """
    query = page_query(marker, limit, published=published, callable=callable_)
    response = yield Request(method="GET", path=path_of(ref, "versions"), query=query)
    check(response, missing=AlgorithmNotFound)
    return read_page(
        response, lambda each: AlgorithmInfo.from_json(each, owner=ref.owner), marker=marker
    )


def version(ref: AlgorithmRef, wanted: str) -> Flow[AlgorithmInfo]:
    """
    Read one version by its number, commit or id.

    Raises:
        VersionNotFound: There is none.
    """
    response = yield Request(method="GET", path=path_of(ref, "versions", wanted))
    check(response, missing=VersionNotFound)
    return _algorithm(response, ref)


def document(ref: AlgorithmRef, wanted: str, kind: str) -> Flow[bytes]:
    """
    Read what is kept of a version: one of `DOCUMENTS`.

    Raises:
        VersionNotFound: There is none, or nothing of this kind is kept of it.
    """
    path = path_of(ref, "versions", wanted, DOCUMENTS[kind])
    response = yield Request(method="GET", path=path)
    check(response, missing=VersionNotFound)
    return response.body


def json_document(ref: AlgorithmRef, wanted: str, kind: str) -> Flow[dict[str, Any]]:
    """Read what is kept of a version as JSON; raises as `document`."""
    path = path_of(ref, "versions", wanted, DOCUMENTS[kind])
    response = yield Request(method="GET", path=path)
    check(response, missing=VersionNotFound)
    told = response.json()
    if not isinstance(told, dict):
        raise unexpected(response, f"no {kind}")
    return told


def openapi(ref: AlgorithmRef | None, version: str = "") -> Flow[dict[str, Any]]:
    """
    Read how a version is called as a document in OpenAPI; without *ref*, the server's own.

    Raises:
        VersionNotFound: There is none.
    """
    path = "/v1/openapispec" if ref is None else path_of(ref, "openapi.json")
    query = (("version", version),) if version else ()
    response = yield Request(method="GET", path=path, query=query)
    check(response, missing=NotFound if ref is None else VersionNotFound)
    told = response.json()
    if not isinstance(told, dict) or "openapi" not in told:
        raise unexpected(response, "no document in OpenAPI")
    return told


def errors(ref: AlgorithmRef) -> Flow[list[FailedCall]]:
    """
    Read the failed calls of an algorithm, newest first.

    Raises:
        AlgorithmNotFound: There is none.
        NotAuthorized: You may not read its log.
    """
    response = yield Request(method="GET", path=path_of(ref, "errors"))
    check(response, missing=AlgorithmNotFound)
    return read_list(response, FailedCall.from_json)


def errors_of(account: str, *, is_organization: bool) -> Flow[list[FailedCall]]:
    """Read the failed calls of a user or an organization, newest first."""
    kind = "organizations" if is_organization else "users"
    response = yield Request(method="GET", path=f"/v1/{kind}/{segment(account)}/errors")
    check(response)
    return read_list(response, FailedCall.from_json)


def scm_status(ref: AlgorithmRef) -> Flow[ScmStatus]:
    """
    Read whether the server reaches an algorithm's source.

    Raises:
        AlgorithmNotFound: There is none.
    """
    response = yield Request(method="GET", path=path_of(ref, "scm", "status"))
    check(response, missing=AlgorithmNotFound)
    return read(response, ScmStatus.from_json)


def _algorithm(response: Response, ref: AlgorithmRef) -> AlgorithmInfo:
    return read(response, lambda told: AlgorithmInfo.from_json(told, owner=ref.owner))
