"""
Repositories over HTTP: one `git http-backend` for each request, and a word with git's hooks.

The program speaks git's protocol; nothing of it is understood here. Bodies stream through in both
directions as fast as the slower side takes them. A hook of a push asks over a pair of sockets, of
which only the processes of that push have the other end (`git_hooks/hook.py`).

If the client goes away, the whole tree of processes is ended. A push is then there or not: what
has arrived lies apart until it is accepted, and branches move in one step.
"""

import asyncio
import json
import os
import shlex
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from algorium_server.build.git_hooks import hook
from algorium_server.build.source.git import (
    GIT_MIN,
    feed,
    git_environment,
    git_process,
    git_version,
)
from algorium_server.domain.errors import InternalError, Unavailable
from algorium_server.domain.limits import MIB, PUSH_REFS_MAX
from algorium_server.domain.pushes import RefUpdate
from algorium_server.telemetry import logger

HOOKS: Final = ("pre-receive", "post-receive")
_CHUNK_BYTES: Final = 64 * 1024
_HEAD_BYTES_MAX: Final = 16 * 1024
_QUESTION_BYTES_MAX: Final = 4 * MIB
_GIT_WITH_FSYNC: Final = (2, 36)
"""Before that, another setting says that what is stored must be on the disk."""
_PUSH: Final = "git-receive-pack"
_SIDEBAND: Final = (b"\x01", b"\x02")
_SIDEBAND_TEXT: Final = 2

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRequest:
    """
    A request to a repository.

    Attributes:
        repository: Its directory.
        path: Behind the repository's address: `info/refs`, `git-upload-pack`, `git-receive-pack`.
        variables: What CGI says of the request: `CONTENT_TYPE` and the like.
        user: Name of who asks.
    """

    repository: Path
    method: str
    path: str
    query: str
    user: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GitAnswer:
    """What comes back; the body is read while the block lasts that gave it."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """
    What a hook asks.

    Attributes:
        hook: `pre-receive`: may this be? `post-receive`: this has come about.
        options: What the pusher said with `-o`.
        environment: Where git finds what has arrived and is not accepted yet.
    """

    hook: str
    updates: tuple[RefUpdate, ...]
    options: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


Say = Callable[[str], Awaitable[None]]
"""Shows a line to the pusher; does nothing once nobody listens."""
Hooks = Callable[[Question, Say], Awaitable[bool]]
"""Answers a hook: whether to go on."""


class GitServer:
    """
    Serves repositories.

    Args:
        directory: Of ours; hooks and an empty home directory are put there.
        push_bytes_max: What one push may send.
    """

    def __init__(self, directory: Path, *, push_bytes_max: int) -> None:
        self._hooks_dir = directory / "hooks"
        self._home = directory / "home"
        self._push_bytes_max = push_bytes_max
        self._can_serve = False
        self._config = {
            "core.hooksPath": str(self._hooks_dir),
            "receive.maxInputSize": str(push_bytes_max),
            "receive.fsckObjects": "true",
            # Flaws of old tools that do no harm, and that nobody can repair without rewriting.
            "receive.fsck.zeroPaddedFilemode": "ignore",
            "receive.fsck.badTimezone": "ignore",
            "receive.fsck.missingSpaceBeforeDate": "ignore",
            # Our hook decides, so that it can say why.
            "receive.denyNonFastForwards": "false",
            "receive.denyDeletes": "false",
            "receive.denyDeleteCurrent": "ignore",
            "receive.advertisePushOptions": "true",
            "http.receivepack": "true",
            "http.getanyfile": "false",
            "uploadpack.allowFilter": "true",
        }

    def prepare(self) -> None:
        """Put the hooks where git finds them, and see which git there is; blocks."""
        version = git_version()
        self._can_serve = version is not None and version >= GIT_MIN
        if version is not None and version < _GIT_WITH_FSYNC:
            self._config["core.fsyncObjectFiles"] = "true"
        self._home.mkdir(parents=True, exist_ok=True)
        self._hooks_dir.mkdir(parents=True, exist_ok=True)
        for name in HOOKS:
            words = (sys.executable, "-I", "-S", str(Path(hook.__file__).absolute()), name)
            half = self._hooks_dir / f".{name}.{os.getpid()}"
            half.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n", encoding="utf-8")
            half.chmod(0o700)
            half.rename(self._hooks_dir / name)

    @asynccontextmanager
    async def serve(
        self, request: GitRequest, body: AsyncIterator[bytes], hooks: Hooks | None = None
    ) -> AsyncIterator[GitAnswer]:
        """
        Hand a request to git; whatever is left of it is ended with the block.

        Args:
            request: What is asked.
            body: Of the request, as it arrives.
            hooks: Answers the hooks of a push.

        Raises:
            Unavailable: There is no git on this host, or an old one.
            InternalError: git gave no answer.
        """
        if not self._can_serve:
            wanted = ".".join(map(str, GIT_MIN))
            raise Unavailable(f"The server's host needs git {wanted} or later for this.")
        is_push = _PUSH in (request.path, request.query.removeprefix("service="))
        if is_push and not self._has_hooks():
            raise Unavailable(
                "Nothing can be pushed: the server's home is on a file system that lets no program"
                " run (noexec), and git passes over hooks that it cannot run."
            )
        async with AsyncExitStack() as stack:
            variables = self._variables(request)
            descriptors: tuple[int, ...] = ()
            if hooks is not None:
                theirs = await stack.enter_async_context(_answering(hooks))
                variables[hook.DESCRIPTOR] = str(theirs.fileno())
                descriptors = (theirs.fileno(),)
            process = await stack.enter_async_context(
                git_process(
                    "http-backend",
                    environment=variables,
                    cwd=request.repository,
                    takes_input=True,
                    descriptors=descriptors,
                )
            )
            feeder = _Feeder(process, body, self._push_bytes_max if hooks is not None else None)
            feeding = asyncio.ensure_future(feeder.run())
            stack.push_async_callback(_stopped, feeding)
            assert process.stdout is not None
            status, headers = await _head(process.stdout)
            chunks = await stack.enter_async_context(aclosing(_told(process.stdout, feeder)))
            yield GitAnswer(status=status, headers=headers, body=chunks)

    def _has_hooks(self) -> bool:
        # git goes on without a hook that it may not run; then nothing would be judged.
        return all(os.access(self._hooks_dir / name, os.X_OK) for name in HOOKS)

    def _variables(self, request: GitRequest) -> dict[str, str]:
        variables = git_environment(config=self._config, home=self._home)
        variables |= {
            "GIT_PROJECT_ROOT": str(request.repository.parent),
            "PATH_INFO": f"/{request.repository.name}/{request.path}",
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query,
            "REMOTE_USER": request.user,
        }
        return variables | dict(request.variables)


class _Feeder:
    """
    The body of a request on its way into git.

    Attributes:
        is_over: More than the limit has arrived.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        body: AsyncIterator[bytes],
        bytes_max: int | None,
    ) -> None:
        self.is_over = False
        self.bytes_max = bytes_max
        self._process = process
        self._body = body

    async def run(self) -> None:
        """Feed until the body ends; a body that breaks off is the end of it for git as well."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            await self._feed(stdin)
        finally:
            stdin.close()

    async def _feed(self, stdin: asyncio.StreamWriter) -> None:
        size_bytes = 0
        is_read = True
        async for chunk in self._body:
            size_bytes += len(chunk)
            if self.bytes_max is not None and size_bytes > self.bytes_max:
                self.is_over = True
                if size_bytes > 2 * self.bytes_max:
                    return  # whoever still sends has not read the answer, and will not
            if not is_read:
                continue  # git sends its whole pack before it reads what is said to it
            is_read = await feed(stdin, chunk)


async def _head(stdout: asyncio.StreamReader) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
    """Read the head of what a CGI program answers."""
    status = 200
    headers = []
    for line in await _head_lines(stdout):
        name, _, value = line.partition(b":")
        name, value = name.strip().lower(), value.strip()
        if name == b"status":
            status = int(value[:3])
        else:
            headers.append((name, value))
    return status, tuple(headers)


async def _head_lines(stdout: asyncio.StreamReader) -> list[bytes]:
    lines: list[bytes] = []
    while (line := await stdout.readline()).strip():
        lines.append(line)
        if sum(map(len, lines)) > _HEAD_BYTES_MAX:
            break
    if not lines or not line:
        raise InternalError("git gave no answer", detail=f"{lines!r}")
    return lines


async def _told(stdout: asyncio.StreamReader, feeder: _Feeder) -> AsyncGenerator[bytes, None]:
    """Yield the body of the answer; begin it with a sentence about a push that was too large."""
    is_first = True
    while chunk := await stdout.read(_CHUNK_BYTES):
        if is_first and feeder.is_over and chunk[4:5] in _SIDEBAND:
            assert feeder.bytes_max is not None
            yield _shown(
                f"A push is limited to {feeder.bytes_max // MIB} MiB. Large files, such as models,"
                " belong into the Data API."
            )
        is_first = False
        yield chunk


def _shown(text: str) -> bytes:
    """Return a line for the pusher as git's protocol frames it."""
    data = bytes([_SIDEBAND_TEXT]) + text.encode() + b"\n"
    return b"%04x" % (len(data) + 4) + data


