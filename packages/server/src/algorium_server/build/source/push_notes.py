"""
Notes about pushes that were let in: a crash must not leave a commit that nobody builds.

A note is written before the branch moves, and removed once the build has been asked for. Of a push
that ends in between, it says what is left to do. Everything here blocks.
"""

import json
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from algorium_server.durable import flush_directory, write_file


@dataclass(frozen=True, slots=True, kw_only=True)
class PushNote:
    """
    What a push was about to bring.

    Attributes:
        note_id: Names the note.
        account_id: Who pushed.
        noted_at: Seconds since 1970.
    """

    note_id: str
    algorithm_id: str
    commit_sha: str
    account_id: str
    noted_at: float


class PushNotes:
    """The notes of all gateways of a home, one small file each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory."""
        self._directory.mkdir(parents=True, exist_ok=True)

    def write(self, *, algorithm_id: str, commit_sha: str, account_id: str) -> PushNote:
        """Note a push; it is on the disk when this returns."""
        note = PushNote(
            note_id=uuid.uuid4().hex,
            algorithm_id=algorithm_id,
            commit_sha=commit_sha,
            account_id=account_id,
            noted_at=time.time(),
        )
        write_file(self._path(note.note_id), json.dumps(asdict(note)))
        return note

    def remove(self, note: PushNote) -> None:
        """Forget a push: there is nothing left to do."""
        self._path(note.note_id).unlink(missing_ok=True)
        flush_directory(self._directory)

    def all(self) -> list[PushNote]:
        """Return all notes, oldest first; what cannot be read is passed over."""
        notes = []
        for path in self._directory.glob("*.json"):
            with suppress(OSError, ValueError, TypeError):
                notes.append(PushNote(**json.loads(path.read_text(encoding="utf-8"))))
        return sorted(notes, key=lambda note: note.noted_at)

    def _path(self, note_id: str) -> Path:
        return self._directory / f"{note_id}.json"
