"""`algo ls`, `cat`, `mkdir`, `rmdir` and `rm`: directories and files, shown and deleted."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from algorium._cli.places import RemoteEntry, is_directory, remote_entries
from algorium._cli.program import (
    AsJson,
    Recursive,
    Server,
    Switch,
    UsageError,
    app,
    connect,
    write_json,
    write_line,
)
from algorium._errors import PathNotFound
from algorium._rendering import entry_json, entry_line
from algorium.wire.bodies import DataAcl, ReadAcl
from algorium.wire.uris import DataUri

if TYPE_CHECKING:
    from algorium import Algorium, DataDirectory

Uris = Annotated[list[str], Parameter(name="uri")]


@app.command
def ls(
    uri: str = "data://",
    /,
    *,
    long: Annotated[bool, Parameter(name=["--long", "-l"], negative="")] = False,
    recursive: Annotated[bool, Recursive] = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List a directory.

    Parameters
    ----------
    uri
        A data URI, such as data://.my/photos, or a pattern: 'data://.my/photos/*.jpg'.
    long
        Also show size and time of files.
    recursive
        Also list what is in the directories in it.
    as_json
        Print a JSON list.
    """
    with connect(server) as client:
        entries = _listed(client, uri, is_recursive=recursive)
        if as_json:
            write_json([entry_json(entry) for _, entry in entries])
            return
        for path, entry in entries:
            write_line(entry_line(entry, path=path, is_long=long))


def _listed(
    client: "Algorium", uri: str, *, is_recursive: bool
) -> Iterator[tuple[str, RemoteEntry]]:
    """Yield what is to be shown, each with its path as it is to be shown."""
    place = DataUri.parse(uri)
    directory = client.dir(place)
    if directory.exists():
        yield from _below(directory, "", is_recursive=is_recursive)
        return
    if client.file(place).exists():
        # Only a listing tells size and time of a file on every server.
        found = (file for file in client.dir(place.parent).files() if file.name == place.name)
        yield from ((file.name, file) for file in found)
        return
    for entry in remote_entries(client, uri):
        if str(entry.uri) == str(place):  # no pattern, and neither directory nor file
            raise PathNotFound("path not found")
        yield entry.name, entry
        if is_recursive and is_directory(entry):
            yield from _below(entry, f"{entry.name}/", is_recursive=True)


def _below(
    directory: "DataDirectory", prefix: str, *, is_recursive: bool
) -> Iterator[tuple[str, RemoteEntry]]:
    for entry in directory.list():
        yield f"{prefix}{entry.name}", entry
        if is_recursive and is_directory(entry):
            yield from _below(entry, f"{prefix}{entry.name}/", is_recursive=True)


@app.command
def cat(uris: Uris, /, *, server: Server | None = None) -> None:
    """
    Write files to standard output, one after the other.

    Parameters
    ----------
    uris
        Data URIs of files, or patterns of them.
    """
    if not uris:
        raise UsageError("cat needs at least one data URI")
    with connect(server) as client:
        for uri in uris:
            for entry in remote_entries(client, uri):
                with client.file(entry.uri).get() as reader:
                    for piece in reader.chunks():
                        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@app.command
def mkdir(
    uri: str,
    /,
    *,
    public: Annotated[bool, Switch] = False,
    private: Annotated[bool, Switch] = False,
    parents: Annotated[bool, Parameter(name=["--parents", "-p"], negative="")] = False,
    server: Server | None = None,
) -> None:
    """
    Create a directory.

    Parameters
    ----------
    uri
        A data URI, such as data://.my/photos.
    public
        Everybody with an account may read it.
    private
        Only you and algorithms that you call may read it. Without either, your algorithms may,
        whoever calls them.
    parents
        Be content if it exists; where directories can be in directories, create those above it.
    """
    if public and private:
        raise UsageError("--public and --private exclude each other")
    acl = ReadAcl.PUBLIC if public else ReadAcl.PRIVATE if private else ReadAcl.MY_ALGORITHMS
    place = DataUri.parse(uri)
    wanted = DataAcl.from_read(acl) if place.protocol == "data" else None
    with connect(server) as client:
        if parents and place.protocol != "data":
            for count in range(2, len(place.segments)):  # the first is a bucket, or the like
                client.dir(place.at(place.segments[:count])).create(exist_ok=True)
        client.dir(place).create(wanted, exist_ok=parents)


@app.command
def rmdir(
    uris: Uris,
    /,
    *,
    force: Annotated[bool, Parameter(name=["--force", "-f"], negative="")] = False,
    server: Server | None = None,
) -> None:
    """
    Delete empty directories.

    Parameters
    ----------
    uris
        Data URIs of directories, or patterns of them.
    force
        Delete everything in them, too.
    """
    if not uris:
        raise UsageError("rmdir needs at least one data URI")
    with connect(server) as client:
        for uri in uris:
            for entry in remote_entries(client, uri):
                client.dir(entry.uri).delete(force=force)


@app.command
def rm(
    uris: Uris,
    /,
    *,
    recursive: Annotated[bool, Recursive] = False,
    force: Annotated[bool, Parameter(name=["--force", "-f"], negative="")] = False,
    server: Server | None = None,
) -> None:
    """
    Delete files, and directories with -r.

    Parameters
    ----------
    uris
        Data URIs, or patterns of them.
    recursive
        Delete directories with everything in them.
    force
        Be content if there is nothing to delete.
    """
    if not uris:
        raise UsageError("rm needs at least one data URI")
    with connect(server) as client:
        for uri in uris:
            try:
                for entry in list(remote_entries(client, uri)):
                    _remove(entry, is_recursive=recursive)
            except PathNotFound:
                if not force:
                    raise


def _remove(entry: RemoteEntry, *, is_recursive: bool) -> None:
    if not is_directory(entry):
        entry.delete()
        return
    if not is_recursive:
        raise UsageError(f"{entry} is a directory; delete it with -r")
    entry.delete(force=True)
