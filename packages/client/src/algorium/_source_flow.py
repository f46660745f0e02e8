"""
Source, environments and languages: every operation once, as in `_flow.py`.

Source: wire specification, "Languages and environments", "Internal git hosting".
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from algorium._algorithm_flow import json_request, path_of, read, read_each, read_list
from algorium._answers import check, check_path, unexpected
from algorium._errors import AlgorithmNotFound, UnexpectedResponse
from algorium._messages import Request, Response, segment
from algorium._retry import Flow
from algorium.wire.authoring import EnvironmentInfo, LanguageInfo
from algorium.wire.refs import AlgorithmRef

_EDGE = "/v1/algorithm-environments/edge"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """
    A file in an algorithm's source.

    Attributes:
        path: From the root, with slashes.
        size_bytes: Of its content.
        kind: `file`, `program`, `link` or `submodule`.
    """

    path: str
    size_bytes: int = 0
    kind: str = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """What is in an algorithm's source at one commit."""

    commit: str
    files: tuple[SourceFile, ...] = ()


def languages() -> Flow[list[LanguageInfo]]:
    """Read the languages that algorithms can be written in."""
    response = yield Request(method="GET", path=f"{_EDGE}/languages")
    check(response)
    return read_list(response, LanguageInfo.from_json)


def environments(language: str) -> Flow[list[EnvironmentInfo]]:
    """
    Read the environments of a language, the default first.

    Raises:
        NotFound: There is no such language.
    """
    path = f"{_EDGE}/languages/{quote(language, safe='')}/environments"
    response = yield Request(method="GET", path=path)
    check(response)
    told = response.json()
    found = told.get("environments") if isinstance(told, dict) else None
    if not isinstance(found, list):
        raise unexpected(response, "no list of environments")
    return read_each(response, found, EnvironmentInfo.from_json)


def all_environments() -> Flow[list[EnvironmentInfo]]:
    """
    Read all environments of the server, those included that cannot be chosen.

    Raises:
        NotAuthorized: The key is no admin key.
    """
    response = yield Request(method="GET", path=f"{_EDGE}/environments/available")
    check(response)
    return read_list(response, EnvironmentInfo.from_json)


def enable_environment(specification_id: str) -> Flow[EnvironmentInfo]:
    """
    Let an environment be chosen.

    Raises:
        NotFound: There is none.
        NotAuthorized: The key is no admin key.
    """
    path = f"{_EDGE}/environment-specifications/{segment(specification_id)}/syncs"
    response = yield Request(method="POST", path=path)
    check(response)
    return read(response, EnvironmentInfo.from_json)


def disable_environment(specification_id: str) -> Flow[None]:
    """Let an environment be chosen no longer; raises as `enable_environment`."""
    path = f"{_EDGE}/environment-specifications/{segment(specification_id)}"
    check((yield Request(method="DELETE", path=path)))


def template(specification_id: str, *, owner: str = "", name: str = "") -> Flow[bytes]:
    """
    Read the project that algorithms of an environment begin with, as a `.tar.gz`.

    Raises:
        NotFound: There is no such environment, or no template for it.
    """
    path = f"{_EDGE}/environment-specifications/{quote(specification_id, safe='')}/template"
    query = (("user", owner), ("name", name)) if owner and name else ()
    response = yield Request(method="GET", path=path, query=query)
    check(response)
    if not response.body.startswith(_GZIP):
        raise unexpected(response, "no archive")
    return response.body


def tree(ref: AlgorithmRef, *, at: str = "") -> Flow[SourceTree]:
    """
    Read what is in the source at a commit or branch; empty for the newest of the default branch.

    Raises:
        AlgorithmNotFound: There is none, or not for this caller.
        NotFound: There is no such commit.
    """
    files: list[SourceFile] = []
    marker = ""
    while True:
        query = tuple((name, value) for name, value in (("ref", at), ("marker", marker)) if value)
        response = yield Request(method="GET", path=path_of(ref, "source"), query=query)
        check(response, missing=AlgorithmNotFound)
        told = response.json()
        if not isinstance(told, dict) or not isinstance(told.get("commit"), str):
            raise unexpected(response, "no commit")
        files += _files(response, told.get("files"))
        at = told["commit"]  # whatever is pushed meanwhile
        following = told.get("marker")
        if not isinstance(following, str) or not following:
            return SourceTree(commit=at, files=tuple(files))
        if following == marker:
            raise UnexpectedResponse(f"The source does not advance past {marker!r}.")
        marker = following


def _files(response: Response, entries: object) -> Iterator[SourceFile]:
    if not isinstance(entries, list):
        raise unexpected(response, "no list of files")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
            raise unexpected(response, "a file without a path")
        size = entry.get("size")
        yield SourceFile(
            path=entry["path"],
            size_bytes=size if isinstance(size, int) else 0,
            kind=str(entry.get("kind") or "file"),
        )


def source_file(ref: AlgorithmRef, path: str, *, at: str = "") -> Flow[bytes]:
    """
    Read a file of the source.

    Raises:
        PathNotFound: There is no such file.
    """
    query = (("ref", at),) if at else ()
    address = f"{path_of(ref, 'source')}/{quote(path.strip('/'))}"
    response = yield Request(method="GET", path=address, query=query)
    check_path(response)
    return response.body


def archive(ref: AlgorithmRef, *, at: str = "") -> Flow[bytes]:
    """
    Read all files of the source at a commit or branch, as a `.tar.gz`.

    Raises:
        AlgorithmNotFound: There is none, or not for this caller.
        NotFound: There is no such commit.
    """
    query = (("ref", at),) if at else ()
    response = yield Request(method="GET", path=path_of(ref, "source.tar.gz"), query=query)
    check(response, missing=AlgorithmNotFound)
    if not response.body.startswith(_GZIP):
        raise unexpected(response, "no archive")
    return response.body


def commit(
    ref: AlgorithmRef,
    changes: Mapping[str, bytes | str | None],
    *,
    message: str,
    parent: str = "",
    build: bool = False,
) -> Flow[str]:
    """
    Change files of the source, all or none, and return the new commit.

    Args:
        ref: The algorithm.
        changes: New content by path; None deletes the file.
        message: What the commit is about.
        parent: Do so only if this is the newest commit.
        build: Ask for a build of it, too.

    Raises:
        ConditionFailed: *parent* is not the newest commit any more.
        InvalidInput: A path or the message is wrong.
    """
    wish: dict[str, Any] = {
        "message": message,
        "changes": [_change(path, content) for path, content in changes.items()],
    }
    if parent:
        wish["parent"] = parent
    if build:
        wish["build"] = True
    response = yield json_request("POST", path_of(ref, "commits"), wish)
    check(response, missing=AlgorithmNotFound)
    told = response.json()
    sha = told.get("commit") if isinstance(told, dict) else None
    if not isinstance(sha, str):
        raise unexpected(response, "no commit")
    return sha


def _change(path: str, content: bytes | str | None) -> dict[str, Any]:
    if content is None:
        return {"path": path, "delete": True}
    if isinstance(content, str):
        return {"path": path, "content": content}
    return {"path": path, "content_base64": base64.b64encode(content).decode()}
