"""`algo import`: what `algo export` has written, to another server or another account."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from algorium._cli.bringing import Bringing, Outcome
from algorium._cli.bringing_files import BringingFiles
from algorium._cli.export_folder import Begun, Manifest, algorithm_path, read, verify
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
from algorium._cli.projects import account_name, known_account
from algorium._errors import ApiError, NotAuthenticated
from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import UriSyntaxError

if TYPE_CHECKING:
    from algorium import Algorium

_OF_ONE = (ApiError, Failed, OSError, UnicodeError, UriSyntaxError)
"""What may be wrong with one thing, while all others can be brought."""


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
    What is here already stays as it is, with its settings and readers, and what is missing comes
    in; after a cut, the same command goes on.

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
        Publish versions and create collections for their owner only, also those that were public.
    no_data
        Leave out collections.
    overwrite
        Replace files that are here already with other content, and let read collections that are
        here already whom the export says.
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
        account = known_account(client, organization) if organization else username
        if not account:
            raise UsageError("the key does not say whose it is: take one that may read data")
        connection = (server or Server()).connection()
        git = Git(directory=root, connection=connection, username=username or account)
        begun = Begun(root, server=connection.api_address, account=account)
        job = _Import(client, root, account, is_quiet=is_quiet)
        try:
            if not no_data:
                files = BringingFiles(
                    root,
                    begun,
                    is_private=private,
                    overwrites=overwrite,
                    is_plan=dry_run,
                    is_quiet=is_quiet,
                )
                job.import_data(manifest, files, organization or ".my")
            if not no_algorithms:
                bringing = Bringing(
                    client,
                    git,
                    begun,
                    publishes=not no_versions,
                    is_private=private,
                    is_plan=dry_run,
                )
                job.import_algorithms(manifest, bringing)
        finally:  # also when the server has gone meanwhile: what was done is done
            if as_json and (job.results or not sys.exception()):
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

    def __init__(self, client: "Algorium", root: Path, account: str, *, is_quiet: bool) -> None:
        self._client = client
        self._root = root
        self._account = account
        self._is_quiet = is_quiet
        self.results: list[dict[str, Any]] = []

    @property
    def failed(self) -> list[str]:
        """What could not be brought as a whole."""
        return [each["name"] for each in self.results if each["problems"]]

    def import_data(self, manifest: Manifest, bringing: BringingFiles, owner: str) -> None:
        """Bring all collections to those of *owner*."""
        for name, entries in manifest.collections.items():
            target = self._client.dir(f"data://{owner}").dir(name)
            try:
                outcome = bringing.bring(name, target, entries)
            except _OF_ONE as error:
                outcome = _failure(error)
            self._note("collection", str(target.uri), outcome)

    def import_algorithms(self, manifest: Manifest, bringing: Bringing) -> None:
        """Bring all algorithms to those of the account."""
        for name in manifest.algorithms:
            ref = AlgorithmRef(owner=self._account, name=name)
            if not self._is_quiet:
                note(str(ref))
            try:
                outcome = bringing.bring(ref, algorithm_path(self._root, name))
            except _OF_ONE as error:
                outcome = _failure(error)
            self._note("algorithm", str(ref), outcome)

    def _note(self, kind: str, name: str, outcome: Outcome) -> None:
        self.results.append({"kind": kind, "name": name, **asdict(outcome)})
        if not self._is_quiet and (outcome.done or not outcome.problems):
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
