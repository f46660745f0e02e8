"""`algo connector`: `list`, `show`, `create`, `test`, `update`, `delete`."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from algorium._cli.credentials import MEMBERS, gathered
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
from algorium._rendering_authoring import as_json as value_json
from algorium._rendering_authoring import fact_lines, table

if TYPE_CHECKING:
    from algorium import ConnectorInfo, ConnectorReport, Connectors

_HEADS: Final = ("uri", "default", "access", "opens", "id")
_SWITCHES: Final = {"true": True, "yes": True, "false": False, "no": False}
_SWITCHED: Final = frozenset({"path_style", "allow_http"})
_OPTIONS: Final = (
    *("endpoint", "region", "path_style", "kms_key_id", "allow_http", "bucket"),
    "ca_certificate",  # to take it back; a new one comes from a file
)
_PEM_BYTES_MAX: Final = 1 << 20

Credentials: Final = Parameter(name="--credentials", allow_leading_hyphen=True)
Repeated: Final = Parameter(negative="")

connector = App(
    name="connector",
    alias="connectors",
    help="Storage elsewhere that your account has connected: S3, Google Cloud, Azure, Dropbox.",
)
app.command(connector)


@connector.command(name="list")
def list_connectors(
    *,
    organization: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    List connectors; their credentials are never shown.

    Parameters
    ----------
    organization
        Of this organization, which you own.
    as_json
        Print a JSON list.
    """
    with connect(server) as client:
        found = list(client.connectors.of(organization).list())
    rows = [
        (
            str(each.uri),
            "yes" if each.is_default else "",
            "write" if each.is_writeable else "read",
            each.path,
            each.connector_id,
        )
        for each in found
    ]
    if as_json:
        write_json([_told(each) for each in found])
        return
    write_list(found, table(_HEADS, rows), as_json=False)


