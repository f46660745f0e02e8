"""
Source over HTTP, for editors: list and read files, commit changes.

    GET  /v1/algorithms/{ref}/source?ref=             the files of a commit
    GET  /v1/algorithms/{ref}/source/{path}?ref=      one of them
    GET  /v1/algorithms/{ref}/source.tar.gz?ref=      all of them
    POST /v1/algorithms/{ref}/commits                 several changes, all or none
    POST /source/{owner}/{name}/{path}                the body becomes a file

Source: wire specification, "Internal git hosting", "Web IDE save".
"""

import asyncio
import base64
import binascii
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Message, Send

from algorium_server.api import pages
from algorium_server.api.algorithm_objects import BuildObject, build_object
from algorium_server.api.http import Disconnected, read_body
from algorium_server.api.management import Answer, Asking, Body, body_of
from algorium_server.api.queries import PAGE, Query, described_query
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.build.source.repositories import FileChange
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    GIT_STALL_S_MAX,
    MIB,
    SOURCE_FILE_BYTES_MAX,
    SOURCE_LISTING_FILES_MAX,
)
from algorium_server.services.source.source_files import SourceFiles

_AT: Final = {"ref": "A branch, tag, version or commit; the newest commit by default."}
_MODES: Final = {"100644": False, "100755": True}
_COMMIT_HEADER: Final = "X-Commit"


class SourceFileObject(BaseModel):
    """A file: `kind` is `file`, `program`, `link` or `submodule`; `id` changes with its content."""

    path: str
    kind: str
    size: int
    id: str


class SourcePageObject(BaseModel):
    """Files of a commit, by path; `total` counts those on all pages."""

    commit: str
    files: list[SourceFileObject]
    total: int
    marker: str | None = None
    next_link: str | None = None


