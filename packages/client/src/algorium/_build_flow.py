"""
Builds: asked for, listed, read, cancelled, followed. Every operation once, as in `_flow.py`.

`LogReader` is the sans-I/O part of following a log: bytes of an event stream in, text out.

Source: wire specification, "Compile", "Builds"; server-sent events as in the HTML standard.
"""

import codecs
import json
from dataclasses import dataclass
from typing import Any, Final

from algorium._algorithm_flow import (
    PAGE_MAX,
    Page,
    json_request,
    page_query,
    path_of,
    read,
    read_each,
    read_page,
)
from algorium._answers import check, unexpected
from algorium._errors import (
    AlgorithmNotFound,
    BuildFailed,
    BuildNotFound,
    InternalError,
    UnexpectedResponse,
)
from algorium._messages import Request, Response
from algorium._retry import Flow
from algorium.wire.authoring import AlgorithmInfo, BuildInfo, CommitInfo
from algorium.wire.bodies import ErrorBody
from algorium.wire.refs import AlgorithmRef

COMPILE_S_MAX: Final = 4000.0
"""The server answers when the build has ended; it ends builds that hang before that."""

POLL_S: Final = 1.0
"""Between two looks at a build, where a server has no live logs."""

SILENCE_S_MAX: Final = 30.0
"""A server says something in a live log twice as often, even if the build does not."""

_LINE_CHARS_MAX: Final = 4 * 2**20
"""Of a line of an event stream: logs come in much smaller pieces."""


def compile_(ref: AlgorithmRef, *, commit: str = "") -> Flow[AlgorithmInfo]:
    """
    Build a commit, or the newest one, and wait for the end of that.

    Raises:
        AlgorithmNotFound: There is none.
        BuildFailed: The commit cannot be called; the exception has the log.
    """
    wish = {"commitSha": commit} if commit else {}
    response = yield json_request("POST", path_of(ref, "compile"), wish, work_s=COMPILE_S_MAX)
    check(response, missing=AlgorithmNotFound)
    algorithm = read(response, lambda told: AlgorithmInfo.from_json(told, owner=ref.owner))
    compilation = response.json().get("compilation")
    if not isinstance(compilation, dict) or compilation.get("successful") is not True:
        raise _failed(response, algorithm)
    return algorithm


def _failed(response: Response, algorithm: AlgorithmInfo) -> BuildFailed:
    build = algorithm.build
    reason = build.failure if build is not None else ""
    error = BuildFailed(
        reason or "The build has failed.", status=response.status, request_id=response.request_id
    )
    error.log = algorithm.log
    error.build_id = build.build_id if build is not None else ""
    return error


def builds(ref: AlgorithmRef, *, marker: str, limit: int = PAGE_MAX) -> Flow[Page[BuildInfo]]:
    """
    Read some of an algorithm's builds, newest first.

    Raises:
        AlgorithmNotFound: There is none.
    """
    query = page_query(marker, limit)
    response = yield Request(method="GET", path=path_of(ref, "builds"), query=query)
    check(response, missing=AlgorithmNotFound)
    return read_page(response, BuildInfo.from_json, marker=marker)


def build(ref: AlgorithmRef, build_id: str) -> Flow[BuildInfo]:
    """
    Read one build.

    Raises:
        BuildNotFound: There is none.
    """
    response = yield Request(method="GET", path=path_of(ref, "builds", build_id))
    check(response, missing=BuildNotFound)
    return read(response, BuildInfo.from_json)


def build_log(ref: AlgorithmRef, build_id: str) -> Flow[str]:
    """
    Read everything that a build has said.

    Raises:
        BuildNotFound: There is none, or it has not ended.
    """
    response = yield Request(method="GET", path=path_of(ref, "builds", build_id, "logs"))
    check(response, missing=BuildNotFound)
    told = response.json()
    if not isinstance(told, dict) or not isinstance(told.get("logs"), str):
        raise unexpected(response, "no log")
    log: str = told["logs"]
    return log


def build_lock(ref: AlgorithmRef, build_id: str) -> Flow[str]:
    """
    Read what a build has installed, as a `requirements.txt` with every version.

    Raises:
        BuildNotFound: There is none.
    """
    response = yield Request(method="GET", path=path_of(ref, "builds", build_id, "lock"))
    check(response, missing=BuildNotFound)
    return response.body.decode("utf-8", "replace")


