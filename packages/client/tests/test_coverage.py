"""
Every operation of a server can be asked for by the client, or it is said here why not.

Every public method is called once, and the requests that it would send are held against the
tables of operations that the tests of rights go through.
"""

import contextlib
import csv
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import algorium
from algorium import Algorium, AlgoriumError
from algorium._messages import Request, Response

TABLES = Path(__file__).parents[3] / "tests" / "rights"

ID = "11111111-2222-4333-8444-555555555555"

LISTENER = {
    "id": "l1",
    "sourceType": "AmazonSQS",
    "sourceURI": "https://sqs.example.com/q",
    "algoOwner": "demo",
    "algoName": "Hello",
    "algoVersion": "",
    "algoTimeoutSeconds": 300,
    "credentials": "********",
    "listenerOwner": "ada",
    "delivery": "stored, not polled",
}
SECRETS = {"secrets": [{"id": "s1", "secret_key": "x"}]}
UPLOAD_BEGUN = algorium.UnfinishedUpload(
    upload_id="x", uri="data://.my/x/file", size_bytes=1, part_bytes=1, parts_max=1
)
ANSWERS: dict[str, Any] = {
    "/v1/session": {"user": {"id": "u1", "username": "ada", "email": "a@b.c"}},
    "/v1/users/ada/event-listeners/x": LISTENER,
    "/v1/algorithms/demo/Hello": {"id": ID, "name": "Hello"},
    "/v1/algorithms/demo/Hello/secrets": SECRETS,
    "/v1/hostedData": {"result": [{"id": "c1", "username": "ada", "collection_name": "x"}]},
    "/v1/connector/data": {"folders": [{"name": "ada"}], "files": []},
    "/v1/admin/secret-provider/x": {"id": "p1"},
    f"/v1/algorithms/{ID}/secrets": SECRETS,
}
"""What a method must hear before it asks for more; all else is answered with nothing."""

VALUES: dict[str, Any] = {
    "changes": {},
    "collection": "data://.my/x",
    "connection": algorium.InsightsConnection(connection_type="x", broker_url="x", topic="x"),
    "connector": algorium.ConnectorInfo(connector_id="c1", owner="ada", protocol="s3", label="x"),
    "content": b"x",
    "cpu_second": 1.0,
    "enabled": True,
    "limits": {"calls_open": 1},
    "ref": "demo/Hello",
    "role": "cluster_viewer",
    "scm": {},
    "slots": 1,
    "uri": "data://.my/x",
    "sources": algorium.PackageSourcesInfo(),
}
"""Arguments by their names; the others are `x`."""

FORMS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("Admin", "image"): [{"name": "favicon"}, {"name": "logo"}],
    ("Admin", "set_image"): [{"name": "favicon"}, {"name": "logo"}],
    ("Admin", "reset_image"): [{"name": "favicon"}, {"name": "logo"}],
    ("Admin", "grant"): [{}, {"role": "cluster_admin"}],
    ("Admin", "revoke"): [{}, {"role": "cluster_admin"}],
    ("Algorithms", "errors_of"): [{}, {"is_organization": True}],
    ("Connectors", "create"): [{"protocol": "s3", "credentials": {}}],
    ("Scms", "connect"): [{"token": "x"}],
    ("Reports", "governance"): [{}, {"organization": "acme"}],
    ("Secrets", "set"): [{"value": "x"}, {"variable": "NEW", "value": "x"}],
    ("Keys", "list"): [{}, {"organization": "acme"}],
    ("Keys", "create"): [{}, {"organization": "acme"}],
    ("Keys", "rotate"): [{}, {"organization": "acme"}],
    ("Keys", "delete"): [{}, {"organization": "acme"}],
}
"""Methods that ask for different things, or that take what no name tells."""


class Recorder:
    """In place of a transport: notes what flows ask for."""

    connections_max = 4
    retries_max = 0

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()

    def run(self, flow: Any) -> Any:
        answer = None
        while True:
            try:
                request: Request = flow.send(answer)
            except StopIteration as done:
                return done.value
            self.asked.add((request.method, request.path))
            body = json.dumps(ANSWERS.get(request.path, {"results": []})).encode()
            answer = Response(status=200, headers={"content-type": "application/json"}, body=body)


class Recorded(Algorium):
    """A client that sends nothing."""

    def _open(self, connection: Any, options: Any) -> Any:
        return Recorder()


def methods_of(resource: Any) -> Iterator[tuple[str, Any]]:
    for name, method in inspect.getmembers(resource, inspect.ismethod):
        if not name.startswith("_") and name not in {"abandon_upload", "close", "of"}:
            yield name, method


