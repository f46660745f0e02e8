"""A home directory for tests of backups: with something of everything that a server keeps there."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import rows

from algorium_server.backup.taking import Wanted
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.data.local import LocalBlobs
from algorium_server.sealing import Seal
from algorium_server.store import accounts, files
from algorium_server.store.database import Database, sqlite_url

NOW = datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC)
LARGE = os.urandom(200_000)


class Home:
    """
    A home, and what it has.

    Attributes:
        path: Where it is.
        url: Where its database is.
        blob: Key of the bytes of `large.bin`.
        repository: Where the repository is.
        commits: Its commits, oldest first.
    """

    def __init__(self, path: Path, url: str = "") -> None:
        self.path = path
        self.url = url or sqlite_url(path / "algorium.db")
        self.collection = rows.collection("")
        self.blob = ""
        self.owner_id, self.algorithm_id = rows.new_id(), rows.new_id()
        self.repositories = Repositories(path / "repos")
        self.repository = self.repositories.path(self.owner_id, self.algorithm_id)
        self.commits: list[str] = []

    def wanted(self, **fields: object) -> Wanted:
        return Wanted(home=self.path, database_url=self.url, **fields)

    async def fill(self) -> None:
        await self._fill_database()
        await self.repositories.create(self.owner_id, self.algorithm_id)
        await self.commit("first")
        await self.commit("second")
        Seal.open(self.path)
        self._fill_directories()

    async def commit(self, text: str) -> None:
        """Add a commit to the repository."""
        author = Signature(name="jane", email="jane@example.org", at=NOW)
        source = {"src/Hello.py": text.encode()}
        self.commits.append(
            await self.repositories.commit(
                self.owner_id, self.algorithm_id, source, author=author, message=text
            )
        )

    async def delete_large(self) -> None:
        """Delete the large file as the server does: the row, then the blob."""
        async with (
            await Database.open(self.url, is_shared=True) as database,
            database.transaction() as connection,
        ):
            key = await files.delete_file(
                connection, collection_id=self.collection.collection_id, name="large.bin"
            )
        assert key == self.blob
        blobs = LocalBlobs(self.path / "blobs")
        await blobs.delete(key)
        blobs.close()

    async def _fill_database(self) -> None:
        jane = rows.account("jane")
        self.collection = rows.collection(jane.account_id)
        blobs = LocalBlobs(self.path / "blobs")
        stored = await blobs.write(_chunks(LARGE))
        blobs.close()
        self.blob = stored.key
        collection_id = self.collection.collection_id
        large = rows.file(
            collection_id,
            "large.bin",
            blob=stored.key,
            size_bytes=stored.size_bytes,
            md5=stored.md5,
            checksum=stored.checksum,
        )
        async with (
            await Database.open(self.url) as database,
            database.transaction() as connection,
        ):
            await accounts.add_account(connection, jane)
            await files.add_collection(connection, self.collection)
            await files.put_file(connection, large)

    def _fill_directories(self) -> None:
        for name, content, mode in (
            ("credentials.json", b'{"admin_api_key": "sim"}', 0o600),
            ("usage/a.journal", b"AJR1", 0o600),
            ("logs/builds/one.log", b"Build succeeded", 0o600),
            ("logs/audit-checkpoints.jsonl", b"{}\n", 0o600),
            ("something/new", b"kept by a newer release", 0o640),
            ("builds/one/src/Hello.py", b"def apply(input): ...", 0o644),
            ("builds/one/run", b"#!/bin/sh\n", 0o755),
            (os.fsdecode(b"builds/one/caf\xe9 100%"), b"a name that is no text", 0o644),
            ("builds/two.work/half", b"being built", 0o644),
            ("envs/done/complete", b"", 0o444),
            ("envs/done/lib/module.py", b"x = 1\n", 0o444),
            ("envs/half/lib/module.py", b"", 0o444),
            ("envs/.cache/uv/wheel", b"", 0o644),
            ("uploads/part", b"half of a file", 0o600),
            ("models/files/aa/aa", b"a copy", 0o600),
            ("blobs/incoming/half", b"", 0o600),
            ("endpoint.json", b"{}", 0o600),
            ("lock", b"", 0o600),
        ):
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
            os.utime(path, ns=(10**18 + 123_456_789, 10**18 + 123_456_789))
        (self.path / "builds" / "one" / "link").symlink_to("src/Hello.py")
        (self.path / "envs" / "done" / "bin").mkdir()
        (self.path / "envs" / "done" / "bin" / "python").symlink_to("/nowhere/python3")
        (self.path / "envs" / "done" / "lib").chmod(0o555)


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


def made_home(path: Path, *, url: str = "", template: Path | None = None) -> Home:
    """
    Make one.

    Args:
        path: Where.
        url: Of its database, if that is elsewhere.
        template: An SQLite file with tables, which is moved there.
    """
    path.mkdir(mode=0o700)
    if template is not None:
        template.rename(path / "algorium.db")
    home = Home(path, url)
    asyncio.run(home.fill())
    return home


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """Say what is below a directory: kinds, modes, times, contents."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, directories, names in os.walk(root):
        for name in (*directories, *names):
            path = Path(folder, name)
            status = path.lstat()
            shown = os.fsencode(path.relative_to(root)).decode("latin-1")
            if path.is_symlink():
                found[shown] = ("link", os.readlink(path))
            elif path.is_dir():
                found[shown] = ("directory", oct(status.st_mode & 0o777))
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[shown] = ("file", oct(status.st_mode & 0o777), status.st_mtime_ns, digest)
    return found