def cancel_build(ref: AlgorithmRef, build_id: str) -> Flow[None]:
    """
    End a build that waits or runs; one that has ended stays as it is.

    Raises:
        BuildNotFound: There is none.
    """
    path = path_of(ref, "builds", build_id, "cancel")
    response = yield Request(method="POST", path=path, is_repeatable=True)
    check(response, missing=BuildNotFound)


def commits(ref: AlgorithmRef, *, since: str, until: str) -> Flow[list[CommitInfo]]:
    """
    Read the commits of the default branch, newest first, with both ends.

    Raises:
        AlgorithmNotFound: There is none.
        NotFound: There is no such commit.
    """
    query = tuple((name, sha) for name, sha in (("since", since), ("until", until)) if sha)
    response = yield Request(method="GET", path=path_of(ref, "log"), query=query)
    check(response, missing=AlgorithmNotFound)
    told = response.json()
    found = told.get("commits") if isinstance(told, dict) else None
    if not isinstance(found, list):
        raise unexpected(response, "no list of commits")
    return read_each(response, found, CommitInfo.from_json)


def open_log(ref: AlgorithmRef, build_id: str, *, after: str) -> Flow[Response | None]:
    """
    Begin to follow the log of a build.

    Args:
        ref: The algorithm.
        build_id: The build.
        after: Id of the last event that arrived, empty from the beginning.

    Returns:
        An answer whose body arrives while the build goes on; None if the server has no live logs.

    Raises:
        BuildNotFound: There is no such build.
    """
    response = yield Request(
        method="GET",
        path=path_of(ref, "builds", build_id, "logs", "stream"),
        headers={"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})},
        is_streamed=True,
        work_s=SILENCE_S_MAX,
    )
    if response.is_success and response.media_type == "text/event-stream":
        return response
    if response.is_success:
        raise unexpected(response, "no stream of events")
    if response.status in {405, 501} or (response.status == 404 and not _is_of_build(response)):
        return None
    check(response, missing=BuildNotFound)
    raise AssertionError("a refusal")


def _is_of_build(response: Response) -> bool:
    """Whether a 404 is about the build, and not about the whole path."""
    try:
        error = response.json()["error"]
    except (UnexpectedResponse, KeyError, TypeError):
        return False
    return isinstance(error, str) or (isinstance(error, dict) and "code" in error)


def _told(data: str) -> str:
    try:
        error = ErrorBody.from_json(json.loads(data))
    except ValueError:
        return ""
    return error.message if error is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """Some of a log, or its end."""

    text: str = ""
    is_end: bool = False


class LogReader:
    """
    Reads the stream of a log's events, however it is cut into pieces.

    Attributes:
        last_id: Of the last whole event that told one; a new stream goes on behind it.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._event = ""
        self._data: list[str] = []
        self._id = ""

    def begin(self) -> None:
        """Forget what was left of a stream that broke off; the next bytes are of a new one."""
        self._decoder.reset()
        self._line, self._event, self._data, self._id = "", "", [], ""

    def feed(self, data: bytes) -> list[LogPiece]:
        """
        Take the next bytes.

        Raises:
            UnexpectedResponse: They are no log.
            InternalError: The server gives up.
        """
        text = self._line + self._decoder.decode(data)
        if text.endswith("\r"):  # a line feed may follow, and is of the same line end
            text, self._line = text[:-1], "\r"
        else:
            self._line = ""
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._line = rest + self._line
        if len(self._line) > _LINE_CHARS_MAX:
            raise UnexpectedResponse("The log comes in lines that are too long.")
        return [piece for line in lines if (piece := self._take(line)) is not None]

    def _take(self, line: str) -> LogPiece | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        return None

    def _dispatch(self) -> LogPiece | None:
        event, data, self._event, self._data = self._event, "\n".join(self._data), "", []
        self.last_id = self._id or self.last_id
        if event == "end":
            return LogPiece(is_end=True)
        if event == "error":
            raise InternalError(_told(data) or "The log cannot be read on.")
        if event != "log" or not data:
            return None
        try:
            told: Any = json.loads(data)
        except ValueError:
            told = None
        if not isinstance(told, str):
            raise UnexpectedResponse("A piece of the log is not a JSON string.")
        return LogPiece(text=told)