def ask(method: Any, form: dict[str, Any]) -> None:
    wanted = {
        parameter.name: VALUES.get(parameter.name, "x")
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    # Answers are empty: what was asked for is what counts.
    with contextlib.suppress(AlgoriumError):
        found = method(**{**wanted, **form})
        if inspect.isgenerator(found):
            list(found)


def everything_asked() -> tuple[set[tuple[str, str]], set[str]]:
    """Call every method; return what was asked for, and the methods that asked for nothing."""
    client = Recorded("simKey", "http://127.0.0.1:1")
    recorder: Any = client._transport
    named = [name for name, each in inspect.getmembers(Algorium) if isinstance(each, property)]
    resources = [getattr(client, name) for name in named if name != "api_address"]
    for ref in ("demo/Hello", ID):
        resources += [client.algorithms(ref), client.algorithms(ref).secrets]
    asked, silent = set(), set()
    for resource in (client, *resources):
        for name, method in methods_of(resource):
            recorder.asked = set()
            for form in FORMS.get((type(resource).__name__, name), [{}]):
                ask(method, form)
            if not recorder.asked:
                silent.add(f"{type(resource).__name__}.{name}")
            asked |= recorder.asked
    ask(client.abandon_upload, {"upload": UPLOAD_BEGUN})
    for place in ("data://.my/x", "s3://bucket/x"):
        file, directory = client.file(f"{place}/file"), client.dir(place)
        for method in (file.read, file.stat, file.put, file.delete, directory.create):
            ask(method, {})
        ask(directory.set_acl, {"acl": algorium.ReadAcl.PRIVATE})
    for ref in ("demo/Hello", "demo/Hello/1.0.0", ID, f"{ID}/1.0.0"):
        ask(client.algo(ref).pipe, {})
    return asked | recorder.asked, silent


BROWSER = "is for people in a browser, whom the server sends from page to page"
HOOK = "is called by hosts of source"
GIT = "is git's"
OLD = "is an older name of what the client asks for otherwise"
UPLOAD = "is sent by put_file with a file of several parts; test_transfers.py does that"
NO_USE = "is kept for old programs, and decides nothing here"

DATA = "has the files of /v1/connector/data, which the client asks for"

NOT_OFFERED = {
    **{
        f"{method} /v1/data[/{{path}}]": DATA
        for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
    },
    "POST /v1/web/algo/{owner}/{algo}[/{version}]": BROWSER,
    "OPTIONS /v1/web/algo/{owner}/{algo}[/{version}]": BROWSER,
    "GET /v1/scms/{scmId}/oauth/start": BROWSER,
    "GET /v1/scms/{scmId}/oauth/finish": BROWSER,
    "GET /v1/scms/oauth/finish": BROWSER,
    "GET /v1/clients/js/algorithmia-0.2.1.js": BROWSER,
    "GET /webapi/user": BROWSER,
    "POST /v1/session": BROWSER,
    "DELETE /v1/session": BROWSER,
    "GET /v1/session/methods": BROWSER,
    "GET /v1/session/oidc/start": BROWSER,
    "GET /v1/session/oidc/finish": BROWSER,
    "POST /v1/algorithms/{owner}/{algo}/scm/webhook": HOOK,
    "POST /v1/algorithms/{algorithmId}/scm/webhook": HOOK,
    "GET /git/{owner}/{algo}.git/info/refs?service=git-upload-pack": GIT,
    "POST /git/{owner}/{algo}.git/git-upload-pack": GIT,
    "POST /git/{owner}/{algo}.git/git-receive-pack": GIT,
    "POST /v1/algorithms/{owner}/{algo}/version": OLD,
    "POST /v1/algorithms/{algorithmId}/version": OLD,
    "GET /v1/scms/{scmId}/oauth/revoke": OLD,
    "GET /v1/scms/{scmId}/token/status": OLD,
    "POST /v1/scms/{scmId}/token/status": OLD,
    "GET /v1/admin/plugins/secret-provider/{providerId}": OLD,
    "POST /v1/admin/plugins/secret-provider/{providerId}": OLD,
    "POST /source/{owner}/{algo}/{filepath}": OLD,
    "GET /v1/admin/usage": OLD,
    "GET /v1/admin/usage/algorithms": OLD,
    "GET /v1/admin/usage/users": OLD,
    "POST /v1/uploads": UPLOAD,
    "GET /v1/uploads/{upload_id}": UPLOAD,
    "PUT /v1/uploads/{upload_id}/parts/{number}": UPLOAD,
    "POST /v1/uploads/{upload_id}/complete": UPLOAD,
    "GET /v1/algorithms/{algorithmId}/versions/{hash}/registry": NO_USE,
    "POST /v1/algorithms/{algorithmId}/versions/{hash}/registry": NO_USE,
    "GET /v1/algorithms/{owner}/{name}/versions/{commit}/registry": NO_USE,
    "POST /v1/algorithms/{owner}/{name}/versions/{commit}/registry": NO_USE,
    "GET /v1/organizations/{org}/algorithms-host-usernames": NO_USE,
    "PUT /v1/organizations/{org}/algorithms-host-usernames": NO_USE,
    "DELETE /v1/organizations/{org}/algorithms-host-usernames/{algorithmId}": NO_USE,
    "PUT /v1/admin/organization_host_information": NO_USE,
    "GET /v1/admin/organization_host_information/{org}": NO_USE,
    "POST /v1/admin/organization_host_information/{org}": NO_USE,
    "DELETE /v1/admin/organization_host_information/{org}": NO_USE,
    "POST /v1/insights": "is sent by algorithms, from their slots",
}
"""Operations without a method, and why nobody who has the client misses one."""


def operations() -> Iterator[tuple[str, str]]:
    for table in ("operations.csv", "ours.csv"):
        with (TABLES / table).open(newline="", encoding="utf-8") as rows:
            yield from ((row["method"], row["path"]) for row in csv.DictReader(rows))


def pattern_of(path: str) -> str:
    """Return what matches the paths of an operation; optional ends may have several segments."""
    fixed, bracket, _ = path.partition("?")[0].partition("[")
    return re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(fixed)) + ("(?:/.+)?" if bracket else "")


def test_every_operation_has_a_method_or_a_reason() -> None:
    asked, silent = everything_asked()
    missing = {
        f"{method} {path}"
        for method, path in operations()
        if not any(verb == method and re.fullmatch(pattern_of(path), p) for verb, p in asked)
    }

    assert silent == {"Recorded.algo", "Recorded.dir", "Recorded.file"}
    assert missing == set(NOT_OFFERED)
