"""`algo create`, `init`, `clone`, `push`, `info`, `open` and `delete`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from algorium._cli.builds import built
from algorium._cli.following import HOST_S, find_build, follow_to_the_end
from algorium._cli.git import DEFAULT_BRANCH, Git, identity, repository_url
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
from algorium._cli.projects import (
    Project,
    account_name,
    project_here,
    ref_of,
    unpack,
    with_owner,
)
from algorium._errors import AlgorithmNotFound
from algorium._rendering_authoring import algorithm_lines
from algorium._rendering_authoring import as_json as value_json
from algorium.wire.refs import AlgorithmRef

if TYPE_CHECKING:
    from algorium import AlgorithmInfo, Algorium, EnvironmentInfo

_PYTHON = "python3"


@app.command
def create(
    name: str,
    /,
    *,
    language: str = _PYTHON,
    environment: str | None = None,
    label: str | None = None,
    tagline: str | None = None,
    source: Literal["open", "closed"] = "closed",
    license: str = "apl",  # noqa: A002 - what everybody calls it
    network: Literal["isolated", "full"] = "isolated",
    scm: str | None = None,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Create an algorithm; its source begins with the template of its language.

    Parameters
    ----------
    name
        OWNER/NAME; without an owner it is yours.
    language
        One of `algo languages`.
    environment
        Id of one of `algo environments`, instead of a language.
    label
        Its name for people.
    tagline
        What it does, in a sentence.
    source
        Who may read its source: you and your organization, or whoever may call it.
    license
        apl, apache2, gpl3 or mit; open source needs another than apl.
    network
        full: it reaches public addresses.
    scm
        Id of the source hosting to keep it at; here if left out.
    as_json
        Print what was created as JSON.
    """
    with connect(server) as client:
        ref = with_owner(name, client)
        algorithm = client.algorithms.create(
            ref,
            language=language,
            environment=environment,
            label=label,
            tagline=tagline,
            source_visibility=source,
            license=license,
            network_access=network,
            source={"scm": scm} if scm else None,
        )
    if as_json:
        write_json(value_json(algorithm))
        return
    write_line(f"{ref.owner}/{ref.name}")
    note(f"created; `algo clone {ref.owner}/{ref.name}` fetches its source")


@app.command
def init(
    name: str,
    directory: Path | None = None,
    /,
    *,
    language: str = _PYTHON,
    environment: str | None = None,
    server: Server | None = None,
) -> None:
    """
    Begin a project on this machine; `algo push` creates the algorithm.

    Parameters
    ----------
    name
        OWNER/NAME; without an owner it is yours.
    directory
        Where to; a new directory called NAME if left out.
    language
        One of `algo languages`.
    environment
        Id of one of `algo environments`, instead of the language's default.
    """
    with connect(server) as client:
        ref = with_owner(name, client)
        root = (directory or Path(ref.name)).absolute()
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UsageError(f"{root} exists and is not empty")
        chosen = _environment(client, language, environment)
        archive = client.environments.template(
            chosen.specification_id, owner=ref.owner, name=ref.name
        )
        connection = (server or Server()).connection()
    root.mkdir(parents=True, exist_ok=True)
    unpack(archive, root)
    git = Git(directory=root, connection=connection)
    git.run("init", "--quiet", "--initial-branch", DEFAULT_BRANCH, is_quiet=True)
    git.run("remote", "add", "origin", repository_url(connection, ref), is_quiet=True)
    write_line(str(root))
    note("next: edit its source, then `algo push` in there creates and builds it")


def _environment(client: "Algorium", language: str, wanted: str | None) -> "EnvironmentInfo":
    names = [language] if wanted is None else [each.name for each in _languages(client)]
    for each in names:
        for environment in client.environments.list(each):
            if wanted in {None, environment.environment_id, environment.specification_id}:
                return environment
    raise Failed(
        f"there is no environment {wanted!r}" if wanted else f"nothing runs {language!r} here",
        hint="`algo templates` lists what there is.",
    )


