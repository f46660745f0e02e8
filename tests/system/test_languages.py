"""Algorithms in every language, from a project to an answer, through a real server."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from projects import write_examples
from running import RunningServer
from waiting import wait_until

from algorium_server.build import languages
from algorium_server.build.templating import render_into
from algorium_server.domain.languages import Language, language_of

EXAMPLES = Path(__file__).parents[2] / "examples"
DEMOS = {
    Language.NODE: "HelloNode",
    Language.RUBY: "HelloRuby",
    Language.R: "HelloR",
    Language.JAVA: "HelloJava",
    Language.RUST: "HelloRust",
}
NEED_A_REGISTRY = {Language.JAVA, Language.RUST}
"""Even without packages: Maven fetches itself, and the template in Rust a crate."""
TEMPLATES = ("python3", "javascript", "ruby", "r", "java", "java11", "rust")

BUILD = "#!/bin/sh\necho 'making it'\necho 'made by the build' >made\n"
TEST = "#!/bin/sh\nset -e\ntest -f made\necho 'only in a copy' >tested\n"
PIPE = r"""#!/bin/sh
# Any program may be a pipe: this one hardly knows JSON.
echo "starting in $(pwd), tested: $(ls tested 2>/dev/null)"
echo "PIPE_INIT_COMPLETE"
while read -r line; do
    case "$line" in
    *die*) exit 9 ;;
    *wrong*) echo '{"error": {"message": "wrong", "error_type": null}}' >/tmp/algoout ;;
    *nan*) printf '{"result": NaN}' >/tmp/algoout ;;
    *nonsense*) echo 'oops' >/tmp/algoout ;;
    *api*) printf '{"result": "%s"}' "$ALGORITHMIA_API" >/tmp/algoout ;;
    *)
        echo "read ${#line} characters"
        printf '{"result":\n  "%s"\n}' "$(cat made)" >/tmp/algoout
        ;;
    esac
done
"""
KIT = """
import json, sys
def serve(apply, path="/tmp/algoout"):
    print("PIPE_INIT_COMPLETE")
    for line in sys.stdin:
        request = json.loads(line)
        result = {"result": apply(request["data"]), "metadata": {"content_type": "json"}}
        print("answering")
        with open(path, "w") as fifo:
            json.dump(result, fifo)
"""
SERVED_BY_KIT = """
import os, traceback
from src.devkit import serve
def apply(input):
    try:
        1 / 0
    except ZeroDivisionError as error:
        lines = traceback.format_exception(etype=type(error), value=error, tb=None)
    return [input, lines, os.environ["VIRTUAL_ENV"] != ""]
if os.path.exists("/tmp/algoout"):
    serve(apply)
"""
OVERLOADS = """
package algorithmia.Overloads;
import com.algorithmia.algo.ReturnsJson;
import java.io.File;
import java.nio.file.Files;
import java.util.List;
class Overloads {
    public static class Point { int x; int y = 7; }
    public String apply(String text) { return "text " + text; }
    public String apply(double number) { return "number " + number; }
    public String apply(boolean truth) { return "truth " + truth; }
    public String apply(int number, String text) { return number + " and " + text; }
    public int apply(List<Integer> list) { return list.stream().mapToInt(i -> i).sum(); }
    public int[] apply(Point point) { return new int[] {point.x, point.y}; }
    public File apply(byte[] bytes) throws Exception {
        File file = File.createTempFile("result", null);
        Files.write(file.toPath(), new byte[] {bytes[1], bytes[0]});
        return file;
    }
    @ReturnsJson
    public String apply(int a, int b, int c) { return "{\\"sum\\": " + (a + b + c) + "}"; }
    public Object apply(String a, String b) { return a.equals(b) ? null : 1 / 0; }
}
"""
RETURNS_JSON = """
package com.algorithmia.algo;
import java.lang.annotation.*;
@Retention(RetentionPolicy.RUNTIME) public @interface ReturnsJson {}
"""
FAILING_PIPE = """#!/bin/sh
echo 'looking for the model'
echo '{"error": {"message": "no model", "stack_trace": "loading"}}' >/tmp/algoout
read -r line
"""
EXITING_PIPE = "#!/bin/sh\necho 'no such library' >&2\nexit 3\n"


def need(language: Language) -> None:
    if reason := languages.why_not(language):
        pytest.skip(reason)


def need_own_root(server: RunningServer) -> None:
    if httpx2.get(f"{server.api}/readyz").json()["sandbox"]["level"] != "full":
        pytest.skip("/tmp/algoout takes sandboxes of level full, with a root of their own")


def write_pipe(project: Path, pipe: str) -> Path:
    (project / "bin").mkdir(parents=True)
    for name, text in {"pipe": pipe, "build": BUILD, "test": TEST}.items():
        (project / "bin" / name).write_text(text)
    (project / "algorithmia.conf").write_text('{"language": "pipe"}')
    return project


def write_kit(project: Path) -> Path:
    (project / "src").mkdir(parents=True)
    (project / "src" / "devkit.py").write_text(KIT)
    (project / "src" / "Kit.py").write_text(SERVED_BY_KIT)
    return project


def write_overloads(project: Path) -> dict[str, str | Path]:
    if languages.why_not(Language.JAVA):
        return {}
    render_into(project, "java", user="java", name="Overloads")
    shutil.rmtree(project / "src" / "test")
    sources = {
        "algorithmia/Overloads/Overloads": OVERLOADS,
        "com/algorithmia/algo/ReturnsJson": RETURNS_JSON,
    }
    for name, text in sources.items():
        place = project / "src" / "main" / "java" / f"{name}.java"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return {"templates/Overloads": project}


def demos(*, need_a_registry: bool) -> dict[str, str | Path]:
    return {
        f"demo/{name}": EXAMPLES / "demo" / name
        for language, name in DEMOS.items()
        if (language in NEED_A_REGISTRY) == need_a_registry and not languages.why_not(language)
    }


def serve(place: Path, sources: Mapping[str, str | Path]) -> RunningServer:
    examples = write_examples(place / "examples", sources)
    return RunningServer(place / "home", "--demo", "--examples-dir", str(examples))


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with what can be built without any package."""
    place = tmp_path_factory.mktemp("languages")
    sources = demos(need_a_registry=False) | {
        "pipes/Any": write_pipe(place / "any", PIPE),
        "pipes/Failing": write_pipe(place / "failing", FAILING_PIPE),
        "pipes/Exiting": write_pipe(place / "exiting", EXITING_PIPE),
        "pipes/Kit": write_kit(place / "kit"),
    }
    with serve(place, sources) as server:
        yield server


