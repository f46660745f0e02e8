"""Files by data URI; directories are in `_directories.py`."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from algorium import _data_flow
from algorium._content import Content, sync_body
from algorium._copies import copy
from algorium._downloads import DownloadWish, download
from algorium._file_headers import Condition, FileStat, Part
from algorium._progress import Meter, ProgressCallback, counted
from algorium._readers import FileReader
from algorium._steps import PARALLEL_DEFAULT, SyncDriver
from algorium._transport import AsyncTransport, SyncTransport
from algorium._trees import Place
from algorium._uploads import UploadWish, put_bytes, put_pieces, upload
from algorium.wire.bodies import DataAcl, ReadAcl
from algorium.wire.uris import DataUri


def as_acl(acl: DataAcl | ReadAcl) -> DataAcl:
    """Return the access list for either way to write one."""
    return DataAcl.from_read(acl) if isinstance(acl, ReadAcl) else acl


def as_uri(place: object) -> DataUri:
    """
    Return the data URI of a file, a directory or a text.

    Raises:
        UriSyntaxError: A ValueError that names the column.
    """
    uri = getattr(place, "uri", place)
    return uri if isinstance(uri, DataUri) else DataUri.parse(str(uri))


def as_place(place: object) -> Place:
    """Return where a directory is: on the server, or at a local path."""
    uri = getattr(place, "uri", place)
    return uri if isinstance(uri, DataUri) else Path(cast("str | os.PathLike[str]", place))


def part_of(start: int, end: int | None) -> Part | None:
    """Return the part of a file from *start* to *end*; None for all of it."""
    return None if (start, end) == (0, None) else Part(start=start, end=end)


def download_wish(
    transport: SyncTransport | AsyncTransport,
    on_progress: ProgressCallback | None,
    *,
    verify: bool = True,
) -> DownloadWish:
    """Return how to download with this client."""
    return DownloadWish(verify=verify, retries_max=transport.retries_max, meter=Meter(on_progress))


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
        return self._transport.run(_data_flow.exists(self.uri, "file"))

    def stat(self) -> FileStat:
        """
        Ask for size, time, entity tag and digest of the file.

        Raises:
            PathNotFound: There is no such file.
        """
        return self._transport.run(_data_flow.stat(self.uri))[0]

    def put(
        self,
        content: Content,
        *,
        if_match: str = "",
        create_only: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> FileStat:
        """
        Write the file; whoever reads meanwhile gets the old bytes or the new ones, never a mixture.

        Args:
            content: Bytes, text (written as UTF-8), a file open in binary mode or pieces of bytes;
                the last two are sent as they are read, so they may be larger than memory. Of an
                open file goes what it has at this moment. Many bytes go in parts, side by side.
            if_match: Write only if the file has this `etag` still: nobody has written it meanwhile.
            create_only: Write only if there is no file here.
            on_progress: Called with a `Progress` each time some bytes were sent.

        Raises:
            PathNotFound: Its directory does not exist.
            NotAuthorized: It belongs to somebody else.
            ConditionFailed: The file is not as *if_match* or *create_only* demand.
            QuotaExceeded: Its owner may not store that much.
        """
        condition = Condition(if_match=if_match, create_only=create_only)
        body, body_bytes = sync_body(content)
        meter = Meter(on_progress)
        if isinstance(body, bytes):
            wish = UploadWish(condition=condition, meter=meter)
            return self._driver(PARALLEL_DEFAULT).run(put_bytes(body, self.uri, wish))
        if body_bytes is not None:
            meter.expect(body_bytes)
        pieces = counted(body, meter)
        return self._transport.run(put_pieces(self.uri, pieces, body_bytes, condition, meter))

    def put_file(
        self,
        path: str | os.PathLike[str],
        *,
        if_match: str = "",
        create_only: bool = False,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
        resume: bool = True,
    ) -> FileStat:
        """
        Write the file from a local one.

        A large file goes in parts, side by side. If that is cut off, for whatever reason, the same
        call goes on where it was: the server keeps the parts for some days. The file on the server
        appears, or changes, only when all have arrived and their digest is that of the local file.

        Args:
            path: The local file.
            if_match: Write only if the file has this `etag` still.
            create_only: Write only if there is no file here.
            on_progress: Called with a `Progress` each time some bytes were sent, from the thread
                that sends them, never twice at once.
            parallel: Parts to send at once.
            resume: Look for an upload that was cut off, and go on with it.

        Raises:
            OSError: The local file cannot be read.
            PathNotFound: The directory on the server does not exist.
            ConditionFailed: The file is not as *if_match* or *create_only* demand.
            ContentMismatch: The local file has changed while it was sent.
        """
        wish = UploadWish(
            condition=Condition(if_match=if_match, create_only=create_only),
            resume=resume,
            meter=Meter(on_progress),
        )
        return self._driver(parallel).run(upload(Path(path), self.uri, wish))

    def get(
        self, *, start: int = 0, end: int | None = None, if_match: str = "", verify: bool = True
    ) -> FileReader:
        """
        Open the file for reading; its bytes arrive as you take them.

        Args:
            start: First byte to read.
            end: Behind the last byte to read; None for the end of the file.
            if_match: Read only the version with this `etag`.
            verify: At its end, compare what was read with the server's digest, if it told one.

        Raises:
            PathNotFound: There is no such file.
            RangeNotSatisfiable: The file ends before *start*.
            ConditionFailed: It is another version.
        """
        part = part_of(start, end)
        response = self._transport.run(
            _data_flow.get(self.uri, is_streamed=True, part=part, if_match=if_match)
        )
        return FileReader(response, part=part, verify=verify)

    def get_file(
        self,
        path: str | os.PathLike[str],
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
        verify: bool = True,
    ) -> Path:
        """
        Download the file to a local one and return its path.

        The local file appears, or changes, only when everything has arrived and has the server's
        digest. A large file comes in parts, side by side, all of one version. If that is cut off,
        the same call goes on where it was: the parts wait in hidden files beside the new one.

        Args:
            path: The new file, or an existing directory to put it into under its own name.
            on_progress: Called with a `Progress` each time some bytes came, from the thread that
                takes them, never twice at once.
            parallel: Parts to fetch at once.
            verify: Compare with the server's digest, if it tells one.

        Raises:
            PathNotFound: There is no such file on the server.
            ContentMismatch: What arrived is not what the server has.
            OSError: The local file cannot be written.
        """
        wish = download_wish(self._transport, on_progress, verify=verify)
        return self._driver(parallel).run(download(self.uri, Path(path), wish))[0]

    def read(self, *, start: int = 0, end: int | None = None, verify: bool = True) -> bytes:
        """
        Return the whole file, or the part from *start* to *end*.

        Raises:
            PathNotFound: There is no such file.
            RangeNotSatisfiable: The file ends before *start*.
            ContentMismatch: What arrived is not what the server has.
        """
        return self._transport.run(
            _data_flow.read(self.uri, verify=verify, part=part_of(start, end))
        )

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

    def copy(
        self,
        to: "DataFile | DataUri | str",
        *,
        if_match: str = "",
        create_only: bool = False,
    ) -> "DataFile":
        """
        Copy the file to another place on the server, also to another data source; return the copy.

        The bytes do not pass through here, unless the server is too old for that.

        Args:
            to: The new file, or a URI of it.
            if_match: Only if the file there has this `etag`.
            create_only: Only if there is no file there.

        Raises:
            PathNotFound: There is no such file, or no directory for the copy.
            ConditionFailed: The file there is not as *if_match* or *create_only* demand.
        """
        return self._copy(to, Condition(if_match=if_match, create_only=create_only), is_move=False)

    def move(
        self,
        to: "DataFile | DataUri | str",
        *,
        if_match: str = "",
        create_only: bool = False,
    ) -> "DataFile":
        """
        Move the file to another place on the server, as `copy`, and return it.

        Within hosted data that is one step: the file is here or there, never at both or neither.
        """
        return self._copy(to, Condition(if_match=if_match, create_only=create_only), is_move=True)

    def _copy(
        self, to: "DataFile | DataUri | str", condition: Condition, *, is_move: bool
    ) -> "DataFile":
        target = as_uri(to)
        self._driver(1).run(copy(self.uri, target, condition=condition, is_move=is_move))
        return DataFile(self._transport, target)

    def delete(self, *, if_match: str = "") -> None:
        """
        Delete the file.

        Args:
            if_match: Only if it has this `etag` still.

        Raises:
            PathNotFound: There is no such file.
            ConditionFailed: It is another version.
        """
        self._transport.run(_data_flow.delete(self.uri, if_match=if_match))

    def _driver(self, parallel: int) -> SyncDriver:
        return SyncDriver(self._transport, width=parallel)
