"""Directories by data URI, with everything in them."""

import os
from collections.abc import Iterator
from pathlib import Path

from algorium import _data_flow
from algorium._data import DataFile, as_acl, as_place, as_uri, download_wish
from algorium._mirror import MirrorWish, SyncReport, mirror
from algorium._progress import ProgressCallback
from algorium._steps import PARALLEL_DEFAULT, SyncDriver
from algorium._transport import SyncTransport
from algorium._trees import Place
from algorium.wire.bodies import DataAcl, Listing, ReadAcl
from algorium.wire.uris import DataUri


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
        return self._transport.run(_data_flow.exists(self.uri, "directory"))

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
        self._transport.run(_data_flow.create(self.uri, wanted, exist_ok=exist_ok))

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
        markers = _data_flow.Markers(self.uri)
        page = self._transport.run(_data_flow.page(self.uri, ""))
        yield page
        while marker := markers.after(page):
            page = self._transport.run(_data_flow.page(self.uri, marker))
            yield page

    def acl(self) -> DataAcl | None:
        """Return who may read; None for places without access lists."""
        return self._transport.run(_data_flow.acl(self.uri))

    def set_acl(self, acl: DataAcl | ReadAcl) -> None:
        """
        Change who may read.

        Raises:
            NotAuthorized: It belongs to somebody else.
            InvalidInput, InvalidRequest: Places of this kind have no access lists.
        """
        self._transport.run(_data_flow.set_acl(self.uri, as_acl(acl)))

    def upload_dir(
        self,
        path: str | os.PathLike[str],
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """
        Upload everything in a local directory into this one, which is created if need be.

        Hosted data has directories of one level only: `data://.my` takes a directory of directories
        of files, `data://.my/photos` a directory of files. Connected sources take any depth.
        Symbolic links to files are followed, those to directories are not.

        Args:
            path: The local directory.
            on_progress: Called with a `Progress` of all files together.
            parallel: Files and parts of files to send at once.

        Raises:
            OSError: A local file cannot be read.
            InvalidInput: There can be no such directories here.
        """
        wish = MirrorWish(skip_same=False, download=download_wish(self._transport, on_progress))
        return self._mirror(Path(path), self.uri, wish, parallel)

    def download_dir(
        self,
        path: str | os.PathLike[str],
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
        verify: bool = True,
    ) -> SyncReport:
        """
        Download everything in here into a local directory, which is created if need be.

        The files get the times that they have on the server.

        Args:
            path: The local directory.
            on_progress: Called with a `Progress` of all files together.
            parallel: Files and parts of files to fetch at once.
            verify: Compare with the server's digests.

        Raises:
            PathNotFound: There is no such directory on the server.
            OSError: A local file cannot be written.
        """
        wish = MirrorWish(
            skip_same=False,
            download=download_wish(self._transport, on_progress, verify=verify),
        )
        return self._mirror(self.uri, Path(path), wish, parallel)

    def sync_from(
        self,
        path: "str | os.PathLike[str] | DataDirectory | DataUri",
        *,
        delete: bool = False,
        checksum: bool = False,
        dry_run: bool = False,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """
        Make this directory like another: upload, or copy on the server, what is new or different.

        A file counts as the same if its size is, and it was not changed since it was stored; where
        the times leave doubt, the digests decide.

        Args:
            path: A local directory, or one on the server by its URI or handle.
            delete: Delete what the other directory does not have; an empty one deletes nothing.
            checksum: Compare digests of all files of the same size, whatever the times say.
            dry_run: Change nothing, and report what would be.
            on_progress: Called with a `Progress` of all files together.
            parallel: Files and parts of files to send at once.

        Raises:
            OSError, PathNotFound: There is no such directory.
            AlreadyExists: What is a file in one is a directory in the other.
            InvalidInput: With *delete*: the other directory is empty, and this one is not.
            ValueError: With *delete*: one of the two is in the other.
        """
        wish = MirrorWish(
            delete=delete,
            checksum=checksum,
            dry_run=dry_run,
            download=download_wish(self._transport, on_progress),
        )
        return self._mirror(as_place(path), self.uri, wish, parallel)

    def sync_to(
        self,
        path: str | os.PathLike[str],
        *,
        delete: bool = False,
        checksum: bool = False,
        dry_run: bool = False,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """
        Make a local directory like this one: download what is new or different there.

        Args:
            path: The local directory, which is created if need be.
            delete: Delete what is not in here; an empty directory deletes nothing.
            checksum: Compare digests of all files of the same size, whatever the times say.
            dry_run: Change nothing, and report what would be.
            on_progress: Called with a `Progress` of all files together.
            parallel: Files and parts of files to fetch at once.

        Raises:
            PathNotFound: There is no such directory on the server.
            AlreadyExists: What is a file in one is a directory in the other, or a link to one.
            InvalidInput: With *delete*: this directory is empty, and the local one is not.
            ValueError: With *delete*: the local directory has your home directory in it.
            OSError: A local file cannot be written.
        """
        wish = MirrorWish(
            delete=delete,
            checksum=checksum,
            dry_run=dry_run,
            download=download_wish(self._transport, on_progress),
        )
        return self._mirror(self.uri, Path(path), wish, parallel)

    def copy(
        self,
        to: "DataDirectory | DataUri | str",
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """
        Copy everything in here to another directory on the server, which is created if need be.

        Args:
            to: The other directory, or a URI of it. What it holds stays, unless it has the name of
                something that is copied.
            on_progress: Called with a `Progress` of all files together.
            parallel: Files to copy at once.

        Raises:
            PathNotFound: There is no such directory.
            AlreadyExists: What is a file here is a directory there.
        """
        wish = MirrorWish(skip_same=False, download=download_wish(self._transport, on_progress))
        return self._mirror(self.uri, as_uri(to), wish, parallel)

    def move(
        self,
        to: "DataDirectory | DataUri | str",
        *,
        on_progress: ProgressCallback | None = None,
        parallel: int = PARALLEL_DEFAULT,
    ) -> SyncReport:
        """
        Move everything in here to another directory on the server, as `copy`, file by file.

        Then this directory goes, unless somebody has put something into it meanwhile.

        Raises:
            PathNotFound: There is no such directory.
            AlreadyExists: What is a file here is a directory there.
            ValueError: One of the two is in the other.
        """
        wish = MirrorWish(
            skip_same=False, moves=True, download=download_wish(self._transport, on_progress)
        )
        return self._mirror(self.uri, as_uri(to), wish, parallel)

    def _mirror(self, source: Place, target: Place, wish: MirrorWish, parallel: int) -> SyncReport:
        return SyncDriver(self._transport, width=parallel).run(mirror(source, target, wish))

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
        return self._transport.run(_data_flow.delete(self.uri, force=force))
