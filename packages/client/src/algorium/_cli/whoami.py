"""`algo whoami`."""

from typing import Annotated

from algorium._cli.program import AsJson, Server, app, connect, write_json, write_line
from algorium._rendering_authoring import as_json as value_json


@app.command
def whoami(
    *,
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Show to whom the key belongs, and on which server.

    Parameters
    ----------
    as_json
        Print a JSON object.
    """
    with connect(server) as client:
        me = client.users.me()
        address = client.api_address
    if as_json:
        told = {name: value for name, value in value_json(me).items() if name != "api_key"}
        write_json({**told, "api_address": address})
        return
    facts = {
        "user": me.username,
        "name": me.fullname,
        "email": me.email,
        "server": address,
    }
    for fact, text in facts.items():
        if text:
            write_line(f"{fact:<6}  {text}")