def _languages(client: "Algorium") -> Any:
    return client.environments.languages()


@app.command
def clone(name: str, directory: Path | None = None, /, *, server: Server | None = None) -> None:
    """
    Fetch the source of an algorithm into a new directory.

    Parameters
    ----------
    name
        OWNER/NAME; without an owner it is yours.
    directory
        Where to; a new directory called NAME if left out.
    """
    with connect(server) as client:
        ref = with_owner(name, client)
        username = account_name(client, ref.owner)
        algorithm = client.algorithms.get(ref)
    connection = (server or Server()).connection()
    url = _clone_url(algorithm, repository_url(connection, ref))
    target = (directory or Path(ref.name)).absolute()
    if not target.parent.is_dir():
        raise UsageError(f"there is no directory {target.parent}")
    git = Git(directory=target.parent, connection=connection, username=username)
    git.run("clone", "--quiet", "--", url, str(target))
    write_line(str(target))


def _clone_url(algorithm: "AlgorithmInfo", here: str) -> str:
    if algorithm.is_hosted_here:
        return here
    url = algorithm.source.get("repository_https_url") or algorithm.source.get("repository_ssh_url")
    if not isinstance(url, str) or not url.startswith(("https://", "http://", "ssh://", "git@")):
        raise Failed("the source is hosted elsewhere, and the server does not tell where")
    return url


