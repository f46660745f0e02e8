"""Algorithms over HTTP: created, looked at, changed, deleted."""

import asyncio
import json
import re
from uuid import UUID

import pytest
from authoring_site import SETTINGS

from algorium_server.domain.algorithms import BuildStatus, Callability

DETAILS = {"label": "A label"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def site(authoring_site):
    return authoring_site


@pytest.fixture(scope="module")
def jane(site):
    return site.web()


def create(who, name, owner="jane", **settings):
    body = {"name": name, "details": DETAILS, "settings": SETTINGS | settings}
    answer = who.post(f"/v1/algorithms/{owner}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refusal(answer):
    error = answer.json()["error"]
    assert answer.headers["x-error-message"]
    return answer.status_code, error["code"]


def test_a_new_algorithm_shows_what_it_was_given_and_no_version(site, jane):
    body = {
        "name": "Fresh",
        "details": {"label": "Fresh one", "summary": "About", "tagline": "Short"},
        "settings": SETTINGS | {"royalty_microcredits": 5, "environment": "cpu"},
        "version_info": {"sample_input": "HAL"},
        "source": None,
        "scmsCredentials": None,
        "resource_type": None,
        "build": {},
    }
    answer = jane.post("/v1/algorithms/jane", json=body)

    assert answer.status_code == 201
    made = answer.json()
    assert UUID(made.pop("id"))
    settings = made.pop("settings")
    assert made == {
        "name": "Fresh",
        "details": {"label": "Fresh one", "summary": "About", "tagline": "Short"},
        "source": {
            "scm": {
                "id": "internal",
                "provider": "internal",
                "name": "",
                "default": True,
                "enabled": True,
            }
        },
        "resource_type": "algorithm",
    }
    assert settings["algorithm_callability"] == "private"
    assert settings["language"] == "python3"
    assert settings["environment"] == "cpu"
    assert settings["royalty_microcredits"] == 5
    assert "package_set" not in settings
    assert site.algorithm("jane/Fresh").sample_input == "HAL"
    files = jane.get("/v1/algorithms/jane/Fresh/log").json()["commits"]
    assert [commit["short_message"] for commit in files] == ["Begin with the template"]


def test_what_is_not_said_has_the_old_services_defaults(jane):
    body = {"name": "Terse", "details": DETAILS, "settings": {"language": "python3-1"}}
    settings = jane.post("/v1/algorithms/jane", json=body).json()["settings"]

    assert settings["license"] == "apl"
    assert settings["source_visibility"] == "closed"
    assert settings["network_access"] == "full"
    assert settings["pipeline_enabled"] is True


def test_misspellings_and_empty_texts_of_old_clients_are_understood(jane):
    settings = {
        "licence": "ap1",
        "language": "python3-1",
        "environment": "",
        "package_set": "",
        "algorithm_environment": "",
        "algorithm_callability": None,
        "network_access": "",
    }
    body = {
        "name": "Misspelt",
        "details": DETAILS,
        "settings": settings,
        "source": {"scm": {"id": "internal", "provider": "internal"}},
    }
    assert jane.post("/v1/algorithms/jane", json=body).json()["settings"]["license"] == "apl"


def test_a_body_needs_no_type(site):
    typeless = site.web()
    body = json.dumps({"name": "Typeless", "details": DETAILS, "settings": SETTINGS})
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert typeless.post("/v1/algorithms/jane", content=body, headers=form).status_code == 201
    misspelt = typeless.post("/v1/algorithms/jane", content=body[:-1], headers=form)
    assert (misspelt.status_code, misspelt.json()["error"]["code"]) == (400, 2013)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": None}, (400, 6001)),
        ({"name": "1a"}, (400, 6001)),
        ({"name": "a-b"}, (400, 6001)),
        ({"name": "a\0b"}, (400, 6001)),
        ({"name": "a" * 101}, (400, 6001)),
        ({"name": 5}, (400, 6001)),
        ({"details": {}}, (400, 2015)),
        ({"details": {"label": None}}, (400, 2015)),
        ({"details": {"label": "x" * 100_001}}, (400, 6001)),
        ({"settings": {}}, (400, 2015)),
        ({"settings": None}, (400, 2015)),
        ({"settings": {"language": "cobol"}}, (400, 4001)),
        ({"settings": {"language": "python2-langpack"}}, (400, 4001)),
        ({"settings": {"language": "scala"}}, (400, 4001)),
        ({"settings": {"algorithm_environment": UNKNOWN}}, (400, 4001)),
        ({"settings": {"algorithm_environment": "\0"}}, (400, 4001)),
        ({"settings": {"language": "ruby", "package_set": "python39"}}, (400, 4001)),
        ({"settings": {"package_set": "pascal"}}, (400, 1003)),
        ({"settings": SETTINGS | {"environment": "gpu"}}, (400, 4004)),
        ({"settings": SETTINGS | {"environment": "tpu"}}, (400, 6001)),
        ({"settings": SETTINGS | {"license": "beerware"}}, (400, 6001)),
        ({"settings": SETTINGS | {"license": "mit"}}, (400, 6001)),
        ({"settings": SETTINGS | {"source_visibility": "ajar"}}, (400, 6001)),
        ({"settings": SETTINGS | {"network_access": "some"}}, (400, 6001)),
        ({"settings": SETTINGS | {"pipeline_enabled": "maybe"}}, (400, 6001)),
        ({"settings": SETTINGS | {"royalty_microcredits": -1}}, (400, 6001)),
        ({"settings": SETTINGS | {"royalty_microcredits": 10**30}}, (400, 6001)),
        ({"settings": SETTINGS | {"scaling": {"slots_max": -1}}}, (400, 6001)),
        ({"settings": []}, (400, 6001)),
    ],
)
def test_what_no_algorithm_can_be(jane, change, expected):
    body = {"name": "Wrong", "details": DETAILS, "settings": SETTINGS} | change
    assert refusal(jane.post("/v1/algorithms/jane", json=body)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", (400, 2013)),
        (b"\xff", (400, 2013)),
        (b'{"name":"\\ud800"}', (400, 2013)),
        (b"[" * 100_000, (400, 2013)),
        (b"[]", (400, 2015)),
        (b"3", (400, 2015)),
        (b"", (400, 2015)),
        (b"null", (400, 2015)),
        (b"{}", (400, 2015)),
        (b'{"name":"A"}', (400, 2015)),
        (b'{"name":"A","details":3}', (400, 6001)),
    ],
)
def test_what_is_no_body(jane, content, expected):
    assert refusal(jane.post("/v1/algorithms/jane", content=content)) == expected


