"""Directories on the server, and local ones in the same clothes."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from algorium.compat.acl import Acl
from algorium.compat.data import DataObject, DataObjectType
from algorium.compat.datafile import AdvancedDataFile, DataFile, LocalDataFile
from algorium.compat.errors import DataApiError, raiseDataApiError
from algorium.compat.util import getParentAndBase, pathJoin

if TYPE_CHECKING:
    from algorium.compat.client import Client


class DataDirectory(DataObject):
    """
    A directory on the server.

    Attributes:
        path: Without `data://`.
    """

    def __init__(self, client: "Client", dataUrl: str) -> None:  # noqa: N803 - the old client's
        super().__init__(DataObjectType.directory)
        self.client = client
        self.path = re.sub(r"^data://|^/", "", dataUrl)
        self.url = f"/v1/data/{self.path}"

    def getName(self) -> str:  # noqa: N802 - the old client's, like the rest
        """Return the last segment of its path."""
        return getParentAndBase(self.path)[1]

    def exists(self) -> bool:
        """Return whether there is one."""
        return self.client.getHelper(self.url).status_code == 200

    def create(self, acl: Acl | None = None) -> None:
        """
        Create it.

        Args:
            acl: Who may read it; algorithms called by you, if left out.

        Raises:
            AlgorithmException: It is refused; 409 is in the text if there is one.
        """
        parent, name = getParentAndBase(self.path)
        body: dict[str, Any] = {"name": name}
        if acl is not None:
            body["acl"] = acl.to_api_param()
        self.client.postJsonHelper(f"/v1/data/{parent}", body, False)

    def delete(self, force: bool = False) -> bool:
        """
        Delete it.

        Args:
            force: With all that is in it.

        Raises:
            DataApiError: It cannot be.
        """
        result = self.client.deleteHelper(f"{self.url}?force=true" if force else self.url)
        if isinstance(result, dict) and "error" in result:
            raise raiseDataApiError(result)
        return True

    def file(self, name: str) -> DataFile:
        """Return a file in it."""
        return DataFile(self.client, pathJoin(self.path, name))

    def files(self) -> Iterator[DataFile]:
        """Go through the files in it; pages are fetched as you go on."""
        for page in self._pages():
            yield from self._files_of(page)

    def dir(self, name: str) -> "DataDirectory":
        """Return a directory in it."""
        return DataDirectory(self.client, pathJoin(self.path, name))

    def dirs(self) -> Iterator["DataDirectory"]:
        """Go through the directories in it; pages are fetched as you go on."""
        for page in self._pages():
            yield from self._dirs_of(page)

    def list(self) -> Iterator[Any]:
        """Go through the directories and files in it; pages are fetched as you go on."""
        for page in self._pages():
            yield from self._dirs_of(page)
            yield from self._files_of(page)

    def getDir(self) -> str:  # noqa: N802
        """Download the files in it into a new local directory, and return where that is."""
        place = tempfile.mkdtemp()
        for file in self.files():
            target = Path(place) / Path(file.getName()).name
            with target.open("wb") as local:
                for piece in file.pieces():
                    local.write(piece)
        return place

    def get_permissions(self) -> Acl | None:
        """
        Return who may read it; None for special ones such as `.algo`.

        Raises:
            DataApiError: The server does not tell.
        """
        answer = self.client.getHelper(self.url, acl=True)
        if answer.status_code != 200:
            raise DataApiError(f"Unable to get permissions:{answer.text}")
        told = answer.json()
        return Acl.from_acl_response(told["acl"]) if told.get("acl") is not None else None

    def update_permissions(self, acl: Acl) -> bool:
        """
        Change who may read it.

        Raises:
            DataApiError: It is refused.
        """
        answer = self.client.patchHelper(self.url, {"acl": acl.to_api_param()})
        if answer.status_code != 200:
            raise DataApiError(f"Unable to update permissions: {answer.error_message}")
        return True

    def _pages(self) -> Iterator[dict[str, Any]]:
        marker = None
        while True:
            answer = self.client.getHelper(self.url, marker=marker)
            if answer.status_code != 200:
                raise DataApiError(f"Directory iteration failed: {answer.text}")
            page = answer.json()
            yield page
            following = page.get("marker")
            if not following or following == marker:
                return
            marker = following

    def _dirs_of(self, page: dict[str, Any]) -> Iterator["DataDirectory"]:
        for each in page.get("folders") or ():
            yield DataDirectory(self.client, pathJoin(self.path, each["name"]))

    def _files_of(self, page: dict[str, Any]) -> Iterator[DataFile]:
        for each in page.get("files") or ():
            file = DataFile(self.client, pathJoin(self.path, each["filename"]))
            file.set_attributes(each)
            yield file


class AdvancedDataDirectory(DataDirectory):
    """A directory on the server whose files can also be read like open files."""

    def file(self, name: str, cleanup: bool = True) -> AdvancedDataFile:
        """Return a file in it."""
        return AdvancedDataFile(self.client, pathJoin(self.path, name), cleanup)


class LocalDataDirectory:
    """A local directory, by its `file://` URI."""

    def __init__(self, client: "Client", dataUrl: str) -> None:  # noqa: N803
        self.client = client
        self.path = dataUrl.replace("file://", "")

    def exists(self) -> bool:
        """Return whether there is one."""
        return Path(self.path).is_dir()

    def create(self) -> None:
        """Create it."""
        Path(self.path).mkdir()

    def delete(self, force: bool = False) -> None:  # noqa: ARG002 - as the old client has it
        """Delete it; it must be empty."""
        Path(self.path).rmdir()

    def file(self, name: str) -> LocalDataFile:
        """Return a file in it."""
        return LocalDataFile(self.client, f"file://{pathJoin(self.path, name)}")

    def list(self) -> Iterator[str]:
        """Go through the names in it."""
        return (each.name for each in sorted(Path(self.path).iterdir()))

    def dirs(self, content: object = None) -> Iterator[str]:  # noqa: ARG002 - likewise
        """Go through the names of directories in it."""
        return (each.name for each in sorted(Path(self.path).iterdir()) if each.is_dir())

    def files(self, content: object = None) -> Iterator[str]:  # noqa: ARG002 - likewise
        """Go through the names of files in it."""
        return (each.name for each in sorted(Path(self.path).iterdir()) if each.is_file())
