"""Local files that appear whole or not at all."""

import os
import secrets
from pathlib import Path
from typing import BinaryIO, Self


class Download:
    """
    A local file in the making: bytes go into a file beside it, which takes its name at the end.

    An error before the end of the `with` block leaves what was there before.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            self.path /= name
        # In the same directory, hence on the same disk: only there a rename is one step.
        self._part = self.path.with_name(f".{self.path.name[:200]}.{secrets.token_hex(6)}.part")
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = self._part.open("xb")
        return self

    def write(self, piece: bytes) -> None:
        """Append *piece*."""
        assert self._file is not None
        self._file.write(piece)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        assert self._file is not None
        try:
            self._file.close()
            if kind is None:
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)