def test_a_name_is_taken_in_every_case_and_free_again_after_deletion(jane):
    first = create(jane, "Taken")
    body = {"name": "tAKEN", "details": DETAILS, "settings": SETTINGS}

    assert refusal(jane.post("/v1/algorithms/jane", json=body)) == (400, 1002)
    assert create(jane, "Taken", owner="lab")["id"] != first["id"]
    answer = jane.delete("/v1/algorithms/jane/TAKEN")
    assert (answer.status_code, answer.content) == (204, b"")
    second = create(jane, "Taken")
    assert second["id"] != first["id"]
    assert jane.get(f"/v1/algorithms/{first['id']}").text == '{"error":"No such algorithm"}'


def test_of_many_who_want_a_name_one_gets_it(site):
    clients = [site.web() for _ in range(6)]
    body = {"name": "Wanted", "details": DETAILS, "settings": SETTINGS}

    async def race():
        sent = (each.client.post("/v1/algorithms/jane", json=body) for each in clients)
        return await asyncio.gather(*sent)

    answers = site.runner.run(race())
    assert sorted(answer.status_code for answer in answers) == [201, *[400] * 5]
    kept = site.algorithm("jane/Wanted")
    repositories = {path.stem for path in site.home.glob("repos/*/*.git")}
    assert kept.algorithm_id in repositories
    assert repositories == {a.algorithm_id for a in site.directory._algorithms.values()}


def test_what_is_not_there_is_told_as_old_clients_compare_it(jane):
    for method, path in (
        ("get", "/v1/algorithms/jane/Nothing"),
        ("put", "/v1/algorithms/jane/Nothing"),
        ("delete", "/v1/algorithms/jane/Nothing"),
        ("get", f"/v1/algorithms/{UNKNOWN}"),
        ("get", f"/v1/algorithms/{UNKNOWN}/versions"),
        ("post", f"/v1/algorithms/{UNKNOWN}/compile"),
        ("post", "/v1/algorithms/jane/Nothing/compile"),
        ("post", "/v1/algorithms/jane/Nothing/version"),
        ("get", "/v1/algorithms/jane/Nothing/builds"),
        ("get", f"/v1/algorithms/jane/Nothing/builds/{UNKNOWN}/logs"),
        ("get", "/v1/algorithms/jane/Nothing/log"),
        ("get", "/v1/algorithms/jane/Nothing/scm/status"),
        ("get", "/v1/algorithms/hello/errors"),
        ("get", "/v1/algorithms/jane/a-b"),
        ("get", "/v1/algorithms/jane/%00"),
        ("get", "/v1/algorithms/%ff/%fe"),
        ("get", "/v1//algorithms//jane//Nothing//"),
    ):
        answer = getattr(jane, method)(path)
        assert (answer.status_code, answer.text) == (404, '{"error":"No such algorithm"}'), path
        assert answer.headers["x-error-message"] == "No such algorithm"
        assert answer.headers["content-type"] == "application/json"


