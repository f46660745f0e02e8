"""Publishing with a whole server: schemas, the gate, documents, and verifying versions."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authors import Author
from running import RunningServer

from algorium_server.cli import main

TYPED = """\
from dataclasses import dataclass
from typing import List

@dataclass
class Person:
    \"\"\"Somebody.\"\"\"
    name: str
    friends: "List[Person]"
    age: int = 0

@dataclass
class Greeting:
    text: str

def apply(input: Person) -> Greeting:
    \"\"\"Greet somebody.\"\"\"
    return Greeting(f"Hello {input.name}")
"""
PLAIN = "def apply(input):\n    if input == 'bad':\n        raise ValueError('no such luck')\n"
PLAIN += "    return f'Hello {input}'\n"


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Author]:
    place = tmp_path_factory.mktemp("publishing")
    with RunningServer(place / "home") as server:
        author = Author(server, place)
        yield author
        author.http.close()


@pytest.fixture(scope="module")
def typed(author: Author) -> str:
    author.create("Typed", TYPED)
    author.publish("Typed", sample_input='{"name": "HAL", "friends": []}')
    return "Typed"


def test_annotations_become_schemas_and_instances(author: Author, typed: str) -> None:
    schema = author.get(typed, "versions/0.1.0/schema").json()
    called = author.server.call(f"admin/{typed}/0.1.0", {"name": "Jo", "friends": []})
    refused = author.server.call(f"admin/{typed}/0.1.0", {"name": "Jo", "friends": [{"name": 1}]})

    assert schema["input"]["$defs"]["Person"]["required"] == ["name", "friends"]
    assert schema["output"]["$ref"] == "#/$defs/Greeting"
    assert called.json()["result"] == {"text": "Hello Jo"}
    error = refused.json()["error"]
    assert error["message"] == "input.friends[0].friends is missing"
    assert error["error_type"] == "InputError"


def test_the_document_of_an_algorithm_describes_its_call(author: Author, typed: str) -> None:
    document = author.get(typed, "openapi.json").json()

    assert document["openapi"] == "3.1.0"
    assert list(document["paths"]) == [f"/v1/algo/admin/{typed}/0.1.0"]
    references = set(_references(document))
    assert "#/components/schemas/Input" in references
    for reference in references:  # every one leads somewhere
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    content = document["paths"][f"/v1/algo/admin/{typed}/0.1.0"]["post"]["requestBody"]["content"]
    assert list(content) == ["application/json"]
    assert content["application/json"]["example"] == {"name": "HAL", "friends": []}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from _references(part)
    if isinstance(value, list):
        for part in value:
            yield from _references(part)


def test_a_sample_input_is_run_and_what_it_gives_is_kept(author: Author, typed: str) -> None:
    shown = author.get(typed, "versions/0.1.0").json()

    assert shown["version_info"]["sample_output"] == '{"text":"Hello HAL"}'
    assert "warnings" not in shown


def test_a_sample_input_that_fails_is_told_or_refused(author: Author) -> None:
    author.create("Plain", PLAIN)
    published = author.publish("Plain", sample_input='"bad"')

    assert published["version_info"]["sample_output"] == (
        "Exception encountered while running sample input"
    )
    assert published["warnings"] == ["the sample input fails: no such luck"]
    assert author.get("Plain", "versions/0.1.0/schema").json() == {"input": None, "output": None}
    document = author.get("Plain", "openapi.json").json()
    path = document["paths"]["/v1/algo/admin/Plain/0.1.0"]["post"]
    assert sorted(path["requestBody"]["content"]) == [
        "application/json",
        "application/octet-stream",
        "text/plain",
    ]

    author.push("Plain", PLAIN + "\n")
    strict = {"settings": {"publish_gate": "refuse"}}
    assert author.http.put("/v1/algorithms/admin/Plain", json=strict).status_code == 200
    refused = author.publish("Plain", status=400, sample_input='"bad"')["error"]
    assert refused["code"] == 6001
    assert "no such luck" in refused["message"]
    fine = author.publish("Plain", sample_input="Jo")  # a text, not JSON
    assert fine["version_info"]["sample_output"] == "Hello Jo"


def test_two_publishers_at_once_get_two_versions(author: Author) -> None:
    author.create("Raced", PLAIN)
    author.push("Raced", PLAIN + "\n# more\n")
    builds = author.get("Raced", "builds").json()["results"]
    commits = [build["commit_sha"] for build in builds][:2]
    with ThreadPoolExecutor(2) as pool:
        published = list(
            pool.map(lambda sha: author.publish("Raced", git_hash=sha, sample_input='"x"'), commits)
        )

    numbers = {each["version_info"]["semantic_version"] for each in published}
    assert numbers == {"0.1.0", "0.2.0"}
    assert {each["version_info"]["git_hash"] for each in published} == set(commits)


def test_who_may_read_the_documents_of_a_version(author: Author, typed: str) -> None:
    bill = author.get(typed, "versions/0.1.0/sbom")
    statement = author.get(typed, "versions/0.1.0/provenance")
    lock = author.get(typed, "versions/0.1.0/lock")
    stranger = httpx2.get(f"{author.server.api}/v1/algorithms/admin/{typed}/versions/0.1.0/sbom")

    assert bill.headers["content-type"] == "application/vnd.cyclonedx+json"
    assert bill.json()["specVersion"] == "1.6"
    assert statement.json()["predicateType"] == "https://slsa.dev/provenance/v1"
    assert (lock.status_code, lock.text) == (200, "")
    assert stranger.status_code == 401
    for address in ("versions/9.9.9/sbom", "versions/nonsense/lock", "versions/9.9.9/schema"):
        missing = author.get(typed, address)
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, 1014)


def test_a_version_verifies_until_somebody_changes_what_is_stored(
    author: Author, typed: str
) -> None:
    home = author.server.home
    code, verdict = author.verify(f"{typed}/0.1.0")
    assert (code, verdict["is_same"]) == (0, True)
    assert [check["name"] for check in verdict["checks"]] == [
        "source",
        "tree",
        "environment",
        "bytecode",
        "signature",
    ]

    build = author.get(typed, "versions/0.1.0").json()["build"]["build_id"]
    source = home / "builds" / build / "src" / f"{typed}.py"
    (packages,) = home.glob("envs/*/lib/python*/site-packages")
    os.chmod(packages, 0o755)
    (packages / "sitecustomize.py").write_text("import os\n")
    source.write_text(TYPED + "# changed\n")
    code, verdict = author.verify(f"{typed}/0.1.0")

    assert (code, verdict["is_same"]) == (1, False)
    found = {check["name"]: (check["state"], check["details"]) for check in verdict["checks"]}
    assert found["source"] == ("same", [])
    assert found["tree"] == ("different", [f"src/{typed}.py was changed"])
    name = (packages / "sitecustomize.py").relative_to(next(iter(packages.parents[2:3])))
    assert found["environment"] == ("different", [f"{name} does not belong there"])
    assert found["signature"] == ("same", [])


def test_verify_says_what_it_cannot_do(
    author: Author, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, home, words in (
        ("admin/Nothing/1.0.0", author.server.home, "there is no admin/Nothing/1.0.0"),
        ("nonsense", author.server.home, "not a reference"),
        ("a/b/1.0.0", tmp_path, "there is no database"),
    ):
        assert main(["verify", name, "--home", str(home)]) == 1
        assert words in capsys.readouterr().err
