"""`algo export`: everything that an account has, into a folder."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from algorium._cli.export_folder import (
    MANIFEST,
    Manifest,
    algorithm_path,
    begin,
    collection_path,
    digests,
    places_of,
    write,
    write_json_file,
)
from algorium._cli.git import Git, repository_url
from algorium._cli.program import (
    AsJson,
    Failed,
    Server,
    Switch,
    UsageError,
    app,
    connect,
    note,
    write_json,
    write_line,
)
from algorium._cli.projects import account_name, known_account
from algorium._cli.watching import watched
from algorium._errors import ApiError
from algorium.wire.refs import AlgorithmRef

if TYPE_CHECKING:
    from algorium import AlgorithmInfo, Algorium, DataDirectory, ManagedAlgorithm

REFS: Final = ("refs/heads/*", "refs/tags/*")
"""What of a repository is brought along."""
SETTINGS: Final = ("insights_enabled", "publish_gate", "rewriting_enabled", "scaling")
"""Settings beside those that the client knows by name."""


@app.command
def export(
    folder: Path,
    /,
    *,
    organization: str = "",
    no_algorithms: Annotated[bool, Switch] = False,
    no_data: Annotated[bool, Switch] = False,
    quiet: Annotated[bool, Switch] = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Write all algorithms and collections of yours into a folder, for `algo import`.

    After a cut, the same command goes on where it was; later, it brings the folder up to date.
    Secrets, keys and credentials of connectors are not part of it: servers never show them.

    Parameters
    ----------
    folder
        Where to: a new directory, or one that this command has written.
    organization
        What this organization has, instead of what you have.
    no_algorithms
        Leave out algorithms.
    no_data
        Leave out collections.
    quiet
        Show no progress.
    as_json
        Print a report as JSON.
    """
    root = folder.absolute()
    with connect(server) as client:
        account = known_account(client, organization) if organization else account_name(client, "")
        if not account:
            raise UsageError("the key does not say whose it is: take one that may read data")
        connection = (server or Server()).connection()
        known = begin(root, server=connection.api_address, account=account)
        git = Git(directory=root, connection=connection, username=account_name(client, account))
        job = _Export(client, root, known, git, is_quiet=quiet or as_json)
        if not no_algorithms:
            job.export_algorithms()
        if not no_data:
            job.export_data("" if organization else ".my")
    manifest = job.finish()
    if as_json:
        write_json(_report(root, manifest, job.skipped))
    else:
        write_line(str(root))
        algorithms, collections = len(manifest.algorithms), len(manifest.collections)
        kept = f", {job.kept} of them before" if job.kept else ""
        note(f"exported {algorithms} algorithms, {collections} collections of {account}{kept}")
    if job.skipped:
        raise Failed(
            f"left out: {', '.join(job.skipped)}",
            hint="Warnings above say why.",
        )


class _Export:
    """
    Brings what an account has into a folder.

    Attributes:
        skipped: What could not be brought.
        kept: How many things stay as an earlier export has brought them.
    """

    def __init__(
        self, client: "Algorium", root: Path, known: Manifest, git: Git, *, is_quiet: bool
    ) -> None:
        self._client = client
        self._root = root
        self._known = known
        self._account = known.account
        self._git = git
        self._is_quiet = is_quiet
        self._algorithms: list[str] = []
        self._collections: dict[str, tuple[str, ...]] = {}
        self._old_algorithms = list(known.algorithms)  # not asked for again, or not to be had
        self._old_collections = list(known.collections)
        self.skipped: list[str] = []
        self.kept = 0

    def export_algorithms(self) -> None:
        """Bring all algorithms of the account."""
        self._old_algorithms = []
        for each in self._client.algorithms.list(self._account):
            ref = AlgorithmRef(owner=self._account, name=each.name)
            if self._try(str(ref), self._export_algorithm, ref):
                self._algorithms.append(ref.name)
            elif ref.name in self._known.algorithms:
                self._old_algorithms.append(ref.name)

    def export_data(self, owner: str) -> None:
        """Bring all collections of the account, which is called *owner* in URIs."""
        self._old_collections = []
        for directory in self._client.dir(f"data://{owner or self._account}").dirs():
            is_done = self._try(str(directory.uri), self._export_collection, directory)
            if not is_done and directory.name in self._known.collections:
                self._old_collections.append(directory.name)

    def finish(self) -> Manifest:
        """Write down what there is, with digests; only from then on it can be imported."""
        self._tell("digests")
        places = places_of(self._root, self._algorithms, self._collections)
        files = digests(self._root, places)
        for name in self._old_algorithms:
            if self._keep(f"algorithm {name}", algorithm_path(self._root, name), files):
                self._algorithms.append(name)
        for name in self._old_collections:
            if self._keep(f"collection {name}", collection_path(self._root, name), files):
                self._collections[name] = self._known.collections[name]
        manifest = Manifest(
            server=self._known.server,
            account=self._account,
            is_complete=True,
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            algorithms=tuple(self._algorithms),
            collections=self._collections,
            files=dict(sorted(files.items())),
        )
        write(self._root, manifest)
        shutil.rmtree(self._root / "unfinished", ignore_errors=True)
        return manifest

    def _keep(self, what: str, place: Path, files: dict[str, tuple[int, str]]) -> bool:
        """Take over what an earlier export has brought, if it is still as it was; whether it is."""
        above = f"{place.relative_to(self._root).as_posix()}/"
        old = {path: told for path, told in self._known.files.items() if path.startswith(above)}
        try:
            is_same = (digests(self._root, [place]) if os.path.lexists(place) else {}) == old
        except Failed:
            is_same = False
        if not is_same:
            note(f"warning: {what}: not as {MANIFEST} has it any more", colour="yellow")
            self.skipped.append(what)
            return False
        files |= old
        self.kept += 1
        return True

    def _try(self, what: str, work: Callable[[Any], None], subject: object) -> bool:
        """Do something that may be refused for itself; whether it was done."""
        try:
            work(subject)
        except (ApiError, Failed) as error:
            note(f"warning: {what}: {error}", colour="yellow")
            self.skipped.append(what)
            return False
        return True

    def _export_algorithm(self, ref: AlgorithmRef) -> None:
        self._tell(f"{ref}")
        algorithm = self._client.algorithms(ref)
        info = algorithm.info()
        if not info.is_hosted_here:
            raise Failed("its source is at a host elsewhere, from where it can be connected again")
        place = algorithm_path(self._root, ref.name)
        place.mkdir(parents=True, exist_ok=True)
        _bundle(self._git, repository_url(self._git.connection, ref), place, self._root, ref.name)
        write_json_file(place / "algorithm.json", _described(self._client, algorithm, info))

    def _export_collection(self, directory: "DataDirectory") -> None:
        place = collection_path(self._root, directory.name)
        with watched(str(directory.uri), is_quiet=self._is_quiet) as show:
            self._tell(str(directory.uri))
            if next(directory.files(), None) is None:
                shutil.rmtree(place, ignore_errors=True)  # what was in it before is gone there
                place.mkdir(parents=True)
            else:
                directory.sync_to(place, delete=True, on_progress=show)
        acl = directory.acl()
        self._collections[directory.name] = tuple(acl.to_json()["read"]) if acl is not None else ()

    def _tell(self, what: str) -> None:
        if not self._is_quiet:
            note(what)