def test_both_spellings_and_spare_slashes_lead_to_the_same(jane):
    made = create(jane, "Spelled")
    by_name = jane.get("/v1/algorithms/JANE/spelled/").json()
    assert by_name == made
    assert jane.get(f"/v1/algorithms/{made['id'].upper()}").json() == made
    assert jane.get(f"{jane.client.base_url}/v1//algorithms/jane/Spelled").json() == made


def test_changes_are_there_at_once_and_what_is_not_said_stays(jane):
    create(jane, "Changing", package_set="python39")
    change = {
        "details": {"summary": "New"},
        "settings": {
            "license": "mit",
            "source_visibility": "open",
            "pipeline_enabled": False,
            "publish_gate": "refuse",
            "rewriting_enabled": True,
            "scaling": {"isolation": "shared", "slots_max": 3},
        },
    }
    answer = jane.put("/v1/algorithms/jane/Changing", json=change)

    assert answer.status_code == 200
    changed = answer.json()
    assert changed["details"] == {"label": "A label", "summary": "New", "tagline": ""}
    settings = changed["settings"]
    assert settings["license"] == "mit"
    assert settings["pipeline_enabled"] is False
    assert settings["publish_gate"] == "refuse"
    assert settings["rewriting_enabled"] is True
    assert settings["scaling"]["isolation"] == "shared"
    assert settings["network_access"] == "isolated"
    assert settings["package_set"] == "python39"
    assert jane.get("/v1/algorithms/jane/Changing").json() == changed
    assert jane.put("/v1/algorithms/jane/Changing", json=changed).json() == changed


