"""
Checkpoints of the audit log: how far it went, noted outside the database.

Whoever can write the database can put an old copy of all of it back, and nothing in there would
tell. A line in `logs/audit-checkpoints.jsonl` in the home does, and so does the same in the
server's own log, which may be kept on another machine. Each line is sealed with the key of the
chain; all of them count, and of two about one entry the older one. Otherwise whoever puts a copy
back would only need the server to write as many entries again.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from algorium_server.domain.audit_chain import ChainHead, ChainKeys, checkpoint_seal, is_checkpoint
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import AUDIT_CHECKPOINT_FILE_BYTES_MAX, AUDIT_CHECKPOINT_S
from algorium_server.durable import flush_directory, write_file
from algorium_server.store import audit as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)


class _Line(msgspec.Struct):
    at: str
    number: int
    digest: str
    seal: str


class Checkpoints:
    """
    Makes checkpoints.

    Args:
        database: Where the log is.
        keys: What its chain is made with.
        home: Where the file is.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        keys: ChainKeys,
        home: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._keys = keys
        self._path = checkpoint_file(home)
        self._clock = clock
        self._newest = 0

    async def keep(self) -> None:
        """Make one whenever there are new entries, but not too often, until cancelled."""
        while True:
            await self.close()
            await asyncio.sleep(AUDIT_CHECKPOINT_S)

    async def close(self) -> None:
        """Make one now, if it is possible."""
        try:
            await self.make()
        except (AlgoriumError, OSError) as error:
            _log.warning("no checkpoint of the audit log could be made", error=str(error))

    async def make(self) -> None:
        """
        Make one, unless there is nothing new.

        Raises:
            Unavailable: The database does not answer.
            OSError: The file cannot be written.
        """
        async with self._database.reading() as connection:
            head = await rows.newest(connection)
        if head.number == self._newest:
            return
        line = _Line(
            at=self._clock().isoformat(timespec="seconds"),
            number=head.number,
            digest=head.digest.hex(),
            seal=checkpoint_seal(head.number, head.digest, self._keys),
        )
        await asyncio.to_thread(_append, self._path, msgspec.json.encode(line) + b"\n")
        self._newest = head.number
        _log.info("audit checkpoint", number=head.number, digest=head.digest.hex())


def checkpoint_file(home: Path) -> Path:
    """Return where the checkpoints of a home are."""
    return home / "logs" / "audit-checkpoints.jsonl"


def read_checkpoints(home: Path, keys: ChainKeys) -> dict[int, bytes]:
    """Return the digests that the checkpoints of a home know, by number; lines not ours are not."""
    try:
        text = checkpoint_file(home).read_bytes()
    except OSError:
        return {}
    known: dict[int, bytes] = {}
    for head in _heads(text, keys):
        known.setdefault(head.number, head.digest)
    return known


def _heads(text: bytes, keys: ChainKeys) -> Iterator[ChainHead]:
    for raw in text.splitlines():
        try:
            line = msgspec.json.decode(raw, type=_Line)
            digest = bytes.fromhex(line.digest)
        except (msgspec.DecodeError, ValueError):
            continue  # half a line, after a crash
        if is_checkpoint(line.number, digest, seal=line.seal, keys=keys):
            yield ChainHead(number=line.number, digest=digest)


def _append(path: Path, line: bytes) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flush_directory(path.parent.parent)
    if path.exists() and path.stat().st_size > AUDIT_CHECKPOINT_FILE_BYTES_MAX:
        write_file(path, line.decode())
        return
    is_new = not path.exists()
    with open(
        os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "rb+"
    ) as file:
        # Behind half a line, which a crash has left, the next one would be lost as well.
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        flush_directory(path.parent)
