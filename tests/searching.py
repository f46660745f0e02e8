"""What lies below a home, searched for what must not."""

import os
from pathlib import Path


def files_holding(home: Path, *texts: str) -> list[Path]:
    """Return the files below a home that hold one of some texts, while its server lives on."""
    wanted = [text.encode() for text in texts]
    read: set[int] = set()
    found = []
    for path in (Path(folder, name) for folder, _, names in os.walk(home) for name in names):
        try:
            number = path.lstat().st_ino
            # Environments link to what the cache holds: each file is read once.
            if path.is_symlink() or not path.is_file() or number in read:
                continue
            content = path.read_bytes()
        except FileNotFoundError:  # a journal, say
            continue
        read.add(number)
        if any(map(content.__contains__, wanted)):
            found.append(path)
    return found
