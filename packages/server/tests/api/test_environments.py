"""Languages and environments over HTTP, and their templates."""

import io
import json
import re
import tarfile

import pytest

from algorium_server.domain.languages import Language

EDGE = "/v1/algorithm-environments/edge"
SPECIFICATIONS = f"{EDGE}/environment-specifications"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def site(authoring_site):
    return authoring_site


def environments(who, language="python3"):
    answer = who.get(f"{EDGE}/languages/{language}/environments")
    assert answer.status_code == 200
    assert list(answer.json()) == ["environments"]
    return answer.json()["environments"]


def refusal(answer):
    return answer.status_code, answer.json()["error"].get("code")


def test_all_languages_that_old_clients_expect_are_there(site):
    found = site.web().get(f"{EDGE}/languages").json()

    assert {each["name"] for each in found} >= {
        *("anaconda3", "csharp-dotnet-core2", "java11", "python2", "python3", "r36", "scala-2")
    }
    for each in found:
        assert set(each) == {"name", "display_name", "configuration"}
        configuration = json.loads(each["configuration"])
        assert configuration["display_name"] == each["display_name"]
        assert isinstance(configuration["req_files"], list)
        assert all(set(one) == {"source", "destination"} for one in configuration["artifacts"])


def test_environments_are_those_that_run_here(site):
    found = environments(site.web("eve-key"))

    assert [each["display_name"] for each in found] == ["Python 3.11", "Python 3.9", "Python 3.8"]
    assert found[2]["description"].endswith("they run in Python 3.11.")
    for each in found:
        assert each["language"]["name"] == "python3"
        assert each["machine_type"] == "CPU"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", each["created_at"])
        assert "enabled" not in each
    ids = {each["id"] for each in found} | {each["environment_specification_id"] for each in found}
    assert len(ids) == 6
    assert environments(site.web(), "PYTHON3") == found
    assert environments(site.web(), "scala-2") == []
    assert refusal(site.web().get(f"{EDGE}/languages/cobol/environments"))[0] == 404
    assert site.web("").get(f"{EDGE}/languages").status_code == 401


def test_an_environment_that_is_chosen_decides_language_and_version(site):
    jane = site.web()
    chosen = environments(jane)[1]

    def create(name, **settings):
        body = {"name": name, "details": {"label": ""}, "settings": settings}
        return jane.post("/v1/algorithms/jane", json=body)

    made = create("Chosen9", algorithm_environment=chosen["id"].upper()).json()
    assert made["settings"]["algorithm_environment"] == chosen["id"]
    assert made["settings"]["language"] == "python3"
    answer = create("Wrong", algorithm_environment=chosen["environment_specification_id"])
    assert refusal(answer) == (400, 4001)
    assert refusal(create("Wrong", algorithm_environment=chosen["id"], language="rust")) == (
        *(400, 4001),
    )


def test_administrators_switch_environments_off_and_on(site):
    admin, jane = site.web("root-admin-key"), site.web()
    off = environments(jane)[1]
    path = f"{SPECIFICATIONS}/{off['environment_specification_id']}"
    body = {
        "name": "Switched",
        "details": {"label": ""},
        "settings": {"algorithm_environment": off["id"]},
    }
    assert jane.post("/v1/algorithms/jane", json=body).status_code == 201

    for who in ("jane-key", "root-key"):
        assert refusal(site.web(who).delete(path)) == (403, 2001)
        assert refusal(site.web(who).post(f"{path}/syncs")) == (403, 2001)
        assert refusal(site.web(who).get(f"{EDGE}/environments/available")) == (403, 2001)
    for _ in range(2):
        answer = admin.delete(path)
        assert (answer.status_code, answer.content) == (204, b"")
    assert off["id"] not in {each["id"] for each in environments(jane)}
    available = {each["id"]: each for each in admin.get(f"{EDGE}/environments/available").json()}
    assert available[off["id"]]["enabled"] is False
    assert refusal(jane.post("/v1/algorithms/jane", json=body | {"name": "Late"})) == (400, 4001)
    kept = jane.get("/v1/algorithms/jane/Switched").json()
    assert jane.put("/v1/algorithms/jane/Switched", json=kept).json() == kept

    for _ in range(2):
        answer = admin.post(f"{path}/syncs")
        assert (answer.status_code, answer.json()["enabled"]) == (200, True)
    assert off["id"] in {each["id"] for each in environments(jane)}
    assert jane.post("/v1/algorithms/jane", json=body | {"name": "Late"}).status_code == 201
    for unknown in (UNKNOWN, "x", "%00"):
        assert admin.delete(f"{SPECIFICATIONS}/{unknown}").status_code == 404
        assert admin.post(f"{SPECIFICATIONS}/{unknown}/syncs").status_code == 404


def test_what_the_host_lacks_is_told_with_the_remedy(site, monkeypatch):
    monkeypatch.setitem(site.lacking, Language.RUBY, "apt-get install ruby")
    admin = site.web("root-admin-key")
    available = admin.get(f"{EDGE}/environments/available").json()
    ruby = next(each for each in available if each["language"]["name"] == "ruby")

    assert ruby["enabled"] is False
    assert "apt-get install" in ruby["reason"]
    assert environments(site.web(), "ruby") == []
    path = f"{SPECIFICATIONS}/{ruby['environment_specification_id']}/syncs"
    assert refusal(admin.post(path)) == (400, 6001)
    body = {"name": "Ruby", "details": {"label": ""}, "settings": {"language": "ruby"}}
    refused = site.web().post("/v1/algorithms/jane", json=body)
    assert refusal(refused) == (400, 4001)
    assert "apt-get install" in refused.json()["error"]["message"]


def test_a_template_is_an_archive_with_placeholders_or_filled(site):
    nobody = site.web("")
    environment = environments(site.web())[0]
    path = f"{SPECIFICATIONS}/{environment['environment_specification_id']}/template"

    def unpacked(answer):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/gzip"
        with tarfile.open(fileobj=io.BytesIO(answer.content), mode="r:gz") as archive:
            return {each.name: archive.extractfile(each).read() for each in archive.getmembers()}

    raw = unpacked(nobody.get(path))
    assert {"src/__ALGO__.py", "src/__ALGO___test.py", "requirements.txt"} <= set(raw)
    assert nobody.get(path).content == nobody.get(path).content
    filled = unpacked(nobody.get(f"{path}?user=jane&name=Mine"))
    assert "src/Mine.py" in filled
    assert json.loads(filled["algorithmia.conf"])["username"] == "jane"
    assert not any(b"__ALGO__" in content for content in filled.values())
    assert refusal(nobody.get(f"{path}?name=a-b")) == (400, 6001)
    answer = nobody.get(f"{SPECIFICATIONS}/{environment['id']}/template")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]