@connector.command
def show(
    which: str,
    /,
    *,
    organization: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Show a connector; its credentials are never shown.

    Parameters
    ----------
    which
        Its URI, such as s3+archive:// or s3:// for the default one, or its id.
    organization
        Of this organization, which you own.
    as_json
        Print a JSON object.
    """
    with connect(server) as client:
        found = _one(client.connectors.of(organization), which)
    _show(found, as_json=as_json)


@connector.command
def create(
    protocol: str,
    /,
    *,
    label: str | None = None,
    credentials: Annotated[Path | None, Credentials] = None,
    from_env: Annotated[bool, Switch] = False,
    credential: Annotated[tuple[str, ...], Repeated] = (),
    path: str = "*",
    writeable: Annotated[bool, Switch] = False,
    default: Annotated[bool, Switch] = False,
    option: Annotated[tuple[str, ...], Repeated] = (),
    ca_certificate: Path | None = None,
    test: Annotated[bool, Switch] = False,
    organization: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Connect storage elsewhere, and print the URI of its root.

    Commands can be seen by others, so credentials are read from a file or from the environment;
    what is missing then is asked for.

    Parameters
    ----------
    protocol
        s3, gs, azureblob or dropbox.
    label
        Tells connectors of one protocol apart; made up if left out.
    credentials
        File with a JSON object, - for standard input; the key file of a Google service account
        is one.
    from_env
        Take them from the variables that the tools of the provider read, such as
        AWS_SECRET_ACCESS_KEY.
    credential
        NAME=VALUE. Others on this machine can read it: for what is no secret.
    path
        Pattern of what it opens, such as bucket/*.
    writeable
        Files may be written and deleted.
    default
        URIs without a label mean this one.
    option
        NAME=VALUE: endpoint, region, path_style, kms_key_id, allow_http or bucket.
    ca_certificate
        File with a certificate to trust at the endpoint.
    test
        Try it out at once; ends with 1 if something cannot be done, and keeps it.
    organization
        For this organization, which you own.
    as_json
        Print a JSON object.
    """
    if protocol not in MEMBERS:
        raise UsageError(f"{protocol} is none of {', '.join(MEMBERS)}")
    options = _options(option, ca_certificate)
    found = gathered(protocol, file=credentials, from_env=from_env, told=credential, asks=True)
    with connect(server) as client:
        connectors = client.connectors.of(organization)
        made = connectors.create(
            protocol,
            found,
            label=label,
            is_default=default,
            path=path,
            is_writeable=writeable,
            options=options or None,
        )
        made = connectors.get(made.connector_id)  # the answer to `create` does not have it all
        report = connectors.test(made) if test else None
    if as_json:
        write_json(_told(made) | ({"test": _report(report)} if report is not None else {}))
    else:
        write_line(str(made.uri))
        note(f"created {made.connector_id}")
    _judge(report, made, is_told=as_json)


@connector.command(name="test")
def try_out(
    which: str,
    /,
    *,
    organization: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Try what can be done through a connector; ends with 1 if something cannot.

    Parameters
    ----------
    which
        Its URI, such as s3+archive:// or s3:// for the default one, or its id.
    organization
        Of this organization, which you own.
    as_json
        Print a JSON object.
    """
    with connect(server) as client:
        connectors = client.connectors.of(organization)
        found = _one(connectors, which)
        report = connectors.test(found)
    if as_json:
        write_json(_report(report))
    _judge(report, found, is_told=as_json)


@connector.command
def update(
    which: str,
    /,
    *,
    label: str | None = None,
    credentials: Annotated[Path | None, Credentials] = None,
    from_env: Annotated[bool, Switch] = False,
    credential: Annotated[tuple[str, ...], Repeated] = (),
    ask: Annotated[bool, Switch] = False,
    path: str | None = None,
    writeable: bool | None = None,
    default: bool | None = None,
    option: Annotated[tuple[str, ...], Repeated] = (),
    ca_certificate: Path | None = None,
    organization: str = "",
    as_json: Annotated[bool, AsJson] = False,
    server: Server | None = None,
) -> None:
    """
    Change a connector; what is left out stays as it is.

    Credentials are replaced as a whole, and only if one of --credentials, --from-env,
    --credential and --ask says from where.

    Parameters
    ----------
    which
        Its URI, such as s3+archive:// or s3:// for the default one, or its id.
    label
        Another one; URIs with the old one lead nowhere then.
    credentials
        File with a JSON object, - for standard input.
    from_env
        Take them from the variables that the tools of the provider read.
    credential
        NAME=VALUE. Others on this machine can read it: for what is no secret.
    ask
        Ask for them.
    path
        Pattern of what it opens, such as bucket/*.
    writeable
        Whether files may be written and deleted.
    default
        Whether URIs without a label mean this one.
    option
        NAME=VALUE: endpoint, region, path_style, kms_key_id, allow_http or bucket. An empty value
        takes it back.
    ca_certificate
        File with a certificate to trust at the endpoint.
    organization
        Of this organization, which you own.
    as_json
        Print a JSON object.
    """
    options = _options(option, ca_certificate)
    replaces = ask or from_env or credentials is not None or bool(credential)
    facts = (label, path, writeable, default)
    if not (replaces or options) and all(fact is None for fact in facts):
        raise UsageError("there is nothing to change")
    with connect(server) as client:
        connectors = client.connectors.of(organization)
        old = _one(connectors, which)
        secrets = (
            gathered(
                old.protocol, file=credentials, from_env=from_env, told=credential, asks=replaces
            )
            if replaces
            else None
        )
        kept = {name: value for name, value in {**old.options, **options}.items() if value != ""}
        changed = connectors.update(
            old,
            credentials=secrets,
            label=label,
            is_default=default,
            path=path,
            is_writeable=writeable,
            options=kept if options else None,
        )
    if as_json:
        write_json(_told(changed))
    else:
        note(f"changed {changed.uri}")


@connector.command
def delete(
    which: str,
    /,
    *,
    organization: str = "",
    server: Server | None = None,
) -> None:
    """
    Delete a connector with its credentials; what it connects stays as it is.

    Parameters
    ----------
    which
        Its URI, such as s3+archive:// or s3:// for the default one, or its id.
    organization
        Of this organization, which you own.
    """
    with connect(server) as client:
        connectors = client.connectors.of(organization)
        found = _one(connectors, which)
        connectors.delete(found)
    note(f"deleted {found.uri}")


def _one(connectors: "Connectors", which: str) -> "ConnectorInfo":
    """Find what a URI, or the part before its `://`, or an id means; labels may look like ids."""
    scheme = which.partition(":")[0]
    found = list(connectors.list())
    for each in found:
        if scheme == f"{each.protocol}+{each.label}":
            return each
    for each in found:
        if (each.is_default and scheme == each.protocol) or which == each.connector_id:
            return each
    raise Failed(f"there is no connector {which}", hint="`algo connector list` shows all.")


def _options(told: Iterable[str], ca_certificate: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in told:
        name, is_told, value = each.partition("=")
        if not is_told or name not in _OPTIONS:
            raise UsageError(f"--option takes NAME=VALUE, with a name of {', '.join(_OPTIONS)}")
        if name in _SWITCHED and value.lower() not in _SWITCHES and value:
            raise UsageError(f"--option {name} takes true or false")
        found[name] = _SWITCHES[value.lower()] if name in _SWITCHED and value else value
    if ca_certificate is not None:
        with ca_certificate.open("rb") as stream:
            raw = stream.read(_PEM_BYTES_MAX + 1)
        if len(raw) > _PEM_BYTES_MAX or not raw.isascii():
            raise UsageError(f"{ca_certificate} is no certificate in PEM")
        found["ca_certificate"] = raw.decode("ascii")
    return found


def _told(found: "ConnectorInfo") -> dict[str, Any]:
    return {"uri": str(found.uri), **value_json(found)}


def _report(report: "ConnectorReport") -> dict[str, Any]:
    return {"ok": report.ok, **value_json(report)}


def _judge(report: "ConnectorReport | None", found: "ConnectorInfo", *, is_told: bool) -> None:
    """Show a report to people unless it was told to programs; `Failed` if it is no good one."""
    if report is None:
        return
    tried = {name: getattr(report, name) for name in ("list", "read", "write", "delete")}
    for name, check in tried.items():
        if check is not None and not is_told:
            write_line(f"{name:<6}  {'yes' if check.ok else 'no':<3}  {check.message}".rstrip())
    if not report.ok:
        failed = [name for name, check in tried.items() if check is not None and not check.ok]
        raise Failed(
            f"{found.uri} does not {', '.join(failed)}",
            hint="The messages say why; `algo connector update` changes it.",
        )


def _show(found: "ConnectorInfo", *, as_json: bool) -> None:
    if as_json:
        write_json(_told(found))
        return
    facts = {
        "uri": str(found.uri),
        "id": found.connector_id,
        "owner": found.owner,
        "opens": found.path,
        "access": "read and write" if found.is_writeable else "read",
        "default": "yes" if found.is_default else "",
        **{name: _first_line(value) for name, value in found.options.items()},
        "since": found.created_at.strftime("%Y-%m-%d") if found.created_at is not None else "",
    }
    for line in fact_lines(facts):
        write_line(line)


def _first_line(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).partition("\n")[0]
