"""`algo languages`, `environments` and `templates`."""

from typing import TYPE_CHECKING, Annotated

from algorium._cli.program import AsJson, Server, app, connect, write_list
from algorium._rendering_authoring import environment_rows, table

if TYPE_CHECKING:
    from algorium import Algorium, EnvironmentInfo


@app.command
def languages(*, as_json: Annotated[bool, AsJson] = False, server: Server | None = None) -> None:
    """
    List the languages that the server knows.

    Parameters
    ----------
    as_json
        Print a JSON list.
    """
    with connect(server) as client:
        found = client.environments.languages()
    write_list(
        found,
        table(("language", "name"), [(each.name, each.display_name) for each in found]),
        as_json=as_json,
    )


@app.command
def environments(
    language: str | None = None,
    /,
    *,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List what algorithms can be built in.

    Parameters
    ----------
    language
        Of this language only.
    as_json
        Print a JSON list.
    """
    with connect(server) as client:
        found = _environments(client, language)
    write_list(found, environment_rows(found), as_json=as_json)


@app.command
def templates(*, as_json: Annotated[bool, AsJson] = False, server: Server | None = None) -> None:
    """
    List what projects can begin with: `algo init NAME --language LANGUAGE`.

    Parameters
    ----------
    as_json
        Print a JSON list.
    """
    with connect(server) as client:
        firsts = {each.language: each for each in reversed(_environments(client, None))}
    found = list(reversed(firsts.values()))
    rows = [(each.language, each.display_name) for each in found]
    write_list(found, table(("language", "environment"), rows), as_json=as_json)


def _environments(client: "Algorium", language: str | None) -> "list[EnvironmentInfo]":
    names = [each.name for each in client.environments.languages()]
    wanted = names if language is None else [language]
    return [found for name in wanted for found in client.environments.list(name)]
