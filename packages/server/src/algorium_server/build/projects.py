"""
From a checked-out project in another language than Python to a tree that slots can run.

    tree        checked out, changed by the installation, settled; never changed again
    work/tree   a copy of the result, where the author's code is tried out and tested

Source: wire specification of the runtime, "Builds".
"""

import asyncio
import shutil

from algorium_server.build import trees
from algorium_server.build.languages import Row
from algorium_server.build.recipes.workshop import OURS, Workshop


async def make(row: Row, shop: Workshop) -> tuple[str, int]:
    """
    Install, load and test a project.

    Args:
        row: Of its language.
        shop: Its tree and tools.

    Returns:
        The entry, and the size of the tree in bytes.

    Raises:
        BuildFailed: Any of it fails.
    """
    await asyncio.to_thread(shutil.rmtree, shop.tree / OURS, True)
    shop.work_dir.mkdir(parents=True, exist_ok=True)
    entry = row.find_entry(shop)
    entry = await row.install(shop, entry)
    size_bytes = await asyncio.to_thread(trees.settle, shop.tree)
    await asyncio.to_thread(trees.copy, shop.tree, shop.copy)
    shop.begin(f"loading {entry}")
    await row.check(shop, entry)
    await row.test(shop)
    return entry, size_bytes
