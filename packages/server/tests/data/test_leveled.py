"""Pages of levels: folders before files, all in order, and no level read over and over."""

import asyncio
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorium_server.data.connector import Entry
from algorium_server.data.leveled import Levels
from algorium_server.data.levels import Level, name_below
from algorium_server.domain.errors import PathNotFound

# What keys are sorted by is not what names are sorted by: these lie on both sides of a slash.
LETTERS = "ab-. !0"


@dataclass
class Store:
    """A bucket in memory that lists as stores do: keys in order, each folder once, in parts."""

    keys: list[str]
    part: int
    protocol: str = "s3"
    has_buckets: bool = True
    requests: int = field(default=0)

    async def level(self, bucket, /, prefix, *, token="", limit=1000):
        self.requests += 1
        entries = {}
        for key in sorted(key for key in self.keys if key.startswith(prefix)):
            name, slash, _ = key.removeprefix(prefix).partition("/")
            entries.setdefault(f"{prefix}{name}{slash}", None)
        behind = [key for key in entries if key > token]
        shown = behind[: min(limit, self.part)]
        return Level(
            folders=tuple(n for k in shown if k.endswith("/") and (n := name_below(prefix, k))),
            files=tuple(
                Entry(name=n, is_directory=False)
                for k in shown
                if not k.endswith("/") and (n := name_below(prefix, k))
            ),
            is_marked=prefix in shown,
            token=shown[-1] if len(behind) > len(shown) else "",
        )


def listed(store, prefix="p/", *, entries_max=5):
    async def check():
        levels = Levels(store, entries_max=entries_max)
        folders, files, pages, marker = [], [], 0, ""
        while True:
            page = await levels.page("bucket", prefix, marker=marker)
            assert not (page.folders and files)
            assert len(page.folders) + len(page.files) == entries_max or not page.marker
            folders += page.folders
            files += [entry.name for entry in page.files]
            pages, marker = pages + 1, page.marker
            if not marker:
                return folders, files, pages

    return asyncio.run(check())


@settings(max_examples=60, deadline=None)
@given(
    folders=st.sets(st.text(LETTERS, min_size=1, max_size=4), max_size=40),
    files=st.sets(st.text(LETTERS, min_size=1, max_size=4), max_size=20),
    part=st.integers(1, 7),
)
def test_every_entry_is_listed_once_and_in_order(folders, files, part):
    folders, files = folders - {".", ".."}, files - {".", ".."}
    keys = ["p/", *(f"p/{name}/x" for name in folders), *(f"p/{name}" for name in files)]

    found = listed(Store(keys, part))

    assert found[:2] == (sorted(folders), sorted(files))


@pytest.mark.parametrize(
    "names",
    [
        [f"{n:05d}" for n in range(2000)],
        [f"day-{n:05d}" for n in range(2000)] + ["day"],
        ["a" + "-" * n for n in range(300)],
    ],
    ids=["plain", "dashed", "doubtful"],
)
def test_a_long_level_is_not_read_again_for_every_page(names):
    names = random.Random(1).sample(names, len(names))
    keys = [*(f"p/{name}/x" for name in names), *(f"p/{name}" for name in names)]
    store = Store(keys, part=50)

    folders, files, pages = listed(store, entries_max=50)

    assert (folders, files) == (sorted(names), sorted(names))
    parts = 2 * len(names) // 50
    assert store.requests <= 3 * (parts + pages)


def test_a_level_without_anything_is_not_there():
    with pytest.raises(PathNotFound):
        listed(Store(["q/x"], part=5))

    assert listed(Store([], part=5), prefix="") == ([], [], 1)