@pytest.fixture(scope="module")
def online(registry: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that may fetch packages."""
    place = tmp_path_factory.mktemp("online")
    sources = demos(need_a_registry=True) | write_overloads(place / "overloads")
    with serve(place, sources) as server:
        yield server


@pytest.fixture(
    params=[
        pytest.param(
            language,
            id=language.value,
            marks=[pytest.mark.network] if language in NEED_A_REGISTRY else [],
        )
        for language in DEMOS
    ]
)
def greeter(request: pytest.FixtureRequest) -> tuple[RunningServer, str]:
    language = request.param
    need(language)
    server = request.getfixturevalue("online" if language in NEED_A_REGISTRY else "offline")
    ref = f"demo/{DEMOS[language]}"
    if language in NEED_A_REGISTRY:  # these are still being built when the server is ready
        wait_until(
            lambda: any(
                line.startswith(ref) and ("published" in line or "skipped" in line)
                for line in tuple(server.lines)
            ),
            timeout_s=240,
            what=f"the end of building {ref}",
        )
    return server, ref


def post(server: RunningServer, ref: str, body: bytes, content_type: str) -> dict[str, Any]:
    answer = httpx2.post(
        f"{server.api}/v1/algo/{ref}?stdout=true",
        content=body,
        headers={"Authorization": f"Simple {server.key}", "Content-Type": content_type},
        timeout=120,
    )
    found: dict[str, Any] = answer.json()
    return found


def manage(server: RunningServer, path: str, body: Any = None) -> dict[str, Any]:
    answer = httpx2.post(
        f"{server.api}{path}",
        json=body or {},
        headers={"Authorization": f"Simple {server.key}"},
        timeout=280,
    )
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def said(server: RunningServer) -> str:
    return "\n".join(server.lines)


@pytest.mark.slow
def test_every_demo_takes_text_json_and_bytes(greeter: tuple[RunningServer, str]) -> None:
    server, ref = greeter

    text = post(server, ref, "Jürgen 😀".encode(), "text/plain")
    assert (text.get("result") or text) == "Hello Jürgen 😀", said(server)
    assert text["metadata"]["content_type"] == "text"
    value = post(server, ref, b'{"name": "HAL 9000"}', "application/json")
    assert value["result"] == {"greeting": "Hello HAL 9000"}
    assert value["metadata"]["content_type"] == "json"
    data = post(server, ref, b"\x00\xff", "application/octet-stream")
    assert data["result"] == "AP8="
    assert data["metadata"]["content_type"] == "binary"
    failure = post(server, ref, b"[]", "application/json")
    assert "expected" in failure["error"]["message"].lower()
    assert post(server, ref, b'"again"', "application/json")["result"] == "Hello again"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_goes_from_its_creation_to_a_version(
    online: RunningServer, name: str
) -> None:
    language = language_of(name)
    assert language is not None
    need(language)
    owner = online.credentials["username"]

    settings = {"language": name, "network_access": "isolated"}
    new = {"name": f"New{name}", "details": {"label": name}, "settings": settings}
    created = manage(online, f"/v1/algorithms/{owner}", new)
    assert created["settings"]["language"] == name
    compiled = manage(online, f"/v1/algorithms/{owner}/New{name}/compile")
    assert compiled["compilation"]["successful"], compiled["compilation"]["output"]
    sha = compiled["version_info"]["git_hash"]
    published = manage(online, f"/v1/algorithms/{owner}/New{name}/versions")
    assert published["version_info"]["semantic_version"] == "0.1.0"

    for version in (sha, "0.1.0"):
        ref = f"{owner}/New{name}/{version}"
        if name == "java11":
            body = b'{"first_name": "Jane", "last_name": "Doe"}'
            assert post(online, ref, body, "application/json")["result"] == "hello Jane Doe"
            failure = post(online, ref, b"{}", "application/json")["error"]
            assert "Missing required field in JSON input: first_name" in failure["message"]
        else:
            answer = post(online, ref, b"Jane", "text/plain")
            assert str(answer.get("result") or answer).lower() == "hello jane", said(online)


@pytest.mark.slow
@pytest.mark.network
def test_java_calls_the_method_that_is_like_the_input(online: RunningServer) -> None:
    need(Language.JAVA)

    def result(body: bytes, content_type: str = "application/json") -> Any:
        answer = post(online, "templates/Overloads", body, content_type)
        return answer if answer.get("error") else answer["result"]

    assert result(b"x", "text/plain") == "text x"
    assert result(b'"x"') == "text x"
    assert result(b"5") == "number 5.0"
    assert result(b"true") == "truth true"
    assert result(b'[5, "x"]') == "5 and x"
    assert result(b"[1, 2, 3, 4]") == 10
    assert result(b'{"x": 1}') == [1, 7]
    assert result(b"ab", "application/octet-stream") == "YmE="
    assert result(b"[1, 2, 3]") == {"sum": 6}
    assert result(b'["a", "a"]') is None
    failure = result(b'["a", "b"]')["error"]
    assert failure["message"] == "/ by zero"
    assert "Overloads.apply" in failure["stacktrace"]
    assert "error" in result(b'[[1], {"a": 1}, []]')


@pytest.mark.slow
def test_a_project_may_bring_its_own_pipe(offline: RunningServer) -> None:
    need_own_root(offline)
    answer = post(offline, "pipes/Any", b"x", "text/plain")

    assert (answer.get("result") or answer) == "made by the build", said(offline)
    assert answer["metadata"]["content_type"] == "text"
    assert answer["metadata"]["stdout"] == "read 34 characters\n"
    address = post(offline, "pipes/Any", b"api", "text/plain")["result"]
    assert address.startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_a_module_with_a_kit_of_its_own_runs_as_it_is(offline: RunningServer) -> None:
    need_own_root(offline)
    answer = post(offline, "pipes/Kit", b"x", "text/plain")

    assert (answer.get("result") or answer) == [
        "x",
        ["ZeroDivisionError: division by zero\n"],
        True,
    ]
    assert answer["metadata"]["stdout"] == "answering\n"


@pytest.mark.slow
def test_a_pipe_fails_in_its_own_ways(offline: RunningServer) -> None:
    need_own_root(offline)

    def error(body: bytes) -> tuple[str, str]:
        found = post(offline, "pipes/Any", body, "text/plain")["error"]
        return found["error_type"], found["message"]

    assert error(b"wrong") == ("AlgorithmError", "wrong")
    assert error(b"nan") == ("AlgorithmError", "result is not valid JSON")
    assert error(b"die") == ("SystemExit", "exited with code 9")
    for _ in range(5):  # each ends its pipe, and no other call is to meet that one
        kind, message = error(b"nonsense")
        assert kind == "AlgorithmError"
        assert message.startswith("result is not valid JSON")
    answer = post(offline, "pipes/Any", b"x", "text/plain")
    assert (answer.get("result") or answer) == "made by the build", said(offline)


@pytest.mark.slow
def test_a_pipe_that_cannot_load_is_told_apart(offline: RunningServer) -> None:
    need_own_root(offline)
    failing = post(offline, "pipes/Failing", b"x", "text/plain")["error"]
    exiting = post(offline, "pipes/Exiting", b"x", "text/plain")["error"]

    assert (failing["error_type"], failing["message"]) == ("LoadingError", "no model")
    assert failing["stacktrace"] == "loading"
    assert (exiting["error_type"], exiting["message"]) == ("SystemExit", "exited with code 3")


@pytest.mark.slow
def test_the_reduced_sandbox_runs_our_pipes_as_well(tmp_path: Path) -> None:
    """There is no `/tmp/algoout` there, but a variable that says where the FIFO is."""
    pipe = PIPE.replace("/tmp/algoout", '"$ALGORIUM_FIFO"')
    sources = demos(need_a_registry=False) | {"pipes/Any": write_pipe(tmp_path / "any", pipe)}
    examples = write_examples(tmp_path / "examples", sources)
    options = ("--sandbox", "reduced", "--demo", "--examples-dir", str(examples))
    with RunningServer(tmp_path / "home", *options) as server:
        if any("none: algorithms cannot run" in line for line in server.lines):
            pytest.skip("no Landlock on this machine")
        for ref in sources:
            expected = "made by the build" if ref == "pipes/Any" else "Hello Jane"
            answer = post(server, ref, b"Jane", "text/plain")
            assert (answer.get("result") or answer) == expected, said(server)
