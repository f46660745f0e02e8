"""Files on the server, and local ones in the same clothes."""

import contextlib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from algorium._content import FileSpan
from algorium._values import to_json
from algorium.compat.answers import Answer, RefusedDownload
from algorium.compat.data import DataObject, DataObjectType
from algorium.compat.errors import DataApiError, raiseDataApiError
from algorium.compat.util import getParentAndBase

if TYPE_CHECKING:
    from algorium.compat.client import Client


class DataFile(DataObject):
    """
    A file on the server.

    Attributes:
        path: Without `data://`.
        size: In bytes, if it comes from a listing; else None.
        last_modified: UTC and without a zone, if it comes from a listing; else None.
    """

    def __init__(self, client: "Client", dataUrl: str) -> None:  # noqa: N803 - the old client's
        super().__init__(DataObjectType.file)
        self.client = client
        self.path = re.sub(r"^data://|^/", "", dataUrl)
        self.url = f"/v1/data/{self.path}"
        self.last_modified: datetime | None = None
        self.size: int | None = None

    def set_attributes(self, attributes: dict[str, Any]) -> None:
        """Take over what a listing says."""
        moment = datetime.fromisoformat(attributes["last_modified"])
        self.last_modified = moment.replace(tzinfo=None)
        self.size = attributes["size"]

    def get(self) -> Answer:
        """Return the answer to a download, whatever it is."""
        return self.client.getHelper(self.url)

    def getFile(self, as_path: bool = False) -> Any:  # noqa: N802 - the old client's, like the rest
        """
        Download it into a new local file, which stays.

        Args:
            as_path: Return where that is, instead of the file opened for reading text.

        Raises:
            DataApiError: There is none, or none for you.
        """
        descriptor, name = tempfile.mkstemp()
        try:
            with open(descriptor, "wb") as file:
                for piece in self.pieces():
                    file.write(piece)
        except BaseException:
            Path(name).unlink()
            raise
        return name if as_path else open(name)

    def getAsZip(self) -> str:  # noqa: N802
        """Download a zip file and unpack it; return where its only file or all of it is."""
        packed = self.getFile(as_path=True)
        place = tempfile.mkdtemp()
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(place)
            names = archive.namelist()
        Path(packed).unlink()
        return str(Path(place) / names[0]) if len(names) == 1 else place

    def getName(self) -> str:  # noqa: N802
        """Return the last segment of its path."""
        return getParentAndBase(self.path)[1]

    def getBytes(self) -> bytes:  # noqa: N802
        """
        Return what is in it.

        Raises:
            DataApiError: There is none, or none for you.
        """
        return b"".join(self.pieces())

    def getString(self) -> str:  # noqa: N802
        """Return it as text; raises as `getBytes`."""
        return self.getBytes().decode("utf-8", "replace")

    def getJson(self) -> Any:  # noqa: N802
        """Return it as JSON; raises as `getBytes`, and ValueError if it is none."""
        return json.loads(self.getBytes())

    def getNumpy(self) -> Any:  # noqa: N802
        """Return a file of JSON as an array of numpy; raises as `getJson`."""
        try:
            import numpy  # noqa: PLC0415 - only for whoever asks for it
        except ImportError as error:
            raise DataApiError("getNumpy needs numpy: install it") from error
        return numpy.array(self.getJson())

    def exists(self) -> bool:
        """Return whether there is one."""
        return self.existsWithError()[0]

    def existsWithError(self) -> tuple[bool, str]:  # noqa: N802
        """Return whether there is one, and what the server says if not."""
        answer = self.client.headHelper(self.url)
        return answer.status_code == 200, answer.error_message

    def put(self, data: str | bytes) -> Self:
        """
        Write text or bytes into it.

        Raises:
            AlgorithmException: It is refused.
            TypeError: *data* is neither.
        """
        if isinstance(data, str):
            data = data.encode()
        if not isinstance(data, bytes):
            raise TypeError("Must put strings or binary data. Use putJson instead")
        return self._put(data)

    def putJson(self, data: Any) -> Self:  # noqa: N802
        """Write a value into it as JSON; raises as `put`."""
        try:
            text = json.dumps(data)  # the same bytes as the old client's
        except TypeError:
            text = to_json(data)  # what that one could not write
        return self._put(text.encode())

    def putFile(self, path: str) -> Self:  # noqa: N802
        """Write a local file into it; raises as `put`."""
        local = Path(path)
        return self._put(FileSpan(path=local, start=0, size_bytes=local.stat().st_size))

    def putNumpy(self, array: Any) -> Self:  # noqa: N802
        """Write an array of numpy into it as JSON; raises as `put`."""
        return self.putJson(array)

    def putAsZip(self, path: str) -> Self:  # noqa: N802
        """Write a local file, or a directory, into it as a zip file; raises as `put`."""
        source = Path(path)
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed.zip"
            with zipfile.ZipFile(packed, "w") as archive:
                if source.is_dir():
                    for each in sorted(source.rglob("*")):
                        if each.is_file():
                            archive.write(each, each.relative_to(source))
                else:
                    archive.write(source)
            return self.putFile(str(packed))

    def delete(self) -> bool:
        """
        Delete it.

        Raises:
            DataApiError: It cannot be.
        """
        result = self.client.deleteHelper(self.url)
        if isinstance(result, dict) and "error" in result:
            raise raiseDataApiError(result)
        return True

    def _put(self, content: Any) -> Self:
        result = self.client.putHelper(self.url, content)
        if isinstance(result, dict) and "error" in result:
            raise raiseDataApiError(result)
        return self

    def pieces(self) -> Iterator[bytes]:
        """Download it piece by piece; raises as `getBytes`."""
        try:
            yield from self.client.pieces(self.url)
        except RefusedDownload as error:
            raise DataApiError(f"unable to get file {self.path} - {error}") from error