class ChangeBody(Body):
    """What becomes of a file: `content`, `content_base64`, or `delete`; `mode` as git has it."""

    path: str
    content: str | None = None
    content_base64: str | None = None
    delete: bool = False
    mode: str | None = None

    def wanted(self) -> FileChange:
        """
        Return the change.

        Raises:
            InvalidInput: It says nothing, or two things at once.
        """
        said = (self.content is not None, self.content_base64 is not None, self.delete)
        if sum(said) != 1:
            raise InvalidInput(f"{self.path!r}: give one of content, content_base64 and delete")
        if self.mode is not None and self.mode not in _MODES:
            raise InvalidInput(f"{self.path!r}: mode is 100644 or 100755")
        return FileChange(
            path=self.path,
            content=self._content(),
            is_program=None if self.mode is None else _MODES[self.mode],
        )

    def _content(self) -> bytes | None:
        if self.content is not None:
            return self.content.encode("utf-8", "surrogatepass")
        if self.content_base64 is None:
            return None
        try:
            return base64.b64decode(self.content_base64, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput(f"{self.path!r}: content_base64 is not Base64") from None


class CommitBody(Body):
    """A commit: with `parent`, only on top of that one; with `build`, a build of it as well."""

    message: str = ""
    parent: str | None = None
    changes: list[ChangeBody]
    build: bool | None = False


class CommittedObject(BaseModel):
    """The newest commit now; the build, if one was asked for."""

    commit: str
    build: BuildObject | None = None


class _Archive(StreamingResponse):
    """An answer that is given up if nobody takes it: a process waits behind it."""

    async def stream_response(self, send: Send) -> None:
        """Send it."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(GIT_STALL_S_MAX):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            raise Disconnected from None


def source_routes(sources: SourceFiles, *, api: str) -> APIRouter:
    """
    Return the routes.

    Args:
        sources: Does the work.
        api: Base address, for links.
    """
    routes = APIRouter(tags=["source"])
    _add_reading(routes, sources, api)
    _add_changing(routes, sources)
    return routes


def _add_reading(routes: APIRouter, sources: SourceFiles, api: str) -> None:
    @on_algorithm(
        routes,
        "GET",
        "/source",
        response_model=SourcePageObject,
        openapi_extra=described_query(**_AT, **PAGE),
    )
    async def listing(request: Request, ref: Ref, principal: Asking, query: Query) -> Response:
        """List the files of a commit, by path."""
        limit = pages.parse_limit(
            query.get("limit", ""),
            default=SOURCE_LISTING_FILES_MAX,
            limit_max=SOURCE_LISTING_FILES_MAX,
        )
        after = pages.key_of_marker(query.get("marker", ""), (str,))
        page = await sources.listing(
            principal,
            ref,
            at=query.get("ref", ""),
            limit=limit,
            after=after[0] if after is not None else "",
        )
        marker = pages.marker_of((page.next_path,)) if page.next_path else ""
        # All pages are of one commit, whatever is pushed meanwhile.
        link = pages.next_link(api, request.url.path, {**query, "ref": page.commit_sha}, marker)
        files = [
            SourceFileObject(
                path=entry.path, kind=entry.kind, size=entry.size_bytes, id=entry.object_id
            )
            for entry in page.entries
        ]
        return Answer(
            SourcePageObject(
                commit=page.commit_sha,
                files=files,
                total=page.total,
                marker=marker or None,
                next_link=link or None,
            ).model_dump()
        )

    @on_algorithm(
        routes,
        "GET",
        "/source/{path:path}",
        response_class=Response,
        openapi_extra=described_query(**_AT),
    )
    async def read(
        request: Request, ref: Ref, path: str, principal: Asking, query: Query
    ) -> Response:
        """Return a file as it is in a commit; `X-Commit` names it."""
        found = await sources.file(principal, ref, path, at=query.get("ref", ""))
        headers = {
            "ETag": f'"{found.entry.object_id}"',
            _COMMIT_HEADER: found.commit_sha,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-cache",
        }
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=_type_of(found.content), headers=headers)

    @on_algorithm(
        routes,
        "GET",
        "/source.tar.gz",
        response_class=Response,
        openapi_extra=described_query(**_AT),
    )
    async def archive(ref: Ref, principal: Asking, query: Query) -> Response:
        """Return all files of a commit as an archive."""
        name, chunks = await sources.archive(principal, ref, at=query.get("ref", ""))
        return _Archive(
            chunks,
            media_type="application/gzip",
            headers={"Content-Disposition": f'attachment; filename="{name}.tar.gz"'},
        )


def _add_changing(routes: APIRouter, sources: SourceFiles) -> None:
    @on_algorithm(routes, "POST", "/commits", status_code=201, response_model=CommittedObject)
    async def commit(
        ref: Ref, principal: Asking, body: Annotated[CommitBody, body_of(CommitBody)]
    ) -> Response:
        """Change files in one commit: all changes, or none."""
        done = await sources.commit(
            principal,
            ref,
            [change.wanted() for change in body.changes],
            message=body.message,
            parent=body.parent or "",
            builds=bool(body.build),
        )
        told: dict[str, Any] = {"commit": done.commit_sha}
        if done.build is not None:
            told["build"] = build_object(done.build, None).model_dump(exclude_none=True)
        return Answer(told, 201)

    @routes.post("/source/{owner}/{name}/{path:path}", response_model=CommittedObject)
    async def save(request: Request, ref: Ref, path: str, principal: Asking) -> Response:
        """Make the body a file, whatever its type, in a commit of its own."""
        content = await read_body(
            request.scope,
            request.receive,
            bytes_max=SOURCE_FILE_BYTES_MAX,
            too_large=f"a file is limited to {SOURCE_FILE_BYTES_MAX // MIB} MiB: push it with git",
        )
        done = await sources.commit(principal, ref, [FileChange(path=path, content=content)])
        return Answer({"commit": done.commit_sha})


def _type_of(content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "application/octet-stream" if "\0" in text else "text/plain; charset=utf-8"