@asynccontextmanager
async def _answering(hooks: Hooks) -> AsyncIterator[socket.socket]:
    """Answer the hooks of one push as long as a block lasts; yield the end for git."""
    ours, theirs = socket.socketpair()
    with theirs:
        reader, writer = await asyncio.open_connection(sock=ours, limit=_QUESTION_BYTES_MAX)
        conversing = asyncio.ensure_future(_converse(reader, writer, hooks))
        try:
            yield theirs
        finally:
            await _stopped(conversing)
            writer.close()


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hooks: Hooks
) -> None:
    async def tell(**members: object) -> None:
        with suppress(ConnectionError):
            writer.write(json.dumps(members).encode() + b"\n")
            await writer.drain()

    async def say(text: str) -> None:
        for line in text.splitlines() or [""]:
            await tell(say=line)

    while line := await reader.readline():
        question = _question(json.loads(line))
        goes_on = False
        if len(question.updates) > PUSH_REFS_MAX:
            await say(f"A push changes {PUSH_REFS_MAX} branches and tags at most.")
        else:
            try:
                goes_on = await hooks(question, say)
            except Exception:
                _log.exception("a push is refused", hook=question.hook)
                await say("There was an internal error.")
        await tell(end=0 if goes_on else 1)


def _question(told: Any) -> Question:
    lines = [line.split(" ", 2) for line in told["updates"].splitlines()]
    return Question(
        hook=told["hook"],
        updates=tuple(RefUpdate(old=old, new=new, ref=ref) for old, new, ref in lines),
        options=tuple(told["options"]),
        environment=told["objects"],
    )


async def _stopped(work: asyncio.Future[Any]) -> None:
    """End work of which nobody wants the result any more."""
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled():
        work.exception()
