"""Algorithms for those who make them, through both clients."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standin import Fault, StandIn

import algorium
from algorium._build_flow import LogPiece, LogReader
from algorium._errors import InternalError, UnexpectedResponse
from algorium.wire.authoring import AlgorithmInfo, FailedCall
from algorium.wire.bodies import BodyError

SHA = "0cfd7a66" * 5
ID = "21df7a38-eab8-4ac8-954c-41a285535e69"
BUILD = {
    "build_id": "b1",
    "status": "succeeded",
    "commit_sha": SHA,
    "started_at": "2026-03-29T01:02:03.456Z",
    "finished_at": "2026-03-29T01:02:05.456Z",
    "resource_type": "algorithm_build",
}
ECHO = {
    "id": ID,
    "name": "echo",
    "details": {"label": "Echo", "summary": "", "tagline": "Says it again"},
    "settings": {
        "algorithm_callability": "private",
        "source_visibility": "closed",
        "language": "python3",
        "license": "apl",
        "network_access": "full",
        "pipeline_enabled": True,
        "something_new": 1,
    },
    "version_info": {"git_hash": SHA, "release_notes": "new"},
    "build": BUILD,
    "compilation": {"successful": True, "output": "Built."},
    "source": {"scm": {"id": "internal"}},
    "self_link": f"https://api.example.com/v1/algorithms/ada/echo/versions/{SHA}",
    "resource_type": "algorithm",
}
PUBLISHED = {**ECHO, "version_info": {**ECHO["version_info"], "semantic_version": "0.1.0"}}  # type: ignore[dict-item]  # it is one
NO_SUCH = Fault(
    status=404,
    headers={"Content-Type": "application/json"},
    body=b'{"error":"No such algorithm"}',
)


def told(body: Any, status: int = 200) -> Fault:
    return Fault(
        status=status,
        headers={"Content-Type": "application/json"},
        body=json.dumps(body).encode(),
    )


def refused(status: int, code: int, message: str = "no") -> Fault:
    return told({"error": {"code": code, "message": message}}, status)


def streamed(*events: str, claims_bytes: int | None = None) -> Fault:
    return Fault(
        status=200,
        headers={"Content-Type": "text/event-stream; charset=utf-8"},
        body="".join(events).encode(),
        claims_bytes=claims_bytes,
    )


def log(text: str, end: int) -> str:
    return f"id: {end}\nevent: log\ndata: {json.dumps(text)}\n\n"


END = "event: end\ndata: {}\n\n"


@pytest.fixture
def echo(client: Any) -> Any:
    return client.algorithms("ada/echo")


def test_an_algorithm_is_created_as_the_wire_has_it(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(told(ECHO, 201))

    made = client.algorithms.create("ada/echo", tagline="Says it again", sample_input={"a": 1})

    assert (stand_in.last.method, stand_in.last.path) == ("POST", "/v1/algorithms/ada")
    assert json.loads(stand_in.last.body) == {
        "name": "echo",
        "details": {"label": "echo", "tagline": "Says it again"},
        "settings": {
            "language": "python3",
            "environment": "cpu",
            "source_visibility": "closed",
            "license": "apl",
            "network_access": "isolated",
            "pipeline_enabled": True,
        },
        "version_info": {"sample_input": '{"a":1}'},
    }
    assert (made.algorithm_id, made.owner, made.name, made.label) == (ID, "ada", "echo", "Echo")
    assert made.ref == f"ada/echo/{SHA}"
    assert made.settings["something_new"] == 1
    assert made.build.succeeded


def test_an_environment_stands_for_its_language(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(told(ECHO, 201))

    client.algorithms.create("ada/echo", environment="e-1", settings={"publish_gate": "refuse"})

    settings = json.loads(stand_in.last.body)["settings"]
    assert settings["algorithm_environment"] == "e-1"
    assert settings["publish_gate"] == "refuse"
    assert "language" not in settings


def test_a_change_says_only_what_changes(client: Any, echo: Any, stand_in: StandIn) -> None:
    stand_in.faults.extend([told(ECHO), told(ECHO)])

    echo.update(label="Echo", license="mit")
    client.algorithms.update("ada/echo", network_access="full")

    first, second = stand_in.requests
    assert (first.method, first.path) == ("PUT", "/v1/algorithms/ada/echo")
    assert json.loads(first.body) == {"details": {"label": "Echo"}, "settings": {"license": "mit"}}
    assert json.loads(second.body) == {"settings": {"network_access": "full"}}


def test_handles_take_ids_and_leave_versions_out(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.extend([told(ECHO), told(ECHO)])

    by_id = client.algorithms(ID).info()
    client.algorithms("algo://ada/echo/1.0.0").info()

    assert [request.path for request in stand_in.requests] == [
        f"/v1/algorithms/{ID}",
        "/v1/algorithms/ada/echo",
    ]
    assert by_id.owner == "ada", "from its link"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (NO_SUCH, algorium.AlgorithmNotFound),
        (refused(403, 2001), algorium.NotAuthorized),
        (refused(400, 6001), algorium.InvalidInput),
        (refused(400, 1007), algorium.VersionAlreadyPublished),
        (told([]), UnexpectedResponse),
        (told({"id": ID}), UnexpectedResponse),
    ],
)
def test_a_refusal_has_its_class(
    echo: Any, stand_in: StandIn, fault: Fault, expected: type[Exception]
) -> None:
    for attempt in (echo.info, echo.publish):
        stand_in.faults.append(fault)
        with pytest.raises(expected):
            attempt()


def test_the_algorithms_of_an_account_are_listed(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(told([{"id": ID, "algoname": "echo", "username": "ada"}]))

    (found,) = client.algorithms.list("ada")

    assert stand_in.last.path == "/v1/users/ada/algorithms"
    assert (found.ref, found.algorithm_id) == ("ada/echo", ID)


def test_a_name_can_be_taken(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(refused(400, 1002))

    with pytest.raises(algorium.AlgorithmNameTaken) as taken:
        client.algorithms.create("ada/echo")

    assert "another name" in taken.value.hint


def test_what_may_not_be_seen_exists_all_the_same(client: Any, stand_in: StandIn) -> None:
    stand_in.faults.extend([told(ECHO), NO_SUCH, refused(403, 2001), refused(500, 5001)])

    assert [client.algorithms.exists("ada/echo") for _ in range(3)] == [True, False, True]
    with pytest.raises(InternalError):
        client.algorithms.exists("ada/echo")


def test_a_build_that_fails_is_an_exception_with_the_log(echo: Any, stand_in: StandIn) -> None:
    build = {**BUILD, "status": "failed", "failure": "the tests fail"}
    body = {**ECHO, "build": build, "compilation": {"successful": False, "output": "E   assert"}}
    stand_in.faults.extend([told(body), told(ECHO)])

    with pytest.raises(algorium.BuildFailed, match="the tests fail") as failed:
        echo.compile(commit=SHA)
    built = echo.compile()

    assert (failed.value.log, failed.value.build_id) == ("E   assert", "b1")
    assert [json.loads(request.body) for request in stand_in.requests] == [{"commitSha": SHA}, {}]
    assert built.log == "Built."


def test_a_version_is_published(echo: Any, stand_in: StandIn) -> None:
    stand_in.faults.append(told({**PUBLISHED, "warnings": ["$.a: removed"]}))

    version = echo.publish(
        version_type="major", release_notes="new", sample_input="x", callability="public"
    )

    assert (stand_in.last.method, stand_in.last.path) == (
        "POST",
        "/v1/algorithms/ada/echo/versions",
    )
    assert json.loads(stand_in.last.body) == {
        "settings": {"algorithm_callability": "public"},
        "version_info": {"version_type": "major", "release_notes": "new", "sample_input": "x"},
    }
    assert (version.ref, version.warnings) == ("ada/echo/0.1.0", ("$.a: removed",))


def test_lists_are_read_page_by_page(echo: Any, stand_in: StandIn) -> None:
    pages: Iterator[Fault] = (
        told({"results": [page], "marker": marker, "next_link": None})
        for page, marker in ((PUBLISHED, "m"), (ECHO, None), (BUILD, "m"), (BUILD, ""))
    )
    stand_in.faults.extend(pages)

    versions = list(echo.versions(callable=False))
    builds = list(echo.builds())

    assert [version.version.number for version in versions] == ["0.1.0", ""]
    assert [build.build_id for build in builds] == ["b1", "b1"]
    assert [request.query for request in stand_in.requests] == [
        {"limit": "50", "published": "true", "callable": "false"},
        {"limit": "50", "published": "true", "callable": "false", "marker": "m"},
        {"limit": "50"},
        {"limit": "50", "marker": "m"},
    ]


def test_pages_that_lead_nowhere_end(echo: Any, stand_in: StandIn) -> None:
    stand_in.faults.extend([told({"results": [], "marker": "x"})] * 2)

    with pytest.raises(UnexpectedResponse, match="advance"):
        list(echo.builds())


def test_a_log_is_followed_across_a_broken_connection(echo: Any, stand_in: StandIn) -> None:
    whole = log("one\n", 4)
    stand_in.faults.extend(
        [
            streamed(": still building\n\n", whole, log("two\n", 8)[:20], claims_bytes=1000),
            streamed(log("two\n", 8), log("", 8), END),
        ]
    )

    assert list(echo.follow_build("b1")) == ["one\n", "two\n", ""]
    first, second = stand_in.requests
    assert first.path == "/v1/algorithms/ada/echo/builds/b1/logs/stream"
    assert "last-event-id" not in first.headers
    assert second.headers["last-event-id"] == "4"


def test_a_log_that_breaks_off_again_and_again_is_given_up(echo: Any, stand_in: StandIn) -> None:
    stand_in.faults.extend([streamed(": nothing\n\n", claims_bytes=1000)] * 4)

    with pytest.raises(algorium.ConnectionLost):
        list(echo.follow_build("b1"))

    assert len(stand_in.requests) == 3


def test_without_live_logs_the_end_is_waited_for(
    echo: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("_managed", "_authoring_async"):
        monkeypatch.setattr(f"algorium.{module}.POLL_S", 0.01)
    going = {name: BUILD[name] for name in ("build_id", "commit_sha", "started_at")}
    stand_in.faults.extend(
        [
            Fault(status=404),
            told({**going, "status": "in-progress"}),
            told(BUILD),
            told({"logs": "all of it"}),
        ]
    )

    assert list(echo.follow_build("b1")) == ["all of it"]


def test_a_build_that_is_not_there_is_told(echo: Any, stand_in: StandIn) -> None:
    for attempt in (
        lambda: list(echo.follow_build("b2")),
        lambda: echo.build("b2"),
        lambda: echo.build_log("b2"),
        lambda: echo.cancel_build("b2"),
    ):
        for code in (1010, 1011):
            stand_in.faults.append(refused(404, code))
            with pytest.raises(algorium.BuildNotFound):
                attempt()


def test_failed_calls_are_read(client: Any, echo: Any, stand_in: StandIn) -> None:
    entry = {
        "created_at": 1774746123456,
        "request_id": "req-1",
        "username": "ada",
        "algoname": "echo",
        "algoversion": "0.1.0",
        "input": "1",
        "error": "error:\nno (1)\nstacktrace:\nSome(at )\nline)",
        "error_type": "AlgorithmError",
        "billable_to": "bob",
        "worker": "w",
    }
    stand_in.faults.extend([told([entry]), told([]), told([])])

    (error,) = echo.errors()
    assert client.algorithms.errors_of("ada") == []
    assert client.algorithms.errors_of("lab", is_organization=True) == []

    assert (error.message, error.stacktrace) == ("no (1)", "at )\nline")
    assert (error.algorithm, error.caller) == ("ada/echo", "bob")
    assert error.failed_at.timestamp() == 1774746123.456
    assert [request.path for request in stand_in.requests] == [
        "/v1/algorithms/ada/echo/errors",
        "/v1/users/ada/errors",
        "/v1/organizations/lab/errors",
    ]


def test_source_is_read_and_changed(echo: Any, stand_in: StandIn) -> None:
    files = [{"path": "a.py", "size": 3, "kind": "file", "id": "1"}]
    more = [{"path": "b", "size": 1, "kind": "link", "id": "2"}]
    stand_in.faults.extend(
        [
            told({"commit": SHA, "files": files, "total": 2, "marker": "m"}),
            told({"commit": SHA, "files": more, "total": 2, "marker": None}),
            Fault(status=200, headers={"Content-Type": "text/plain"}, body=b"\x00text"),
            told({"commit": "f" * 40}),
            refused(412, 0),
        ]
    )

    tree = echo.source(at="topic")
    content = echo.source_file("src/a b.py")
    sha = echo.commit({"a": "text", "b": b"\xff", "c": None}, message="why", build=True)
    with pytest.raises(algorium.ConditionFailed):
        echo.commit({"a": "text"}, message="why", parent=SHA)

    assert [file.path for file in tree.files] == ["a.py", "b"]
    assert (tree.commit, content, sha) == (SHA, b"\x00text", "f" * 40)
    requests = stand_in.requests
    assert [request.query for request in requests[:2]] == [
        {"ref": "topic"},
        {"ref": SHA, "marker": "m"},
    ]
    assert requests[2].path == "/v1/algorithms/ada/echo/source/src/a%20b.py"
    assert json.loads(requests[3].body) == {
        "message": "why",
        "build": True,
        "changes": [
            {"path": "a", "content": "text"},
            {"path": "b", "content_base64": "/w=="},
            {"path": "c", "delete": True},
        ],
    }
    assert json.loads(requests[4].body)["parent"] == SHA


def test_environments_are_listed_and_templates_fetched(client: Any, stand_in: StandIn) -> None:
    environment = {
        "id": "e",
        "environment_specification_id": "s",
        "display_name": "Python 3.11",
        "description": "d",
        "created_at": "2020-12-21T21:47:53.239",
        "language": {"name": "python3"},
        "machine_type": "CPU",
    }
    stand_in.faults.extend(
        [
            told([{"name": "python3", "display_name": "Python 3", "configuration": "{}"}]),
            told({"environments": [environment]}),
            Fault(status=200, headers={"Content-Type": "application/gzip"}, body=b"\x1f\x8bx"),
            Fault(status=200, body=b"<html>"),
        ]
    )

    (language,) = client.environments.languages()
    (found,) = client.environments.list(language.name)
    archive = client.environments.template(found.specification_id, owner="ada", name="echo")
    with pytest.raises(UnexpectedResponse):
        client.environments.template("s")

    assert (found.display_name, found.language) == ("Python 3.11", "python3")
    assert archive == b"\x1f\x8bx"
    assert stand_in.requests[2].query == {"user": "ada", "name": "echo"}


def test_documents_of_a_version_are_read(echo: Any, stand_in: StandIn) -> None:
    stand_in.faults.extend(
        [told({"bomFormat": "CycloneDX"}), told([]), Fault(status=200, body=b"numpy==1\n")]
    )

    assert echo.sbom("0.1.0") == {"bomFormat": "CycloneDX"}
    with pytest.raises(UnexpectedResponse):
        echo.provenance("0.1.0")
    assert echo.lock("0.1.0") == "numpy==1\n"
    stand_in.faults.append(refused(404, 1014))
    with pytest.raises(algorium.VersionNotFound):
        echo.schema("9.9.9")
    assert stand_in.last.path == "/v1/algorithms/ada/echo/versions/9.9.9/schema"


@given(st.lists(st.text(), max_size=8), st.lists(st.integers(1, 40), max_size=30), st.booleans())
def test_a_stream_means_the_same_however_it_is_cut(
    texts: list[str], cuts: list[int], has_returns: bool
) -> None:
    events = [log(text, at) for at, text in enumerate(texts)]
    stream = "".join([": hello\n\n", *events, END])
    data = (stream.replace("\n", "\r\n") if has_returns else stream).encode()
    reader, found = LogReader(), []
    for length in cuts:
        found += reader.feed(data[:length])
        data = data[length:]
    found += reader.feed(data)

    assert found == [*(LogPiece(text=text) for text in texts), LogPiece(is_end=True)]
    assert reader.last_id == (str(len(texts) - 1) if texts else "")


@pytest.mark.parametrize(
    "event",
    ["event: log\ndata: {\n\n", "event: log\ndata: 1\n\n", 'event: error\ndata: "x"\n\n'],
)
def test_a_stream_of_nonsense_is_no_log(event: str) -> None:
    with pytest.raises((UnexpectedResponse, InternalError)):
        LogReader().feed(event.encode())


def test_a_server_that_gives_up_says_why() -> None:
    event = 'event: error\ndata: {"error":{"message":"too slow"}}\n\n'

    with pytest.raises(InternalError, match="too slow"):
        LogReader().feed(event.encode())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_readers_take_any_json(value: Any) -> None:
    for candidate in (value, dict.fromkeys(ECHO, value), {**ECHO, "build": value}):
        for reader in (AlgorithmInfo.from_json, FailedCall.from_json):
            try:
                reader(candidate)
            except BodyError:
                continue


@given(st.text(), st.text(min_size=1))
def test_message_and_stack_trace_are_told_apart(message: str, trace: str) -> None:
    entry = {"created_at": 0, "request_id": "r"}
    if "\nstacktrace:\n" in message or message.startswith("error:\n"):
        return  # nobody can tell

    bare = FailedCall.from_json({**entry, "error": f"error:\n{message}"})
    whole = FailedCall.from_json(
        {**entry, "error": f"error:\n{message}\nstacktrace:\nSome({trace})"}
    )

    assert (bare.message, bare.stacktrace) == (message, "")
    assert (whole.message, whole.stacktrace) == (message, trace)