def test_a_form_of_the_old_python_client_changes_nothing(jane):
    made = create(jane, "Formed")
    answer = jane.put(
        "/v1/algorithms/jane/Formed",
        content=b"details=summary&details=label&settings=license",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert (answer.status_code, answer.json()) == (200, made)


def test_the_language_stays(jane):
    create(jane, "Pythonic")
    path = "/v1/algorithms/jane/Pythonic"

    def changed(**settings):
        return jane.put(path, json={"settings": settings})

    assert refusal(changed(language="rust")) == (400, 4002)
    assert refusal(changed(package_set="ruby")) == (400, 4002)
    assert refusal(changed(language="cobol")) == (400, 4001)
    assert refusal(changed(environment="gpu")) == (400, 4004)
    assert refusal(changed(license="gpl3")) == (400, 6001)
    assert refusal(jane.put(path, content=b"{")) == (400, 2013)
    assert changed(language="python3-1", environment="cpu").status_code == 200
    settings = changed(package_set="python39").json()["settings"]
    assert (settings["language"], settings["package_set"]) == ("python3", "python39")


def test_deleting_leaves_nothing_behind(site, jane):
    made = create(jane, "Doomed")
    algorithm = site.algorithm("jane/Doomed")
    build = site.add_build("jane/Doomed")
    site.add_version(build, "0.1.0")
    tree = site.home / "builds" / build.build_id
    tree.mkdir(parents=True)
    (tree / "file").write_text("x")
    repository = site.repositories.path(algorithm.owner_id, algorithm.algorithm_id)
    assert repository.is_dir()

    assert jane.delete("/v1/algorithms/jane/Doomed").status_code == 204
    assert not tree.exists()
    assert not repository.exists()
    assert site.directory.build(build.build_id) is None
    assert site.directory.versions_of(algorithm.algorithm_id) == ()
    assert site.directory.newest_build_of_commit(algorithm.algorithm_id, build.commit_sha) is None
    for path in ("", "/versions", "/builds", "/log", "/scm/status"):
        for ref in ("jane/Doomed", made["id"]):
            answer = jane.get(f"/v1/algorithms/{ref}{path}")
            assert answer.text == '{"error":"No such algorithm"}'


def test_what_everybody_may_call_only_administrators_delete(site, jane):
    create(jane, "Famous")
    site.add_version(site.add_build("jane/Famous"), "1.0.0", callability=Callability.PUBLIC)

    assert refusal(jane.delete("/v1/algorithms/jane/Famous")) == (403, 2001)
    assert refusal(site.web("root-key").delete("/v1/algorithms/jane/Famous")) == (403, 2001)
    assert site.web("root-admin-key").delete("/v1/algorithms/jane/Famous").status_code == 204


def test_the_newest_build_is_shown_to_owners_and_the_newest_public_version_to_others(site, jane):
    create(jane, "Viewed")
    eve = site.web("eve-key")
    path = "/v1/algorithms/jane/Viewed"
    assert refusal(eve.get(path)) == (403, 2001)
    message = eve.get(path).json()["error"]["message"]
    assert message == "Caller is not authorized to perform the operation"

    first = site.add_build("jane/Viewed", commit_sha="1" * 40, log="secret words")
    site.add_version(first, "1.0.0", callability=Callability.PUBLIC, release_notes="Here")
    site.add_build("jane/Viewed", commit_sha="2" * 40)
    running = site.add_build(
        "jane/Viewed",
        commit_sha="3" * 40,
        status=BuildStatus.IN_PROGRESS,
        finished_at=None,
    )

    seen = eve.get(path).json()
    assert seen["version_info"]["semantic_version"] == "1.0.0"
    assert seen["version_info"]["release_notes"] == "Here"
    assert seen["compilation"] == {"successful": True, "output": ""}
    assert seen["build"]["version_info"] == {"semantic_version": "1.0.0"}
    assert seen["settings"]["algorithm_callability"] == "public"
    assert seen["self_link"] == (
        f"https://api.example.org/v1/algorithms/jane/Viewed/versions/{'1' * 40}"
    )
    own = jane.get(path).json()
    assert own["build"]["build_id"] == running.build_id
    assert own["build"]["status"] == "in-progress"
    assert own["version_info"] == {"git_hash": "3" * 40}
    assert own["settings"]["algorithm_callability"] == "private"
    assert "compilation" not in own
    assert "finished_at" not in own["build"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", own["build"]["started_at"])


def test_whose_algorithms_there_are(site, jane):
    create(jane, "Mine", owner="lab")
    create(jane, "Ours", owner="lab")
    site.add_version(site.add_build("lab/Ours"), "1.0.0", callability=Callability.PUBLIC)

    def names(who, account="lab"):
        found = who.get(f"/v1/users/{account}/algorithms").json()
        assert all(set(each) == {"id", "algoname", "username"} for each in found)
        return {each["algoname"] for each in found}

    assert {"Mine", "Ours"} <= names(jane)
    assert {"Mine", "Ours"} <= names(site.web("bob-key"), site.accounts["lab"].account_id)
    assert names(site.web("eve-key")) == {"Ours"}
    assert names(jane, "LAB") == names(jane)
    assert refusal(jane.get("/v1/users/nobody/algorithms")) == (404, 3000)
    assert refusal(jane.get("/v1/users/%00/algorithms")) == (404, 3000)


def test_the_internal_host_is_active(site, jane):
    create(jane, "Hosted")
    assert jane.get("/v1/algorithms/jane/Hosted/scm/status").json() == {
        "scm_connection_status": "active"
    }
    assert refusal(site.web("eve-key").get("/v1/algorithms/jane/Hosted/scm/status")) == (403, 2001)


def test_a_crash_leaves_no_repository_without_an_algorithm(site, jane):
    create(jane, "Kept")
    kept = site.algorithm("jane/Kept")
    stray = site.repositories.path(kept.owner_id, UNKNOWN)
    site.runner.run(site.repositories.create(kept.owner_id, UNKNOWN))
    half = stray.with_name(f".{stray.name}.half")
    half.mkdir()
    touched_at = site.algorithms._clock()

    async def recover(before):
        await site.algorithms.recover(before=before)

    site.runner.run(recover(touched_at.replace(year=2000)))
    assert stray.is_dir()
    site.runner.run(recover(touched_at.replace(year=touched_at.year + 1)))
    assert not stray.exists()
    assert not half.exists()
    assert site.repositories.path(kept.owner_id, kept.algorithm_id).is_dir()


def test_other_methods_and_paths_are_refused_in_json(jane):
    answer = jane.patch("/v1/algorithms/jane/Fresh")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "PUT", "DELETE"}
    assert jane.get("/v1/algorithms").status_code == 404
    assert jane.get("/v1/nothing").json()["error"]["message"]
