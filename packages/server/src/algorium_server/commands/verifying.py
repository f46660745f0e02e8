"""
The command `algorium verify`: opens a home without a server, builds a version again, compares.

It changes nothing and may run beside a server.
"""

import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from algorium.wire.refs import AlgorithmRef, RefSyntaxError
from algorium_server.domain.errors import AlgorithmNotFound, InvalidInput, Unavailable
from algorium_server.engine.host import SandboxHost
from algorium_server.home import open_database
from algorium_server.services.authoring.confining import SandboxedJobs
from algorium_server.services.authoring.verifying import State, Verdict, Verifying
from algorium_server.services.directory import Directory
from algorium_server.settings import Settings


async def verify(settings: Settings, name: str) -> Verdict:
    """
    Verify a version.

    Args:
        settings: Where it is, and how to confine what is run.
        name: `OWNER/NAME/VERSION`; a commit counts as a version.

    Raises:
        InvalidInput: That is no reference.
        AlgorithmNotFound: There is no such version.
        Unavailable: There is no home, it cannot be used, or this host offers no sandbox.
    """
    try:
        ref = AlgorithmRef.parse(name)
    except RefSyntaxError as error:
        raise InvalidInput(f"not a reference: {error}") from error
    if not settings.database and not (settings.home / "algorium.db").is_file():
        raise Unavailable(f"there is no database in {settings.home}: is --home right?")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(await open_database(settings))
        directory = Directory(database)
        await directory.load()
        algorithm = directory.algorithm(ref)
        owner = directory.account(algorithm.owner_id) if algorithm is not None else None
        found = directory.resolve(ref, directory.principal_of(owner)) if owner else None
        if found is None:
            raise AlgorithmNotFound(f"there is no {ref}")
        state_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="algorium-verify-"))
        host = await SandboxHost.start(
            settings.sandbox_wanted, Path(state_dir), allowed=settings.network_allowed
        )
        stack.push_async_callback(host.close)
        verifying = Verifying(
            database=database, home=settings.home, run_confined=SandboxedJobs(host)
        )
        return await verifying.verify(found)


def as_dict(verdict: Verdict) -> Mapping[str, Any]:
    """Return a verdict as JSON has it."""
    return {
        "version": verdict.name,
        "commit": verdict.commit_sha,
        "is_same": verdict.is_same,
        "checks": [
            {
                "name": check.name,
                "state": check.state.value,
                "differences": check.count,
                "details": check.details,
            }
            for check in verdict.checks
        ],
    }


def as_text(verdict: Verdict) -> str:
    """Return a verdict for people."""
    lines = [f"{verdict.name}, commit {verdict.commit_sha}"]
    for check in verdict.checks:
        lines.append(f"{check.name}: {check.state.value}")
        lines += [f"    {detail}" for detail in check.details]
        if check.count > len(check.details):
            lines.append(f"    and {check.count - len(check.details)} more")
    if verdict.is_same:
        lines.append("verified")
    elif any(check.state is State.DIFFERENT for check in verdict.checks):
        lines.append("different")
    else:
        lines.append("not verified")
    return "".join(f"{line}\n" for line in lines)