class AdvancedDataFile(DataFile):
    """
    A file on the server that can also be read like an open file: it is downloaded for that.

    Args:
        cleanup: Whether the download is deleted with this object.
    """

    def __init__(self, client: "Client", dataUrl: str, cleanup: bool = True) -> None:  # noqa: N803
        self.cleanup = cleanup
        self.local_file: IO[str] | None = None
        super().__init__(client, dataUrl)

    def __del__(self) -> None:
        if (local := getattr(self, "local_file", None)) is not None:
            local.close()
            if self.cleanup:
                with contextlib.suppress(OSError):
                    Path(local.name).unlink()

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened())

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that one can go to and fro in it."""
        return True

    def writable(self) -> bool:
        """Return that it is written by `put` only."""
        return False

    def read(self, size: int | None = None) -> str:
        """Read so many characters, or the rest."""
        return self._opened().read(-1 if size is None else size)

    def readline(self, size: int | None = None) -> str:
        """Read a line."""
        return self._opened().readline(-1 if size is None else size)

    def readlines(self, hint: int | None = None) -> list[str]:
        """Read lines."""
        return self._opened().readlines(-1 if hint is None else hint)

    def tell(self) -> int:
        """Return where reading goes on."""
        return self._opened().tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere else."""
        return self._opened().seek(offset, whence)

    def _opened(self) -> IO[str]:
        if self.local_file is None:
            self.local_file = self.getFile()
        return self.local_file


class LocalDataFile:
    """A local file, by its `file://` URI."""

    def __init__(self, client: "Client", filePath: str) -> None:  # noqa: N803
        self.client = client
        self.path = filePath.replace("file://", "")
        self.url = f"/v1/data/{self.path}"
        self.last_modified: datetime | None = None
        self.size: int | None = None

    def getFile(self) -> IO[str]:  # noqa: N802
        """Return it opened for reading text."""
        self._check()
        return open(self.path)

    def getName(self) -> str:  # noqa: N802
        """Return the last segment of its path."""
        return getParentAndBase(self.path)[1]

    def getBytes(self) -> bytes:  # noqa: N802
        """Return what is in it."""
        self._check()
        return Path(self.path).read_bytes()

    def getString(self) -> str:  # noqa: N802
        """Return it as text."""
        return self.getBytes().decode()

    def getJson(self) -> Any:  # noqa: N802
        """Return it as JSON."""
        return json.loads(self.getBytes())

    def exists(self) -> bool:
        """Return whether there is one."""
        return Path(self.path).is_file()

    def existsWithError(self) -> tuple[bool, str]:  # noqa: N802
        """Return whether there is one."""
        return self.exists(), ""

    def put(self, data: str | bytes) -> Self:
        """Write text or bytes into it."""
        Path(self.path).write_bytes(data.encode() if isinstance(data, str) else data)
        return self

    def putJson(self, data: Any) -> Self:  # noqa: N802
        """Write a value into it as JSON."""
        return self.put(to_json(data))

    def putFile(self, path: str) -> Self:  # noqa: N802
        """Write another local file into it."""
        return self.put(Path(path).read_bytes())

    def delete(self) -> bool:
        """
        Delete it.

        Raises:
            DataApiError: It cannot be.
        """
        try:
            Path(self.path).unlink()
        except OSError as error:
            raise DataApiError(f"Failed to delete local file {self.path}") from error
        return True

    def _check(self) -> None:
        if not self.exists():
            raise DataApiError(f"unable to get file {self.path} - there is none")
