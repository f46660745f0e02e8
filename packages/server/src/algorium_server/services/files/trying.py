"""
Trying out a connector: can it list, read, write and delete what it opens?

What it opens is a pattern, and the trial keeps to it:

| pattern            | listed                       | written                              |
|--------------------|------------------------------|--------------------------------------|
| `*`                | the first bucket, or the root | a file there                        |
| `bucket/folder/*`  | `bucket/folder`              | a file there                         |
| `bucket/begin*`    | `bucket/begin`, if it is one | a file in `bucket` that begins so    |
| `bucket/file`      | nothing                      | nothing: the one file is only read   |

The file that is written has a name nobody has, and is deleted again.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass

from algorium_server.data.connector import Connector, Path, Span
from algorium_server.domain.connectors import StorageProtocol, StoredConnector
from algorium_server.domain.errors import AlgoriumError, PathNotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How one thing went that a connector should be able to do."""

    is_ok: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """
    What a connector is tried out on.

    Attributes:
        directory: Is listed.
        above: A file is written there.
        begin: Its name begins so.
        file: The only one that the connector opens.
    """

    directory: Path = ()
    above: Path = ()
    begin: str = ""
    file: Path = ()


async def tried(connector: Connector, stored: StoredConnector) -> dict[str, Trial | None]:
    """
    Try out a connector: `list`, `read`, `write` and `delete`; None for what it is not to do.

    Args:
        connector: What it leads to, as far as its pattern goes.
        stored: The connector.
    """
    target = await _target_of(connector, stored)
    files: list[Path] = [target.file] if target.file else []
    if target.file:
        listed = Trial(is_ok=True, message="there is nothing to list: it opens one file")
    else:
        listed = await _trial(_list(connector, target, files))
    written = deleted = None
    if stored.is_writeable and not target.file:
        written = await _trial(_write(connector, target, files))
    if files:
        read = await _trial(_read(connector, files[0]))
    else:
        read = Trial(is_ok=listed.is_ok, message="there is no file to read")
    if written is not None and written.is_ok:
        deleted = await _trial(_delete(connector, files[0]))
    elif written is not None:
        deleted = Trial(is_ok=False, message="there is no file to delete")
    return {"list": listed, "read": read, "write": written, "delete": deleted}


async def _trial(work: Awaitable[str]) -> Trial:
    try:
        return Trial(is_ok=True, message=await work)
    except AlgoriumError as error:
        return Trial(is_ok=False, message=error.message)


async def _list(connector: Connector, target: _Target, files: list[Path]) -> str:
    try:
        page = await connector.page(target.directory)
    except PathNotFound:
        if not target.begin:
            raise
        return "no directory is called as the path begins"
    files.extend((*target.directory, entry.name) for entry in page.files[:1])
    more = "or more " if page.marker else ""
    return f"{len(page.folders)} directories and {len(page.files)} files {more}are there"


async def _write(connector: Connector, target: _Target, files: list[Path]) -> str:
    path = (*target.above, f"{target.begin}algorium-test-{secrets.token_hex(8)}")
    await connector.write(path, _bytes(), size_bytes=len(_TEXT))
    files.insert(0, path)
    return "a file was written"


async def _read(connector: Connector, path: Path) -> str:
    opened = await connector.open(path, span=Span(start=0, end=len(_TEXT)))
    try:
        read = b"".join([chunk async for chunk in opened.chunks()])
    finally:
        await opened.close()
    return f"{len(read)} bytes were read"


async def _delete(connector: Connector, path: Path) -> str:
    await connector.delete(path, is_forced=False)
    return "the file was deleted"


_TEXT = b"Algorium wrote this to try out a connector.\n"


async def _bytes() -> AsyncIterator[bytes]:
    yield _TEXT


async def _target_of(connector: Connector, stored: StoredConnector) -> _Target:
    literal, star, _ = stored.path.partition("*")
    names = tuple(filter(None, literal.split("/")))
    has_buckets = stored.protocol in {StorageProtocol.S3, StorageProtocol.GS}
    if not star and len(names) > has_buckets:
        return _Target(file=names)
    if has_buckets and len(names) < 2 and not literal.endswith("/"):
        # At the root there are buckets; files are in them.
        bucket = names or await _a_bucket(connector, stored)
        return _Target(directory=bucket, above=bucket)
    if names and not literal.endswith("/"):
        return _Target(directory=names, above=names[:-1], begin=names[-1])
    return _Target(directory=names, above=names)


async def _a_bucket(connector: Connector, stored: StoredConnector) -> Path:
    if stored.options.bucket:
        return (stored.options.bucket,)
    try:
        return (await connector.page(())).folders[:1]
    except AlgoriumError:
        return ()
