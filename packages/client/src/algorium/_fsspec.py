"""
The platform's files for all that opens files through fsspec: pandas, Dask, PyArrow and others.

    pandas.read_csv("data://.my/tables/people.csv")
    fsspec.open("algorium://s3+archive://bucket/key")

Installed as `algorium[fsspec]`, it is found by fsspec itself: nothing has to be imported. Hosted
data goes by its own URIs. `s3://` and `gs://` belong to others there, so connected sources are
reached with `algorium://` before their URI; hosted data may be, too.

fsspec's own meaning of `data:`, a file within the address (RFC 2397), has no slashes after the
colon and goes on working: `data:text/plain,hello`.
"""

import os
import weakref
from typing import Any, Final

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.implementations.data import DataFileSystem
from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from algorium import _data_flow
from algorium._client import Algorium
from algorium._file_headers import FileStat
from algorium._fsspec_files import PREFIX, Reader, Writer, translated, uri_of
from algorium._progress import Progress, ProgressCallback
from algorium.wire.uris import DataUri


class AlgoriumFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """
    Files and directories of an Algorium server.

    Paths are data URIs without `data://`, or with the connector before them: `.my/photos/a.jpg`,
    `s3+archive://bucket/key`.

    Args:
        api_key: As for `Algorium`, and so are all others; left out, the environment counts.
    """

    protocol = ("data", "algorium")
    root_marker = ""

    def __init__(self, api_key: str | None = None, **options: Any) -> None:
        known = {name: options.pop(name) for name in list(options) if name in _CLIENT_OPTIONS}
        super().__init__(api_key=api_key, **known, **options)
        self._options = {"api_key": api_key, **known}
        self._client: Algorium | None = None
        self._process = 0

    @property
    def client(self) -> Algorium:
        """The client that does the work; after a fork, one of its own."""
        if self._client is None or self._process != os.getpid():
            self._client, self._process = Algorium(**self._options), os.getpid()
            weakref.finalize(self, self._client.close)
        return self._client

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = stringify_path(path)
        return text if _is_inline(text) else _path(uri_of(text))

    def unstrip_protocol(self, name: str) -> str:
        """Return the URI by which fsspec finds this path again."""
        if _is_inline(name):
            return name
        uri = uri_of(name)
        return str(uri) if uri.protocol == "data" else f"{PREFIX}{uri}"

    @classmethod
    def _parent(cls, path: str) -> str:
        return _path(uri_of(path).parent)

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """Return name, type and size of a file or directory, and what else is known."""
        if _is_inline(path):
            return dict(DataFileSystem().info(path))
        uri = uri_of(path)
        with translated(path):
            kind, stat = self.client._transport.run(_data_flow.look(uri))
        return _info(uri, stat if kind == "file" else None)

    def exists(self, path: str, **_options: Any) -> bool:
        """Tell whether there is a file or directory; that it cannot be told is an error."""
        try:
            self.info(self._strip_protocol(path))
        except FileNotFoundError:
            return False
        return True

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        """List a directory; a file is a list of itself."""
        uri = uri_of(path)
        try:
            with translated(path):
                entries = [
                    _info(entry.uri, _listed(entry)) for entry in self.client.dir(uri).list()
                ]
        except FileNotFoundError:
            entries = [self.info(path)]
            if entries[0]["type"] != "file":
                raise
        return entries if detail else [entry["name"] for entry in entries]

    def created(self, path: str) -> Any:
        """Return when a file was written; the server keeps no other time."""
        return self.modified(path)

    def modified(self, path: str) -> Any:
        """Return when a file was last written."""
        return self.info(path).get("modified")

    def ukey(self, path: str) -> str:
        """Return what changes whenever the file does."""
        info = self.info(path)
        return str(info.get("etag") or f"{info['size']} {info.get('modified')}")

    def mkdir(self, path: str, create_parents: bool = True, **_options: Any) -> None:
        """Create a directory."""
        uri = uri_of(path)
        with translated(path):
            if create_parents:
                self._make_parents(uri)
            self.client.dir(uri).create()

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """
        Create a directory, and those above it.

        fsspec asks for this before each file that is written. Connected sources need no directory
        for that, so there *exist_ok* leaves it at what is there.
        """
        uri = uri_of(path)
        if _always_exists(uri) or (exist_ok and uri.protocol != "data"):
            return
        with translated(path):
            self._make_parents(uri)
            self.client.dir(uri).create(exist_ok=exist_ok)

    def _make_parents(self, uri: DataUri) -> None:
        above = uri.parent
        if above.segments and not _always_exists(above) and not self.client.dir(above).exists():
            self._make_parents(above)
            self.client.dir(above).create(exist_ok=True)

    def rmdir(self, path: str) -> None:
        """Delete an empty directory."""
        with translated(path):
            self.client.dir(uri_of(path)).delete(force=False)

    def _rm(self, path: str) -> None:
        with translated(path):
            self.client.file(uri_of(path)).delete()

    def rm_file(self, path: str) -> None:
        """Delete a file."""
        self._rm(path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete files and, recursively, directories."""
        if maxdepth is not None:
            super().rm(path, recursive=recursive, maxdepth=maxdepth)
            return
        for each in self.expand_path(path):
            with translated(each):
                uri = uri_of(each)
                if recursive and self.client.dir(uri).exists():
                    self.client.dir(uri).delete(force=True)
                else:
                    self.client.file(uri).delete()

    def cp_file(self, path1: str, path2: str, **_options: Any) -> None:
        """Copy a file within the server, or make the directory that is to be copied."""
        with translated(path1):
            kind, _ = self.client._transport.run(_data_flow.look(uri_of(path1)))
            if kind == "directory":
                self.client.dir(uri_of(path2)).create(exist_ok=True)
            else:
                self.client.file(uri_of(path1)).copy(uri_of(path2))

    def mv(self, path1: str, path2: str, recursive: bool = False, **options: Any) -> None:
        """Move a file within the server, in one step where that is possible."""
        if recursive or not isinstance(path1, str) or _has_magic(path1):
            super().mv(path1, path2, recursive=recursive, **options)
            return
        with translated(path1):
            self.client.file(uri_of(path1)).move(uri_of(path2))

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_options: Any
    ) -> bytes:
        """Return the bytes of a file, or of a part of it; negative places count from its end."""
        if _is_inline(path):
            return bytes(DataFileSystem().cat_file(path, start=start, end=end))
        if (start or 0) < 0 or (end is not None and end < 0):
            size = int(self.info(path)["size"])
            start = max(size + start, 0) if start is not None and start < 0 else start
            end = max(size + end, 0) if end is not None and end < 0 else end
        first = start or 0
        if end is not None and end <= first:
            return b""
        with translated(path):
            return self.client.file(uri_of(path)).read(start=first, end=end)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        """Write bytes into a file."""
        with translated(path):
            self.client.file(uri_of(path)).put(value, create_only=mode == "create")

    def touch(self, path: str, truncate: bool = True, **_options: Any) -> None:
        """Make an empty file, or empty one."""
        if not truncate and self.exists(path):
            raise NotImplementedError("the time of a file cannot be set")
        self.pipe_file(path, b"")

    def get_file(
        self, rpath: str, lpath: Any, callback: Any = DEFAULT_CALLBACK, **_options: Any
    ) -> None:
        """Download a file, in parts if it is large."""
        if not isinstance(lpath, str | os.PathLike):
            super().get_file(rpath, lpath, callback=callback)
        elif self.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
            with translated(rpath):
                self.client.file(uri_of(rpath)).get_file(lpath, on_progress=_told(callback))

    def put_file(
        self,
        lpath: Any,
        rpath: str,
        callback: Any = DEFAULT_CALLBACK,
        mode: str = "overwrite",
        **_options: Any,
    ) -> None:
        """Upload a file, in parts if it is large."""
        if os.path.isdir(lpath):
            self.makedirs(rpath, exist_ok=True)
            return
        with translated(rpath):
            self.client.file(uri_of(rpath)).put_file(
                lpath, create_only=mode == "create", on_progress=_told(callback)
            )

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: Any = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **options: Any,
    ) -> Any:
        if _is_inline(path):
            return DataFileSystem()._open(path, mode=mode)
        if mode == "rb":
            return Reader(
                self,
                path,
                mode,
                block_size or "default",
                cache_options=cache_options,
                **options,
            )
        if mode not in {"wb", "xb", "ab"}:
            raise ValueError(f"files cannot be opened in mode {mode!r}")
        with translated(path):
            return Writer(self, path, mode, is_committed=autocommit)


_CLIENT_OPTIONS: Final = frozenset(
    {
        "api_address",
        "profile",
        "bearer_token",
        "ca_cert",
        "proxy",
        "timeout_s",
        "retries_max",
        "connections_max",
    }
)


def _is_inline(text: str) -> bool:
    """Tell whether it is an address that holds its file, of RFC 2397, and no place of ours."""
    return text.startswith("data:") and not text.startswith("data:/")


def _path(uri: DataUri) -> str:
    return "/".join(uri.segments) if uri.protocol == "data" else str(uri)


def _always_exists(uri: DataUri) -> bool:
    return uri.protocol == "data" and len(uri.segments) <= 1


def _has_magic(path: str) -> bool:
    return bool(set("*?[") & set(path))


def _info(uri: DataUri, stat: FileStat | None) -> dict[str, Any]:
    if stat is None:
        return {"name": _path(uri), "size": 0, "type": "directory"}
    return {
        "name": _path(uri),
        "size": stat.size_bytes,
        "type": "file",
        "modified": stat.modified_at,
        "etag": stat.etag,
        "md5": stat.md5,
    }


def _listed(entry: Any) -> FileStat | None:
    if hasattr(entry, "list"):
        return None
    return FileStat(size_bytes=entry.size_bytes, modified_at=entry.modified_at)


def _told(callback: Any) -> ProgressCallback:
    def tell(progress: Progress) -> None:
        if progress.bytes_total is not None:
            callback.set_size(progress.bytes_total)
        callback.absolute_update(progress.bytes_done)

    return tell