def _described(
    client: "Algorium", algorithm: "ManagedAlgorithm", info: "AlgorithmInfo"
) -> dict[str, Any]:
    """Return what another server must know to make an algorithm of the same kind."""
    return {
        "name": info.name,
        "label": info.label,
        "summary": info.summary,
        "tagline": info.tagline,
        "language": info.language,
        "environment": {"id": info.environment_id, "name": _environment_name(client, info)},
        "source_visibility": info.source_visibility,
        "license": info.license,
        "network_access": info.network_access,
        "is_pipeline_enabled": info.is_pipeline_enabled,
        "settings": {name: info.settings[name] for name in SETTINGS if name in info.settings},
        "secrets": variables(algorithm),
        "versions": [
            {
                "number": each.version.number,
                "commit": each.version.commit,
                "callability": each.callability,
                "release_notes": each.version.release_notes,
                "sample_input": each.version.sample_input,
                "sample_output": each.version.sample_output,
            }
            for each in sorted(algorithm.versions(), key=_place_in_line)
            if each.version is not None and each.version.number
        ],
    }


def _place_in_line(info: "AlgorithmInfo") -> tuple[int, ...]:
    number = info.version.number if info.version is not None else ""
    return tuple(int(each) if each.isdigit() else 0 for each in number.split("."))


def _environment_name(client: "Algorium", info: "AlgorithmInfo") -> str:
    if not info.environment_id:
        return ""
    found = client.environments.list(info.language)
    names = {each.environment_id: each.display_name for each in found}
    return names.get(info.environment_id, "")


def variables(algorithm: "ManagedAlgorithm") -> list[str]:
    """Return which secrets it has; no server shows their values."""
    try:
        return [each.variable for each in algorithm.secrets.list()]
    except ApiError:  # the key may not, or the server has none
        return []


def _bundle(git: Git, url: str, place: Path, root: Path, name: str) -> None:
    """Bring the repository at *url* into a bundle, unless it is there as it is now."""
    there = git.ask("ls-remote", "--refs", url, *REFS)
    bundle, part = place / "source.bundle", place / "source.bundle.part"
    if bundle.exists() and git.knows("bundle", "list-heads", str(bundle)):
        here = git.ask("bundle", "list-heads", str(bundle))
        if set(here.split()) == set(there.split()):
            part.unlink(missing_ok=True)
            return
    if not there:
        bundle.unlink(missing_ok=True)
        return
    work = root / "unfinished" / f"{name}.git"
    git.run("init", "--quiet", "--bare", str(work), is_quiet=True)
    inside = ("-C", str(work))
    # From one that was cut off, git goes on with what has arrived whole.
    specs = (f"+{each}:{each}" for each in REFS)
    git.run(*inside, "fetch", "--quiet", "--prune", "--no-tags", url, *specs, is_quiet=True)
    git.run(*inside, "bundle", "create", "--quiet", str(part), "--all", is_quiet=True)
    part.replace(bundle)
    shutil.rmtree(work)


def _report(root: Path, manifest: Manifest, skipped: list[str]) -> dict[str, Any]:
    return {
        "folder": str(root),
        "account": manifest.account,
        "algorithms": list(manifest.algorithms),
        "collections": list(manifest.collections),
        "files": len(manifest.files),
        "bytes": sum(size for size, _ in manifest.files.values()),
        "skipped": skipped,
    }
