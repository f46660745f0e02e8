"""`algo completion`, `help`, and the names that the old command line had for other commands."""

from pathlib import Path
from typing import Annotated, Literal

from algorium._cli.catalogs import environments
from algorium._cli.program import AsJson, Server, UsageError, app, connect, write_line
from algorium._cli.projects import unpack

Shell = Literal["bash", "zsh", "fish", "powershell"]


@app.command
def completion(shell: Shell, /, *, install: bool = False, server: Server | None = None) -> None:
    """
    Print what makes a shell complete commands and options.

    For bash: algo completion bash > ~/.local/share/bash-completion/completions/algo

    Parameters
    ----------
    shell
        bash, zsh, fish or powershell.
    install
        Put it where the shell looks for it, and say where that is.
    """
    del server  # only for its options, which all commands have
    if install:
        path = app.install_completion(shell=shell)
        write_line(f"installed {path}; it counts from the next shell on")
        return
    write_line_by_line(app.generate_completion(shell=shell))


def write_line_by_line(text: str) -> None:
    """Write a text of ours to standard output."""
    for line in text.rstrip("\n").split("\n"):
        write_line(line)


@app.command(name="help")
def help_(*words: str, server: Server | None = None) -> None:
    """
    Show what there is to know about a command; without one, all commands.

    Parameters
    ----------
    words
        The command.
    """
    del server
    if words and words[0] not in app:
        raise UsageError(f"there is no command {words[0]!r}")
    app.help_print(list(words))


@app.command(show=False)
def environment(
    language: str,
    /,
    *,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List what algorithms in a language can be built in; as `algo environments`.

    Parameters
    ----------
    language
        One of `algo languages`.
    as_json
        Print a JSON list.
    """
    environments(language, as_json=as_json, server=server)


@app.command(show=False)
def template(environment_id: str, directory: Path, /, *, server: Server | None = None) -> None:
    """
    Fetch the template of an environment; `algo init` begins a project with it.

    Parameters
    ----------
    environment_id
        Id of the specification of one of `algo environments`.
    directory
        Where to; it must be empty, or not be there.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} exists and is not empty")
    with connect(server) as client:
        archive = client.environments.template(environment_id)
    directory.mkdir(parents=True, exist_ok=True)
    unpack(archive, directory)
    write_line(str(directory))