@app.command
def push(
    *,
    message: Annotated[str, Parameter(name=["--message", "-m"])] = "",
    wait: bool = True,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Commit all changes of the project here and push them; the server builds what is pushed.

    Parameters
    ----------
    message
        What the commit is about.
    wait
        Wait for the end of the build.
    as_json
        Print the build as JSON.
    """
    project = project_here(server)
    connection = (server or Server()).connection()
    ref = project.ref
    with connect(server) as client:
        username = account_name(client, ref.owner)
        git = Git(directory=project.root, connection=connection, username=username)
        if not (project.root / ".git").exists():  # of a repository around it, all would be pushed
            raise UsageError(f"{project.root} is no repository of its own: `algo clone` makes one")
        if not git.knows("rev-parse", "--verify", "--quiet", "HEAD"):
            _adopt(client, git, project)
        _commit(git, message or f"Update {ref.name}", username)
        handle = client.algorithms(ref)
        algorithm = handle.info()
        if not _push(git, project, algorithm, wait=wait):
            return
        sha = git.ask("rev-parse", "HEAD")
        build = find_build(handle, sha, patience_s=0.0 if algorithm.is_hosted_here else HOST_S)
        if build is None and not wait:
            note("the server builds nothing; `algo build` makes it")
            return
        if build is None:  # nothing was pushed, and what is there was never built
            build = built(handle, sha, is_quiet=as_json)
        elif wait and not build.is_finished:
            build = follow_to_the_end(handle, build)
    if as_json:
        write_json(value_json(build))
    elif build.succeeded:
        write_line(f"{ref.owner}/{ref.name}/{sha}")
    if build.is_finished and not build.succeeded:
        reason = build.failure or f"the build {build.build_id} has failed"
        raise Failed(reason, hint="`algo logs` shows what the build said.")


def _push(git: Git, project: Project, algorithm: "AlgorithmInfo", *, wait: bool) -> bool:
    """Push what is checked out, and return whether the server builds that branch."""
    branch = git.ask("rev-parse", "--abbrev-ref", "HEAD")
    if not algorithm.is_hosted_here:
        default = algorithm.source.get("repository_default_branch")
        git.run("push", "origin", "HEAD")
        target = branch
    else:
        default = DEFAULT_BRANCH
        target = DEFAULT_BRANCH if branch in {"HEAD", "main"} else branch
        options = () if wait else ("--push-option=no-wait",)
        git.run("push", *options, _remote(git, project), f"HEAD:refs/heads/{target}")
    if target != default:
        note(f"pushed; the server builds {default} only, not {target}")
    return target == default


def _adopt(client: "Algorium", git: Git, project: Project) -> None:
    """Put the first commit of the algorithm below a project that has none, and create it first."""
    ref = project.ref
    try:
        client.algorithms.get(ref)
    except AlgorithmNotFound:
        client.algorithms.create(ref, language=project.language or _PYTHON)
        note(f"created {ref.owner}/{ref.name}")
    git.run("fetch", "--quiet", _remote(git, project), DEFAULT_BRANCH)
    git.run("update-ref", "HEAD", "FETCH_HEAD")
    git.run("read-tree", "HEAD")


def _commit(git: Git, message: str, username: str) -> None:
    git.run("add", "--all", is_quiet=True)
    if git.knows("diff", "--cached", "--quiet"):
        return
    is_known = git.knows("config", "user.email") and git.knows("config", "user.name")
    who = () if is_known else identity(username, git.connection)
    git.run(*who, "commit", "--quiet", "--message", message, is_quiet=True)


def _remote(git: Git, project: Project) -> str:
    """Return `origin`, if that is this algorithm at this server, else its address."""
    url = repository_url(git.connection, project.ref)
    if git.knows("remote", "get-url", "origin"):
        known = git.ask("remote", "get-url", "origin")
        if known.removesuffix(".git").lower() == url.removesuffix(".git").lower():
            return "origin"
    return url


@app.command
def info(
    ref: str | None = None,
    /,
    *,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Show an algorithm, or one version of it.

    Parameters
    ----------
    ref
        OWNER/NAME or OWNER/NAME/VERSION; the project here if left out.
    as_json
        Print it as JSON.
    """
    wanted = ref_of(ref, server)
    with connect(server) as client:
        handle = client.algorithms(wanted)
        algorithm = handle.version(wanted.version) if wanted.version else handle.info()
    if as_json:
        write_json(value_json(algorithm))
        return
    for line in algorithm_lines(algorithm):
        write_line(line)


@app.command(name="open")
def open_(
    ref: str | None = None,
    /,
    *,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Print the addresses of an algorithm: to call it, to clone it, to manage it.

    Parameters
    ----------
    ref
        OWNER/NAME; the project here if left out.
    as_json
        Print them as JSON.
    """
    wanted = ref_of(ref, server)
    connection = (server or Server()).connection()
    api = connection.api_address
    addresses = {"call": f"{api}/v1/algo/{wanted}"}
    if not wanted.algorithm_id:
        addresses["clone"] = repository_url(connection, wanted)
    head = wanted.algorithm_id or f"{wanted.owner}/{wanted.name}"
    addresses["manage"] = f"{api}/v1/algorithms/{head}"
    if as_json:
        write_json(addresses)
        return
    for name, address in addresses.items():
        write_line(f"{name:<6}  {address}")


@app.command
def delete(
    name: str,
    /,
    *,
    yes: Annotated[bool, Switch] = False,
    server: Server | None = None,
) -> None:
    """
    Delete an algorithm with its source, builds and versions. There is no way back.

    Parameters
    ----------
    name
        OWNER/NAME; it is never guessed.
    yes
        Do not ask.
    """
    ref = AlgorithmRef.parse(name)
    if ref.version:
        raise UsageError("versions are not deleted: name the whole algorithm as OWNER/NAME")
    with connect(server) as client:
        handle = client.algorithms(ref)
        handle.info()  # do not ask about what is not there
        if not yes:
            _confirm(str(ref))
        handle.delete()
    note(f"deleted {ref}")


def _confirm(name: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked: say --yes")
    note(f"This deletes {name} with its source, builds and versions, for ever.")
    sys.stderr.write("Its name, to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != name.lower():
        raise Failed("nothing was deleted", hint="That was not its name.")
