"""Files and directories by data URI."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from algorium import _flow
from algorium._content import Content, sync_body
from algorium._downloads import Download
from algorium._readers import FileReader
from algorium._transport import SyncTransport
from algorium.wire.bodies import DataAcl, Listing, ReadAcl
from algorium.wire.uris import DataUri


def as_acl(acl: DataAcl | ReadAcl) -> DataAcl:
    """Return the access list for either way to write one."""
    return DataAcl.from_read(acl) if isinstance(acl, ReadAcl) else acl


class DataFile:
    """
    A file by its data URI; it need not exist. See `Algorium.file`.

    Attributes:
        uri: Where it is.
        size_bytes: Its size when it was listed; None if this does not come from a listing.
        modified_at: When it was last written, likewise.
    """

    __slots__ = ("_transport", "modified_at", "size_bytes", "uri")

    def __init__(
        self,
        transport: SyncTransport,
        uri: DataUri,
        *,
        size_bytes: int | None = None,
        modified_at: datetime | None = None,
    ) -> None:
        self._transport = transport
        self.uri = uri
        self.size_bytes = size_bytes
        self.modified_at = modified_at

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uri}>"

    def __str__(self) -> str:
        return str(self.uri)

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return self.uri.name

    def exists(self) -> bool:
        """Tell whether there is a file here that you may read."""
        return self._transport.run(_flow.exists(self.uri, "file"))

    def put(self, content: Content) -> None:
        """
        Write the file; whoever reads meanwhile gets the old bytes or the new ones, never a mixture.

        Args:
            content: Bytes, text (written as UTF-8), a file open in binary mode or pieces of bytes;
                the last two are sent as they are read, so they may be larger than memory.

        Raises:
            PathNotFound: Its directory does not exist.
            NotAuthorized: It belongs to somebody else.
        """
        body, body_bytes = sync_body(content)
        self._transport.run(_flow.put(self.uri, body, body_bytes))

    def put_file(self, path: str | os.PathLike[str]) -> None:
        """
        Write the file from a local one.

        Raises:
            OSError: The local file cannot be read.
            PathNotFound: The directory on the server does not exist.
        """
        with Path(path).open("rb") as file:
            self.put(file)

    def get(self) -> FileReader:
        """
        Open the file for reading; its bytes arrive as you take them.

        Raises:
            PathNotFound: There is no such file.
        """
        return FileReader(self._transport.run(_flow.get(self.uri, is_streamed=True)))

    def get_file(self, path: str | os.PathLike[str]) -> Path:
        """
        Download the file to a local one and return its path.

        The local file appears, or changes, only when everything has arrived.

        Args:
            path: The new file, or an existing directory to put it into under its own name.

        Raises:
            PathNotFound: There is no such file on the server.
            OSError: The local file cannot be written.
        """
        with self.get() as reader, Download(path, name=self.name) as download:
            for piece in reader.chunks():
                download.write(piece)
        return download.path

    def read(self) -> bytes:
        """Return the whole file."""
        return self._transport.run(_flow.get(self.uri, is_streamed=False)).body

    def read_text(self, encoding: str = "utf-8") -> str:
        """
        Return the whole file as text.

        Raises:
            UnicodeDecodeError: It is not text in this *encoding*.
        """
        return self.read().decode(encoding)

    def read_json(self) -> Any:
        """
        Return the whole file as JSON.

        Raises:
            json.JSONDecodeError: It is not JSON.
        """
        return json.loads(self.read())

    def delete(self) -> None:
        """
        Delete the file.

        Raises:
            PathNotFound: There is no such file.
        """
        self._transport.run(_flow.delete(self.uri))


class DataDirectory:
    """
    A directory by its data URI; it need not exist. See `Algorium.dir`.

    Attributes:
        uri: Where it is.
    """

    __slots__ = ("_transport", "uri")

    def __init__(self, transport: SyncTransport, uri: DataUri) -> None:
        self._transport = transport
        self.uri = uri

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.uri}>"

    def __str__(self) -> str:
        return str(self.uri)

    @property
    def name(self) -> str:
        """The last part of the URI, empty at the root."""
        return self.uri.name

    def file(self, name: str) -> DataFile:
        """Return the file called *name* in here."""
        return DataFile(self._transport, self.uri.child(name))

    def dir(self, name: str) -> "DataDirectory":
        """Return the directory called *name* in here."""
        return DataDirectory(self._transport, self.uri.child(name))

    def exists(self) -> bool:
        """Tell whether there is a directory here that you may read."""
        return self._transport.run(_flow.exists(self.uri, "directory"))

    def create(self, acl: DataAcl | ReadAcl | None = None, *, exist_ok: bool = False) -> None:
        """
        Create the directory.

        Args:
            acl: Who may read it; None means the owner's own algorithms.
            exist_ok: Be content with one that exists already; its access list stays as it is.

        Raises:
            AlreadyExists: It exists, and *exist_ok* is false.
            InvalidInput: The name is not allowed.
        """
        wanted = None if acl is None else as_acl(acl)
        self._transport.run(_flow.create(self.uri, wanted, exist_ok=exist_ok))

    def list(self) -> Iterator["DataFile | DataDirectory"]:
        """
        Go through directories and files in here, directories first, each sorted by name.

        Pages are fetched as you go on, a thousand entries each.

        Raises:
            PathNotFound: There is no such directory.
        """
        for page in self._pages():
            for folder in page.folders:
                yield self.dir(folder)
            for entry in page.files:
                yield DataFile(
                    self._transport,
                    self.uri.child(entry.filename),
                    size_bytes=entry.size,
                    modified_at=entry.last_modified,
                )

    def files(self) -> Iterator[DataFile]:
        """Go through the files in here, as `list`."""
        return (entry for entry in self.list() if isinstance(entry, DataFile))

    def dirs(self) -> Iterator["DataDirectory"]:
        """Go through the directories in here, as `list`."""
        return (entry for entry in self.list() if isinstance(entry, DataDirectory))

    def _pages(self) -> Iterator[Listing]:
        page = self._transport.run(_flow.page(self.uri, ""))
        yield page
        while page.marker:
            page = self._transport.run(_flow.page(self.uri, page.marker))
            yield page

    def acl(self) -> DataAcl | None:
        """Return who may read; None for places without access lists."""
        return self._transport.run(_flow.acl(self.uri))

    def set_acl(self, acl: DataAcl | ReadAcl) -> None:
        """
        Change who may read.

        Raises:
            NotAuthorized: It belongs to somebody else.
            InvalidInput, InvalidRequest: Places of this kind have no access lists.
        """
        self._transport.run(_flow.set_acl(self.uri, as_acl(acl)))

    def delete(self, *, force: bool = False) -> int:
        """
        Delete the directory and return how many entries went, itself included.

        Args:
            force: Delete the files in it as well.

        Raises:
            InvalidInput, InvalidRequest: It is not empty, and *force* is false.
            PathNotFound: There is no such directory.
            PartlyDeleted: Some entries could not be deleted.
        """
        return self._transport.run(_flow.delete(self.uri, force=force))
