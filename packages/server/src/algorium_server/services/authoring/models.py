"""
Model files of frozen manifests: fetched once for all slots of an algorithm's owner.

A slot asks for a model file as for any other, over the Data API, with the rights of whoever it acts
for. Before anything is read, the source is asked what is there, with exactly those rights: who may
not read the file does not get it from the cache either. If it is still the file that the freeze
file names, by its MD5, the bytes come from this machine's disk; if not, they come from the source,
and the kit in the slot sees that they are others.

Cached files belong to an algorithm's owner. MD5 tells files apart that nobody made on purpose; of
two that somebody did make, the owner would have made both.

Hosted data whose bytes are on this machine's disk anyway are not cached.

Source: wire specification, "Model manifest"; of the runtime, "ADK semantics".
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from algorium.wire.uris import DataUri, UriSyntaxError
from algorium_server.data.connector import Entry, OnDisk, OpenFile
from algorium_server.data.models import ModelCache
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    MANIFEST_BYTES_MAX,
    MANIFESTS_KEPT_MAX,
    MODEL_CACHED_BYTES_MIN,
)
from algorium_server.services.files.data import Listing
from algorium_server.telemetry import logger

FREEZE: Final = "model_manifest.json.freeze"

_log = logger(__name__)


class Files(Protocol):
    """What is asked of the Data API: `services.data`."""

    async def stat(self, principal: Principal, uri: DataUri) -> Entry:
        """Tell what is there, if the caller may read it."""

    async def get(self, principal: Principal, uri: DataUri) -> Listing | OpenFile:
        """Open a file."""


class Models:
    """
    Opens model files for slots.

    Args:
        data: Finds files, with the rights of who asks.
        cache: Keeps them.
        builds_dir: Where trees of builds are, by build id.
    """

    def __init__(self, data: Files, cache: ModelCache, *, builds_dir: Path) -> None:
        self._data = data
        self._cache = cache
        self._builds_dir = builds_dir
        self._manifests: OrderedDict[str, Mapping[str, str]] = OrderedDict()
        self._fetching: dict[str, asyncio.Lock] = {}

    async def open(self, principal: Principal, uri: DataUri) -> OpenFile | None:
        """
        Open a file that the freeze file of the asking algorithm names; None for all others.

        Raises:
            AlgoriumError: What the source says when the file cannot be read, as ever.
        """
        acting = principal.acting
        if acting is None or not acting.build_id:
            return None
        md5 = (await self._manifest(acting.build_id)).get(str(uri))
        if md5 is None:
            return None
        entry = await self._data.stat(principal, uri)
        is_other = bool(entry.md5) and entry.md5 != md5
        if entry.is_directory or is_other or entry.size_bytes < MODEL_CACHED_BYTES_MIN:
            return None
        name = _name(acting.owner_id, principal, uri, entry, md5)
        lock = self._fetching.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                return await self._open(principal, uri, entry, name=name, md5=md5)
        finally:
            if not lock.locked():
                self._fetching.pop(name, None)

    async def _open(
        self, principal: Principal, uri: DataUri, entry: Entry, *, name: str, md5: str
    ) -> OpenFile | None:
        cached = await self._cache.open(name, entry)
        if cached is not None:
            return cached
        found = await self._data.get(principal, uri)
        if isinstance(found, Listing):
            return None
        is_here = isinstance(found, OnDisk) and found.region is not None
        if is_here or found.size_bytes < MODEL_CACHED_BYTES_MIN:
            return found
        try:
            is_here = await self._cache.add(name, found, md5=md5)
        except AlgoriumError as error:
            _log.warning("a model file was not cached", uri=str(uri), reason=error.message)
            is_here = False
        finally:
            await found.close()
        return await self._cache.open(name, entry) if is_here else None

    async def _manifest(self, build_id: str) -> Mapping[str, str]:
        """Return the MD5 of each file that a build's freeze file names, by URI."""
        known = self._manifests.get(build_id)
        if known is None:
            known = await asyncio.to_thread(_read, self._builds_dir / build_id / FREEZE)
            if len(self._manifests) >= MANIFESTS_KEPT_MAX:
                self._manifests.popitem(last=False)
            self._manifests[build_id] = known
        return known


def _name(owner_id: str, principal: Principal, uri: DataUri, entry: Entry, md5: str) -> str:
    """Return under which name a file is kept."""
    if entry.md5:
        return f"{owner_id} {md5} {entry.size_bytes}"
    # The source does not say what it has. The same URI is another place for other accounts.
    account_id = principal.account.account_id
    return f"{owner_id} {account_id} {uri} {entry.etag} {entry.size_bytes} {md5}"


def _read(path: Path) -> Mapping[str, str]:
    """Read a freeze file; what is wrong with one is the kit's to say."""
    try:
        with path.open("rb") as file:
            manifest = json.loads(file.read(MANIFEST_BYTES_MAX))
        return {
            str(DataUri.parse(each["source_uri"])): each["md5_checksum"].lower()
            for kind in ("required_files", "optional_files")
            for each in manifest.get(kind, ())
            if isinstance(each.get("md5_checksum"), str)
        }
    except (
        OSError,
        ValueError,
        UriSyntaxError,
        AttributeError,
        KeyError,
        TypeError,
        RecursionError,
    ):
        return {}
