"""`algo cp`, `mv`, `sync` and `uploads`: files to, from and within the server."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from algorium._cli.places import (
    RemoteEntry,
    is_directory,
    is_remote,
    is_remote_directory,
    local_paths,
    remote_entries,
    remote_target,
)
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
from algorium._cli.watching import watched
from algorium._errors import PathNotFound
from algorium._rendering import upload_json, upload_line
from algorium.wire.uris import DataUri

if TYPE_CHECKING:
    from algorium import Algorium, DataDirectory, SyncReport

Places = Annotated[list[str], Parameter(name="place", allow_leading_hyphen=True)]
Parallel = Annotated[int, Parameter(name=["--parallel", "-P"])]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")]

_PARALLEL = 4


@app.command
def cp(
    places: Places,
    /,
    *,
    recursive: Annotated[bool, Recursive] = False,
    no_clobber: Annotated[bool, Parameter(name=["--no-clobber", "-n"], negative="")] = False,
    parallel: Parallel = _PARALLEL,
    quiet: Quiet = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Copy files to, from or within the server; the last place is where to.

    Large files go in parts, side by side. If that is cut off, the same command goes on where it
    was.

    Parameters
    ----------
    places
        Data URIs, local paths, patterns of either, or - for standard input and output. Into a
        directory files go under their own names.
    recursive
        Copy directories with everything in them. Into what ends with a slash, or is an existing
        local directory, they go under their own names; else they become the last place.
    no_clobber
        Leave out files that are there already.
    parallel
        Requests at once.
    quiet
        Show no progress.
    as_json
        Print which files were copied.
    """
    *sources, target = _split(places, parallel)
    with connect(server) as client:
        job = _Job(client, target, parallel=parallel, is_quiet=quiet or as_json)
        job.is_new_only, job.is_recursive = no_clobber, recursive
        for source in sources:
            job.copy(source, is_one=len(sources) == 1)
    if as_json:
        write_json(job.copied)


