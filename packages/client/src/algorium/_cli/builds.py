"""`algo build`, `builds`, `logs`, `publish`, `versions` and `errors`."""

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from algorium._cli.following import Compilation, LogWriter, follow_to_the_end
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
    write_list,
)
from algorium._cli.projects import account_name, algorithm_of
from algorium._errors import BuildFailed
from algorium._rendering_authoring import as_json as value_json
from algorium._rendering_authoring import build_rows, error_lines, version_rows

if TYPE_CHECKING:
    from algorium import BuildInfo, ManagedAlgorithm

_ROWS: Final = 20


@app.command
def build(
    ref: str | None = None,
    /,
    *,
    commit: str = "",
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Build an algorithm on the server and wait for the end of that.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out. What is built is what was pushed.
    commit
        Its whole hash; the newest one if left out.
    quiet
        Do not show what the build says.
    as_json
        Print the build as JSON.
    """
    wanted = algorithm_of(ref, server)
    with connect(server) as client:
        handle = client.algorithms(wanted)
        done = built(handle, commit, is_quiet=quiet)
    if as_json:
        write_json(value_json(done))
    elif done.succeeded:
        write_line(f"{wanted.algorithm_id or f'{wanted.owner}/{wanted.name}'}/{done.commit}")
    if not done.succeeded:
        raise Failed(
            done.failure or f"the build {done.build_id} has failed",
            hint="Look at the last lines of its log: `algo logs` shows it again.",
        )


def built(handle: "ManagedAlgorithm", commit: str, *, is_quiet: bool) -> "BuildInfo":
    """Have a commit built, and return the build as it has ended; shows what it says."""
    compilation = Compilation(handle, commit)
    begun = compilation.begun()
    if begun is not None and not is_quiet:
        follow_to_the_end(handle, begun)
    try:
        build_id = _id_of(compilation.finish().build)
    except BuildFailed as error:
        build_id = error.build_id
        if not build_id and begun is None:
            raise
    # What was shown may have been the build of somebody who asked in the same moment.
    return handle.build(build_id or _id_of(begun))


def _id_of(build: "BuildInfo | None") -> str:
    return build.build_id if build is not None else ""


@app.command
def builds(
    ref: str | None = None,
    name: str | None = None,
    /,
    *,
    limit: int = _ROWS,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List the builds of an algorithm, newest first.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out.
    name
        NAME, if ref is only OWNER: the old command line had it so.
    limit
        How many to list at most.
    as_json
        Print a JSON list.
    """
    _check_limit(limit)
    wanted = algorithm_of(ref if name is None else f"{ref}/{name}", server)
    with connect(server) as client:
        found = list(islice(client.algorithms(wanted).builds(), limit))
    write_list(found, build_rows(found), as_json=as_json)


@app.command
def logs(
    ref: str | None = None,
    /,
    *,
    build: Annotated[str, Parameter(name=["--build", "-b"])] = "",
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Show what a build has said.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out.
    build
        Its id; the newest one if left out.
    follow
        If it has not ended, show what it says until then.
    as_json
        Print build and log as JSON.
    """
    wanted = algorithm_of(ref, server)
    with connect(server) as client:
        handle = client.algorithms(wanted)
        found = handle.build(build) if build else next(handle.builds(), None)
        if found is None:
            raise Failed("nothing was built yet", hint="`algo push` or `algo build` does.")
        if not found.is_finished and not follow:
            raise Failed(
                f"the build {found.build_id} has not ended", hint="With --follow it is shown live."
            )
        if as_json:
            texts = list(handle.follow_build(found.build_id)) if follow else []
            log = "".join(texts) if follow else handle.build_log(found.build_id)
            write_json({**value_json(handle.build(found.build_id)), "log": log})
            return
        writer = LogWriter(is_result=True)
        for text in (
            handle.follow_build(found.build_id) if follow else [handle.build_log(found.build_id)]
        ):
            writer.write(text)
        writer.close()


@app.command
def publish(
    ref: str | None = None,
    /,
    *,
    type: Literal["major", "minor", "revision"] | None = None,  # noqa: A002 - the wire's word
    number: str | None = None,
    release_notes: Annotated[str | None, Parameter(name=["--notes", "-m"])] = None,
    public: Annotated[bool | None, Parameter(negative="--private")] = None,
    sample: str | None = None,
    sample_json: str | None = None,
    sample_file: Path | None = None,
    commit: str | None = None,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Publish the newest build as a version, which never changes again.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out.
    type
        Which part of the number grows; minor if left out.
    number
        Exactly this version, such as 2.0.0, instead.
    release_notes
        What is new.
    public
        Everybody may call it, or only its owner; if left out, as for the version before.
    sample
        An example of input, as text.
    sample_json
        The same as JSON.
    sample_file
        The same as a file: JSON if it is called *.json, else text.
    commit
        Publish the build of this commit.
    as_json
        Print the version as JSON.
    """
    wanted = algorithm_of(ref, server)
    callability = {True: "public", False: "private", None: None}[public]
    example = _example(sample, sample_json, sample_file)
    with connect(server) as client:
        published = client.algorithms(wanted).publish(
            version_type=type,
            number=number,
            commit=commit,
            callability=callability,
            release_notes=release_notes,
            sample_input=example,
        )
    for warning in published.warnings:
        note(f"warning: {warning}")
    if as_json:
        write_json(value_json(published))
        return
    write_line(published.ref)


@app.command
def versions(
    ref: str | None = None,
    /,
    *,
    limit: int = _ROWS,
    unpublished: Annotated[bool, Switch] = False,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List the versions of an algorithm, newest first.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out.
    limit
        How many to list at most.
    unpublished
        List what is built and not published, too.
    as_json
        Print a JSON list.
    """
    _check_limit(limit)
    wanted = algorithm_of(ref, server)
    with connect(server) as client:
        every = client.algorithms(wanted).versions(published=None if unpublished else True)
        found = list(islice(every, limit))
    write_list(found, version_rows(found), as_json=as_json)


@app.command
def errors(
    ref: str | None = None,
    /,
    *,
    mine: Annotated[bool, Switch] = False,
    organization: str = "",
    stack: Annotated[bool, Switch] = False,
    limit: int = _ROWS,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Show the last failed calls of an algorithm, newest first.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out.
    mine
        Instead, those of all your algorithms, and all that you made.
    organization
        Instead, those of all algorithms of this organization.
    stack
        Also show inputs and stack traces.
    limit
        How many to show at most.
    as_json
        Print a JSON list.
    """
    _check_limit(limit)
    if (ref is not None) + mine + bool(organization) > 1:
        raise UsageError("choose one: an algorithm, --mine or --organization")
    with connect(server) as client:
        if organization:
            found = client.algorithms.errors_of(organization, is_organization=True)
        elif mine:
            found = client.algorithms.errors_of(_me(server))
        else:
            found = client.algorithms(algorithm_of(ref, server)).errors()
    write_list(found[:limit], error_lines(found[:limit], with_stack=stack), as_json=as_json)


def _me(server: Server | None) -> str:
    with connect(server) as client:
        name = account_name(client, "")
    if not name:
        raise Failed("the server does not tell who you are", hint="Name an algorithm instead.")
    return name


def _example(text: str | None, json_text: str | None, file: Path | None) -> Any:
    if sum(each is not None for each in (text, json_text, file)) > 1:
        raise UsageError("choose one of --sample, --sample-json and --sample-file")
    if file is not None:
        content = file.read_text(encoding="utf-8")
        text, json_text = (None, content) if file.suffix == ".json" else (content, None)
    if json_text is None:
        return text
    try:
        json.loads(json_text)
    except ValueError as error:
        raise UsageError(f"the sample is not JSON: {error}") from error
    return json_text


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise UsageError("--limit must be at least 1")
