"""`algo import`: what `algo export` has written, to another server or another account."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from algorium._cli.bringing import Bringing, Outcome
from algorium._cli.export_folder import Manifest, algorithm_path, collection_path, read, verify
from algorium._cli.git import Git
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
)
from algorium._cli.projects import account_name
from algorium._cli.watching import watched
from algorium._errors import ApiError, NotAuthenticated
from algorium.wire.bodies import BodyError, DataAcl, ReadAcl
from algorium.wire.refs import AlgorithmRef

if TYPE_CHECKING:
    from algorium import Algorium, DataDirectory

_SHOWN_MAX = 5


@app.command(name="import")
def import_(
    folder: Path,
    /,
    *,
    organization: str = "",
    no_algorithms: Annotated[bool, Switch] = False,
    no_versions: Annotated[bool, Switch] = False,
    private: Annotated[bool, Switch] = False,
    no_data: Annotated[bool, Switch] = False,
    overwrite: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    quiet: Annotated[bool, Switch] = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Bring what `algo export` has written to this server, as yours.

    Collections come first, then source, which is built, then versions, under their old numbers.
    What is here already stays as it is; after a cut, the same command goes on.

    Parameters
    ----------
    folder
        That `algo export` has written.
    organization
        For this organization instead of you.
    no_algorithms
        Leave out algorithms.
    no_versions
        Bring source and settings, and publish nothing.
    private
        Publish versions for their owner only, also those that were public.
    no_data
        Leave out collections.
    overwrite
        Replace files that are here already with other content.
    dry_run
        Check the folder, change nothing, and show what would be brought.
    quiet
        Show no progress.
    as_json
        Print a report as JSON.
    """
    root = folder.absolute()
    manifest = read(root)
    if not manifest.is_complete:
        raise Failed(
            f"the export in {root} was cut off", hint="`algo export` once more completes it."
        )
    verify(root, manifest)
    is_quiet = quiet or as_json
    with connect(server) as client:
        username = account_name(client, "")
        account = organization or username
        if not account:
            raise UsageError("the key does not say whose it is: take one that may read data")
        connection = (server or Server()).connection()
        git = Git(directory=root, connection=connection, username=username or account)
        job = _Import(client, root, account, is_quiet=is_quiet, is_plan=dry_run)
        if not no_data:
            job.import_data(manifest, organization or ".my", overwrite=overwrite)
        if not no_algorithms:
            bringing = Bringing(
                client, git, publishes=not no_versions, is_private=private, is_plan=dry_run
            )
            job.import_algorithms(manifest, bringing)
    if as_json:
        write_json({"account": account, "is_plan": dry_run, "results": job.results})
    if job.failed:
        raise Failed(
            f"not brought as a whole: {', '.join(job.failed)}",
            hint="The notes above say why; the same command tries again.",
        )


class _Import:
    """
    Brings a folder to an account.

    Attributes:
        results: What became of each algorithm and collection.
    """

    def __init__(
        self, client: "Algorium", root: Path, account: str, *, is_quiet: bool, is_plan: bool
    ) -> None:
        self._client = client
        self._root = root
        self._account = account
        self._is_quiet = is_quiet
        self._is_plan = is_plan
        self.results: list[dict[str, Any]] = []

    @property
    def failed(self) -> list[str]:
        """What could not be brought as a whole."""
        return [each["name"] for each in self.results if each["problems"]]

    def import_data(self, manifest: Manifest, owner: str, *, overwrite: bool) -> None:
        """Bring all collections to those of *owner*."""
        for name, entries in manifest.collections.items():
            target = self._client.dir(f"data://{owner}").dir(name)
            try:
                count = self._import_collection(name, target, entries, overwrite=overwrite)
            except (ApiError, Failed) as error:
                self._note("collection", str(target.uri), _failure(error))
                continue
            done = f"{count} files would be copied" if self._is_plan else f"{count} files copied"
            self._note("collection", str(target.uri), Outcome([done]))

    def import_algorithms(self, manifest: Manifest, bringing: Bringing) -> None:
        """Bring all algorithms to those of the account."""
        for name in manifest.algorithms:
            ref = AlgorithmRef(owner=self._account, name=name)
            if not self._is_quiet:
                note(str(ref))
            try:
                outcome = bringing.bring(ref, algorithm_path(self._root, name))
            except (ApiError, Failed) as error:
                outcome = _failure(error)
            self._note("algorithm", str(ref), outcome)

    def _import_collection(
        self, name: str, target: "DataDirectory", entries: tuple[str, ...], *, overwrite: bool
    ) -> int:
        place = collection_path(self._root, name)
        if not place.is_dir():  # empty, and lost on the way: some tools copy files only
            place.mkdir(parents=True)
        try:
            acl = DataAcl(read=ReadAcl.of_entries(list(entries)))
        except BodyError as error:
            raise Failed(f"the manifest does not say who may read it: {error}") from None
        is_there = target.exists()
        if is_there and not overwrite:
            self._check_same(place, target)
        if self._is_plan:
            if not is_there:
                return sum(1 for _ in place.iterdir())
            return len(target.sync_from(place, checksum=True, dry_run=True).copied)
        if not is_there:
            target.create(acl)
        with watched(str(target.uri), is_quiet=self._is_quiet) as show:
            report = target.sync_from(place, checksum=True, on_progress=show)
        if target.acl() != acl:  # last: nobody else reads half of it
            target.set_acl(acl)
        return len(report.copied)

    def _check_same(self, place: Path, target: "DataDirectory") -> None:
        """Refuse to replace files that are there with other content."""
        differs = set(target.sync_from(place, checksum=True, dry_run=True).copied)
        there = sorted(differs.intersection(each.name for each in target.files()))
        if there:
            more = f" and {len(there) - _SHOWN_MAX} more" if len(there) > _SHOWN_MAX else ""
            raise Failed(
                f"{', '.join(there[:_SHOWN_MAX])}{more}: here with other content; "
                "--overwrite replaces it"
            )

    def _note(self, kind: str, name: str, outcome: Outcome) -> None:
        self.results.append({"kind": kind, "name": name, **asdict(outcome)})
        if not self._is_quiet:
            note(f"{name}: {', '.join(outcome.done) or 'nothing to do'}")
        for remark in outcome.remarks:
            note(f"note: {name}: {remark}", colour="cyan")
        for problem in outcome.problems:
            note(f"warning: {name}: {problem}", colour="yellow")


def _failure(error: Exception) -> Outcome:
    """Return what is to be told of an error, unless it would be the same with everything."""
    if isinstance(error, NotAuthenticated):
        raise error
    return Outcome(problems=[str(error)])