@app.command
def mv(
    places: Places,
    /,
    *,
    no_clobber: Annotated[bool, Parameter(name=["--no-clobber", "-n"], negative="")] = False,
    parallel: Parallel = _PARALLEL,
    quiet: Quiet = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Move files to, from or within the server, and directories within it; the last place is where to.

    A file is deleted where it was only when it has arrived, and only if it has not changed
    meanwhile. Within hosted data that is one step.

    Parameters
    ----------
    places
        Data URIs, local paths, or patterns of either. Into a directory files go under their own
        names.
    no_clobber
        Leave out files that are there already.
    parallel
        Requests at once.
    quiet
        Show no progress.
    as_json
        Print which files were moved.
    """
    *sources, target = _split(places, parallel)
    if "-" in places:
        raise UsageError("standard input and output cannot be moved; use algo cp")
    with connect(server) as client:
        job = _Job(client, target, parallel=parallel, is_quiet=quiet or as_json)
        job.is_new_only, job.is_move = no_clobber, True
        for source in sources:
            job.copy(source, is_one=len(sources) == 1)
    if as_json:
        write_json(job.copied)


@app.command
def sync(
    source: str,
    target: str,
    /,
    *,
    delete: Annotated[bool, Switch] = False,
    checksum: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    parallel: Parallel = _PARALLEL,
    quiet: Quiet = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Make a directory like another: copy what is new or different.

    Files count as the same if size and time say so; where they leave doubt, checksums decide.

    Parameters
    ----------
    source
        The directory to copy from: a data URI or a local path.
    target
        The directory to change: a data URI or a local path; created if need be.
    delete
        Delete from the target what the source does not have.
    checksum
        Compare checksums of all files of the same size, whatever the times say.
    dry_run
        Change nothing, and show what would be.
    parallel
        Requests at once.
    quiet
        Show no progress, and not what was done.
    as_json
        Print a report as JSON.
    """
    _check(parallel, (source, target))
    wish: dict[str, Any] = {"delete": delete, "checksum": checksum, "dry_run": dry_run}
    wish["parallel"] = parallel
    with (
        connect(server) as client,
        _told_as_usage(),
        watched(source, is_quiet=quiet or as_json) as show,
    ):
        wish["on_progress"] = show
        if not is_remote(target):
            report = client.dir(source).sync_to(target, **wish)
        elif is_remote(source):
            report = client.dir(target).sync_from(client.dir(source), **wish)
        else:
            report = client.dir(target).sync_from(source, **wish)
    if as_json:
        write_json(dataclasses.asdict(report))
    elif not quiet:
        for line in _told(report, is_plan=dry_run):
            write_line(line)


@app.command
def uploads(
    *,
    abandon: Annotated[list[str] | None, Parameter(negative="")] = None,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List uploads of large files that were cut off, with the time until which the server waits.

    Parameters
    ----------
    abandon
        Give up the one with this id instead; may be repeated.
    as_json
        Print a JSON list.
    """
    with connect(server) as client:
        unfinished = client.unfinished_uploads()
        if abandon:
            known = {upload.upload_id: upload for upload in unfinished}
            if unknown := [name for name in abandon if name not in known]:
                raise PathNotFound(f"no unfinished upload {unknown[0]}")
            for name in abandon:
                client.abandon_upload(known[name])
        elif as_json:
            write_json([upload_json(upload) for upload in unfinished])
        else:
            for upload in unfinished:
                write_line(upload_line(upload))


@contextlib.contextmanager
def _told_as_usage() -> Iterator[None]:
    """Blame the command line for directories that cannot be brought to one another."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


def _told(report: "SyncReport", *, is_plan: bool) -> Iterator[str]:
    verbs = ("would copy", "would delete") if is_plan else ("copied", "deleted")
    yield from (f"{verbs[0]} {path}" for path in report.copied)
    yield from (f"{verbs[1]} {path}" for path in report.deleted)


def _split(places: list[str], parallel: int) -> list[str]:
    if len(places) < len(("source", "target")):
        raise UsageError("name what to copy, and where to")
    _check(parallel, places)
    if places.count("-") > 1 or (len(places) > len(("source", "target")) and "-" in places):
        raise UsageError("standard input or output is one end of a copy, of one file")
    return places


def _check(parallel: int, places: "list[str] | tuple[str, ...]") -> None:
    if parallel < 1:
        raise UsageError("--parallel must be at least 1")
    *sources, target = places
    if not is_remote(target) and not all(is_remote(source) for source in sources):
        raise UsageError("one of the two must be a data URI, such as data://.my/photos/a.jpg")


class _Job:
    """Copies or moves to one place, whatever comes."""

    def __init__(self, client: "Algorium", target: str, *, parallel: int, is_quiet: bool) -> None:
        self._client = client
        self._target = target
        self._parallel = parallel
        self._is_quiet = is_quiet
        self.is_new_only = False
        self.is_recursive = False
        self.is_move = False
        self.copied: list[str] = []

    def copy(self, source: str, *, is_one: bool) -> None:
        """Copy all that *source* means; several need a directory to go into."""
        if source == "-":
            self._client.file(self._remote_target("")).put(sys.stdin.buffer)
        elif is_remote(source):
            entries = list(remote_entries(self._client, source))
            self._check_room(is_one and len(entries) == 1)
            for entry in entries:
                self._copy_remote(entry)
        else:
            paths = local_paths(source)
            self._check_room(is_one and len(paths) == 1)
            for path in paths:
                self._upload(path)

    def _check_room(self, is_one: bool) -> None:
        if is_one:
            return
        if is_remote(self._target):
            is_directory = is_remote_directory(self._client, self._target)
        else:
            is_directory = self._target.endswith("/") or Path(self._target).is_dir()
        if not is_directory:
            raise UsageError(f"{self._target} is no directory, and there are several files")

    def _copy_remote(self, entry: RemoteEntry) -> None:
        if is_directory(entry):
            self._copy_directory(entry)
        elif not is_remote(self._target):
            self._download(entry.uri)
        else:
            target = self._remote_target(entry.name)
            if self._is_there(target):
                return
            file = self._client.file(entry.uri)
            (file.move if self.is_move else file.copy)(target, create_only=self.is_new_only)
            self.copied.append(str(target))

    def _remote_target(self, name: str) -> DataUri:
        return remote_target(self._client, name, self._target)

    def _is_there(self, target: DataUri) -> bool:
        return self.is_new_only and self._client.file(target).exists()

    def _download(self, uri: DataUri) -> None:
        file = self._client.file(uri)
        if self._target == "-":
            with file.get() as reader:
                for piece in reader.chunks():
                    sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        path = Path(self._target)
        if self._target.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            path /= uri.name
        if self.is_new_only and path.exists():
            return
        before = file.stat() if self.is_move else None
        with self._watched(uri) as show:
            file.get_file(path, on_progress=show, parallel=self._parallel)
        if before is not None:
            file.delete(if_match=before.etag)
        self.copied.append(str(path))

    def _upload(self, path: Path) -> None:
        if path.is_dir():
            self._upload_directory(path)
            return
        target = self._remote_target(path.name)
        if self._is_there(target):
            return
        before = path.stat()
        with self._watched(path) as show:
            self._client.file(target).put_file(
                path, create_only=self.is_new_only, on_progress=show, parallel=self._parallel
            )
        self.copied.append(str(target))
        if self.is_move:
            after = path.stat()
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise OSError(f"{path} was copied, and has changed meanwhile: it stays")
            path.unlink()

    def _upload_directory(self, path: Path) -> None:
        self._check_directory(path, can_move=False)
        target = self._directory_target(path.resolve().name)
        with self._watched(path) as show:
            report = self._client.dir(target).upload_dir(
                path, on_progress=show, parallel=self._parallel
            )
        self.copied += [f"{target}/{copied}" for copied in report.copied]

    def _copy_directory(self, directory: "DataDirectory") -> None:
        self._check_directory(directory, can_move=is_remote(self._target))
        options: dict[str, Any] = {"parallel": self._parallel}
        with _told_as_usage(), self._watched(directory) as options["on_progress"]:
            if is_remote(self._target):
                target = self._directory_target(directory.name)
                run = directory.move if self.is_move else directory.copy
                self.copied += [f"{target}/{copied}" for copied in run(target, **options).copied]
                return
            path = Path(self._target)
            if self._target.endswith("/") or path.is_dir():
                path /= directory.name
            report = directory.download_dir(path, **options)
            self.copied += [str(path / copied) for copied in report.copied]

    def _check_directory(self, place: object, *, can_move: bool) -> None:
        if self.is_new_only:
            raise UsageError("--no-clobber is for files; algo sync leaves out what is there")
        if self.is_move and not can_move:
            raise UsageError(f"{place} is a directory; copy it with algo cp -r, then delete it")
        if not self.is_move and not self.is_recursive:
            raise UsageError(f"{place} is a directory; copy it with -r")

    def _directory_target(self, name: str) -> DataUri:
        uri = DataUri.parse(self._target)
        is_owner = uri.protocol == "data" and len(uri.segments) <= 1
        return uri.child(name) if name and (self._target.endswith("/") or is_owner) else uri

    def _watched(self, place: object) -> Any:
        return watched(str(place), is_quiet=self._is_quiet)
