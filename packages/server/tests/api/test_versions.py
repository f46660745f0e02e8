"""Compiling, publishing, and what is listed of it."""

import asyncio
import contextlib
import re

import httpx2
import pytest
from authoring_site import API, HELLO, SETTINGS

from algorium_server.domain.algorithms import BuildStatus, BuildTrigger, Callability

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def site(authoring_site):
    return authoring_site


@pytest.fixture(scope="module")
def jane(site):
    return site.web()


def create(who, name, owner="jane", **settings):
    body = {"name": name, "details": {"label": name}, "settings": SETTINGS | settings}
    answer = who.post(f"/v1/algorithms/{owner}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refusal(answer):
    return answer.status_code, answer.json()["error"]["code"]


def numbers(answer):
    assert answer.status_code == 200, answer.text
    return [each["version_info"].get("semantic_version", "") for each in answer.json()["results"]]


@pytest.fixture(scope="module")
def compiled(site, jane):
    """Compile a small project once, and return what was answered."""
    create(jane, "Hello")
    sha = site.commit("jane/Hello")
    answer = jane.post("/v1/algorithms/jane/Hello/compile")
    assert answer.status_code == 200, answer.text
    return sha, answer.json()


def test_compiling_answers_with_what_was_built(site, jane, compiled):
    sha, made = compiled
    assert made["id"]
    assert made["version_info"] == {"git_hash": sha}
    assert made["compilation"]["successful"] is True
    assert "Beginning container customization" in made["compilation"]["output"]
    assert made["build"]["status"] == "succeeded"
    assert made["build"]["resource_type"] == "algorithm_build"
    assert made["build"]["commit_sha"] == sha
    assert made["self_link"] == f"{API}/v1/algorithms/jane/Hello/versions/{sha}"

    path = f"/v1/algorithms/jane/Hello/builds/{made['build']['build_id']}"
    assert jane.get(path).json() == made["build"]
    assert jane.get(f"{path}/logs").json() == {"logs": made["compilation"]["output"]}
    assert jane.get("/v1/algorithms/jane/Hello/builds?limit=56").json() == {
        "marker": None,
        "next_link": None,
        "results": [made["build"]],
    }
    assert jane.get("/v1/algorithms/jane/Hello").json() == made


def test_a_failed_build_is_an_answer_and_no_version(site, jane, compiled):
    created = create(jane, "Broken")
    sha = site.commit("jane/Broken", {"src/Broken.py": b"def apply(:\n"})
    answer = jane.post(f"/v1/algorithms/{created['id']}/compile", json={})

    assert answer.status_code == 200
    made = answer.json()
    assert made["compilation"]["successful"] is False
    assert "SyntaxError" in made["compilation"]["output"]
    assert made["build"]["status"] == "failed"
    assert made["version_info"]["git_hash"] == sha
    assert refusal(jane.get(f"/v1/algorithms/jane/Broken/versions/{sha}")) == (404, 1014)
    assert numbers(jane.get("/v1/algorithms/jane/Broken/versions")) == []
    assert refusal(jane.post("/v1/algorithms/jane/Broken/version", json={})) == (400, 1007)


@pytest.mark.parametrize("content", [b"", b"{}", b"null"])
def test_a_commit_that_is_being_built_is_joined(site, jane, content):
    name = f"Joined{len(content)}"
    create(jane, name)
    site.commit(f"jane/{name}", HELLO)
    path = f"/v1/algorithms/jane/{name}/compile"
    others = [site.web() for _ in range(3)]

    async def together():
        return await asyncio.gather(*(each.client.post(path, content=content) for each in others))

    answers = [answer.json() for answer in site.runner.run(together())]
    assert len({answer["build"]["build_id"] for answer in answers}) == 1
    assert answers[0]["compilation"]["successful"] is True


def test_a_commit_can_be_named_and_need_not_be_waited_for(site, jane, compiled):
    sha, _ = compiled
    path = "/v1/algorithms/jane/Hello/compile"

    assert refusal(jane.post(path, json={"commitSha": "f" * 40})) == (400, 6001)
    assert refusal(jane.post(path, json={"commitSha": sha[:10]})) == (400, 6001)
    assert refusal(jane.post(path, json={"commitSha": 3})) == (400, 6001)
    answer = jane.post(path, json={"commitSha": sha.upper(), "sshPrivateKey": "-----"})
    assert (answer.status_code, answer.content) == (202, b"")
    again = jane.post(path, json={"commitSha": sha}).json()
    assert again["version_info"]["git_hash"] == sha


def test_a_build_goes_on_when_whoever_asked_has_gone(site, jane):
    create(jane, "Abandoned")
    sha = site.commit("jane/Abandoned")
    impatient = site.web()

    async def leave():
        with contextlib.suppress(httpx2.TimeoutException):
            await impatient.client.post("/v1/algorithms/jane/Abandoned/compile", timeout=0.2)
        (build,) = site.directory.builds_of(site.algorithm("jane/Abandoned").algorithm_id)
        return await site.builds.wait(build.build_id)

    build = site.runner.run(leave())
    assert (build.commit_sha, build.status) == (sha, BuildStatus.SUCCEEDED), build.log


def test_whoever_waits_for_a_build_learns_that_its_algorithm_is_gone(site, jane):
    create(jane, "Vanishing")
    build = site.add_build("jane/Vanishing", status=BuildStatus.IN_PROGRESS, finished_at=None)
    site.commit("jane/Vanishing")
    other = site.web()

    async def meanwhile():
        head = await site.repositories.head(
            site.algorithm("jane/Vanishing").owner_id, build.algorithm_id
        )
        waiting = asyncio.create_task(
            other.client.post("/v1/algorithms/jane/Vanishing/compile", json={"commitSha": head})
        )
        while len(site.directory.builds_of(build.algorithm_id)) < 2:
            await asyncio.sleep(0.01)
        await jane.client.delete("/v1/algorithms/jane/Vanishing")
        return await waiting

    answer = site.runner.run(meanwhile())
    assert (answer.status_code, answer.text) == (404, '{"error":"No such algorithm"}')


def test_publishing_makes_a_version_of_the_newest_build(site, jane):
    create(jane, "Published")
    build = site.add_build("jane/Published")
    body = {
        "version_info": {
            "version_type": "minor",
            "release_notes": "First",
            "sample_output": {"a": 1},
        },
        "details": {},
        "settings": {"algorithm_callability": "private", "royalty_microcredits": 7},
        "source": {},
        "scmsCredentials": {},
    }
    answer = jane.post("/v1/algorithms/jane/Published/versions", json=body)

    assert answer.status_code == 200
    made = answer.json()
    assert made["version_info"]["semantic_version"] == "0.1.0"
    assert made["version_info"]["git_hash"] == build.commit_sha
    assert made["version_info"]["release_notes"] == "First"
    assert made["version_info"]["sample_output"] == '{"a":1}'
    assert made["build"]["version_info"] == {"semantic_version": "0.1.0"}
    assert made["settings"]["royalty_microcredits"] == 7
    assert made["settings"]["algorithm_callability"] == "private"
    assert made["compilation"]["successful"] is True
    assert "warnings" not in made
    assert jane.get("/v1/algorithms/jane/Published").json() == made
    for name in ("0.1.0", made["version_info"]["version_uuid"], build.commit_sha):
        found = jane.get(f"/v1/algorithms/jane/Published/versions/{name}")
        assert found.json() == made, name
        found = jane.get(f"/v1/algorithms/{made['id']}/versions/{name.upper()}")
        assert found.status_code == 200, name
    by_id = jane.get(f"/v1/algorithms/{made['id']}/versions").json()
    assert by_id["results"][0]["version_info"] == made["version_info"]
    assert len(jane.get(f"/v1/algorithms/{made['id']}/builds").json()["results"]) == 1
    for name in ("0.2.0", UNKNOWN, "f" * 40, "nonsense", "%00", "1e9999"):
        assert jane.get(f"/v1/algorithms/jane/Published/versions/{name}").status_code == 404
    assert refusal(jane.get("/v1/algorithms/jane/Published/versions/9.9.9")) == (404, 1014)


def test_a_build_is_published_once_and_versions_grow(site, jane):
    made = create(jane, "Growing")
    spellings = (
        "/v1/algorithms/jane/Growing/versions",
        "/v1/algorithms/jane/Growing/version",
        f"/v1/algorithms/{made['id']}/versions",
        f"/v1/algorithms/{made['id']}/version",
    )

    def publish(path, **info):
        return jane.post(path, json={"version_info": info})

    assert refusal(publish(spellings[0])) == (400, 1007)
    wanted = [
        ({"version_type": "revision"}, "0.0.1"),
        ({"version_type": "patch"}, "0.0.2"),
        ({"type": "default"}, "0.1.0"),
        ({"version_type": "major"}, "1.0.0"),
        ({}, "1.1.0"),
        ({"semantic_version": "2.5.0"}, "2.5.0"),
    ]
    for number, (info, expected) in enumerate(wanted):
        path = spellings[number % 4]
        site.add_build("jane/Growing", commit_sha="c" * 40)
        published = publish(path, **info)
        assert published.json()["version_info"]["semantic_version"] == expected
        assert refusal(publish(path, **info)) == (400, 1007)
    site.add_build("jane/Growing", commit_sha="c" * 40)
    for info in (
        {"version_type": "huge"},
        {"semantic_version": "2.5.0"},
        {"semantic_version": "1.9.9"},
        {"semantic_version": "2.5"},
        {"semantic_version": "x"},
        {"git_hash": "d" * 40},
        {"git_hash": "HEAD"},
        {"version_type": 5},
        {"release_notes": "x" * 100_001},
    ):
        assert refusal(publish(spellings[0], **info)) == (400, 6001), info
    assert refusal(jane.post(spellings[0], content=b"{")) == (400, 2013)
    assert jane.post(spellings[0]).json()["version_info"]["semantic_version"] == "2.6.0"


def test_an_older_build_is_published_by_its_commit(site, jane):
    create(jane, "Chosen")
    site.add_build("jane/Chosen", commit_sha="1" * 40)
    site.add_build("jane/Chosen", commit_sha="2" * 40)
    answer = jane.post(
        "/v1/algorithms/jane/Chosen/version", json={"version_info": {"git_hash": "1" * 40}}
    )

    assert answer.json()["version_info"]["git_hash"] == "1" * 40
    assert numbers(jane.get("/v1/algorithms/jane/Chosen/versions")) == ["0.1.0", ""]


def test_who_may_call_changes_with_major_versions_only(site, jane):
    create(jane, "Opening")
    path = "/v1/algorithms/jane/Opening/version"

    def publish(callability=None, **info):
        site.add_build("jane/Opening")
        settings = {"algorithm_callability": callability} if callability else {}
        return jane.post(path, json={"settings": settings, "version_info": info})

    assert publish().json()["settings"]["algorithm_callability"] == "private"
    assert refusal(publish("public")) == (400, 6001)
    opened = publish("public", version_type="major").json()
    assert opened["settings"]["algorithm_callability"] == "public"
    kept = publish().json()
    assert kept["settings"]["algorithm_callability"] == "public"
    assert refusal(publish("private", version_type="revision")) == (400, 6001)
    assert refusal(publish("everybody")) == (400, 6001)


def test_a_refused_publication_changes_no_settings(site, jane):
    create(jane, "Unmoved")
    body = {"settings": {"royalty_microcredits": 9}, "details": {"summary": "New"}}
    assert refusal(jane.post("/v1/algorithms/jane/Unmoved/version", json=body)) == (400, 1007)
    kept = jane.get("/v1/algorithms/jane/Unmoved").json()
    assert kept["settings"]["royalty_microcredits"] == 0
    assert kept["details"]["summary"] == ""


def test_members_publish_for_themselves_and_owners_for_all(site, jane):
    create(jane, "Shared", owner="lab")
    meg = site.web("meg-key")
    path = "/v1/algorithms/lab/Shared/version"

    def publish(who, callability, key=None):
        site.add_build("lab/Shared")
        body = {"settings": {"algorithm_callability": callability}}
        return who.post(path, json=body | {"version_info": {"version_type": "major"}})

    assert publish(meg, "private").status_code == 200
    assert refusal(publish(meg, "public")) == (403, 2001)
    assert refusal(publish(site.web("bob-key"), "private")) == (403, 2001)
    assert publish(jane, "public").status_code == 200
    assert refusal(meg.post(path, json={})) == (403, 2001)  # it would be public again
    assert publish(meg, "private").status_code == 200


def test_insights_are_read_from_both_places(site, jane):
    create(jane, "Insightful")

    def publish(**body):
        site.add_build("jane/Insightful")
        answer = jane.post("/v1/algorithms/jane/Insightful/version", json=body)
        return answer.json()["settings"]["insights_enabled"]

    assert publish() is False
    assert publish(settings={"insights_enabled": True}) is True
    assert publish(settings={"insights_enabled": False}) is False
    assert publish(version_info={"insights_enabled": True}) is True


@pytest.fixture(scope="module")
def listed(site, jane):
    """Return the path of an algorithm with five versions, two of them public, and three builds."""
    create(jane, "Listed")
    for number in ("0.1.0", "0.2.0", "1.0.0", "1.1.0", "2.0.0"):
        public = number.startswith("1")
        callability = Callability.PUBLIC if public else Callability.PRIVATE
        site.add_version(site.add_build("jane/Listed"), number, callability=callability)
    for _ in range(3):
        site.add_build("jane/Listed", commit_sha="9" * 40)
    site.add_build("jane/Listed", status=BuildStatus.FAILED, commit_sha="8" * 40)
    return "/v1/algorithms/jane/Listed"


def test_versions_are_filtered(site, jane, listed):
    def found(query, who=jane):
        return numbers(who.get(f"{listed}/versions?{query}"))

    versions = ["2.0.0", "1.1.0", "1.0.0", "0.2.0", "0.1.0"]
    assert found("") == ["", "", "", *versions]
    assert found("published=true") == versions
    assert found("published=True&callable=TRUE") == ["1.1.0", "1.0.0"]
    assert found("published=1&callable=0") == ["2.0.0", "0.2.0", "0.1.0"]
    assert found("published=false") == ["", "", ""]
    assert found("callable=false") == ["", "", "", "2.0.0", "0.2.0", "0.1.0"]
    assert found("published=false&callable=true") == []
    assert found("callable=true&limit=50&published=true") == ["1.1.0", "1.0.0"]
    assert found("published=perhaps&nonsense=1&true=true") == found("")
    assert found("published=true?callable=true") == ["1.1.0", "1.0.0"]
    assert found("published=false", site.web("eve-key")) == []
    assert found("", site.web("eve-key")) == ["1.1.0", "1.0.0"]


def test_lists_come_in_pages_that_fit_together(jane, listed):
    for path, key in (("versions", "version_info"), ("builds", "build_id")):
        whole = jane.get(f"{listed}/{path}").json()
        assert (whole["marker"], whole["next_link"]) == (None, None)
        collected = []
        address = f"{listed}/{path}?limit=2&nonsense=1"
        while address:
            page = jane.get(address).json()
            assert list(page) == ["marker", "next_link", "results"]
            assert len(page["results"]) <= 2
            collected += page["results"]
            if page["next_link"]:
                assert re.fullmatch(r"[A-Za-z0-9_-]+", page["marker"])
                assert f"marker={page['marker']}" in page["next_link"]
            address = (page["next_link"] or "").removeprefix(API)
        assert collected == whole["results"]
        assert all(each[key] for each in collected)
        assert jane.get(f"{listed}/{path}?limit=1000&marker=").json() == whole
        for query, code in (
            ("limit=0", 5003),
            ("limit=1001", 5003),
            ("limit=-1", 5003),
            ("limit=x", 5003),
            ("marker=x", 5002),
            ("marker=bm9uc2Vuc2U", 5002),
            ("marker=eyJhZnRlciI6WzkyMjMzNzIwMzY4NTQ3NzU4MDcsImEiXX0", 5002),
        ):
            assert refusal(jane.get(f"{listed}/{path}?{query}")) == (400, code), query


def test_builds_are_not_for_strangers_and_unknown_ones_are_told(site, jane, listed):
    build = jane.get(f"{listed}/builds?limit=1").json()["results"][0]
    eve = site.web("eve-key")
    for path in (
        "builds",
        f"builds/{build['build_id']}",
        f"builds/{build['build_id']}/logs",
    ):
        assert refusal(eve.get(f"{listed}/{path}")) == (403, 2001)
        assert site.web("root-admin-key").get(f"{listed}/{path}").status_code == 200
    for build_id in (UNKNOWN, "x", "%00"):
        assert refusal(jane.get(f"{listed}/builds/{build_id}")) == (404, 1010)
        assert refusal(jane.get(f"{listed}/builds/{build_id}/logs")) == (404, 1011)
    create(jane, "Stranger")
    path = f"/v1/algorithms/jane/Stranger/builds/{build['build_id']}"
    assert refusal(jane.get(path)) == (404, 1010)
    running = site.add_build("jane/Stranger", status=BuildStatus.IN_PROGRESS, finished_at=None)
    path = f"/v1/algorithms/jane/Stranger/builds/{running.build_id}"
    assert jane.get(path).json()["status"] == "in-progress"
    assert refusal(jane.get(f"{path}/logs")) == (404, 1011)


def test_commits_are_listed_with_both_ends(site, jane):
    create(jane, "Storied")
    shas = [
        site.commit("jane/Storied", {"src/A.py": b"%d" % number}, f"Change {number}\n\nBecause\n")
        for number in range(4)
    ]

    def found(query=""):
        answer = jane.get(f"/v1/algorithms/jane/Storied/log?{query}")
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["commits"]]

    assert found()[:4] == shas[::-1]
    assert len(found()) == 5
    assert found(f"since={shas[1]}") == shas[:0:-1]
    assert found(f"until={shas[2]}")[:3] == shas[2::-1]
    assert found(f"since={shas[1]}&until={shas[2]}") == [shas[2], shas[1]]
    assert found(f"since={shas[1]}&until={shas[1]}") == [shas[1]]
    assert found(f"since={shas[3]}&until={shas[1]}") == []
    newest = jane.get("/v1/algorithms/jane/Storied/log").json()["commits"][0]
    assert newest == {
        "id": shas[3],
        "short_message": "Change 3",
        "message": "Change 3\n\nBecause\n",
        "author": "Jane <jane@example.org>",
    }
    for query in (f"since={'f' * 40}", f"until={'f' * 40}", "since=x", "until=%00", "until=HEAD"):
        assert jane.get(f"/v1/algorithms/jane/Storied/log?{query}").status_code == 404, query


def test_what_is_pushed_brings_its_readme_along_and_compiling_does_not(site, jane):
    create(jane, "Described")
    files = {"src/Described.py": HELLO["src/Hello.py"]}
    readme = b"# Described\n\nIt <script>x</script> [is](javascript:x) [here](https://a.example).\n"
    path = "/v1/algorithms/jane/Described"

    def summary(trigger):
        build = site.runner.run(
            site.builds.request(site.algorithm("jane/Described"), trigger=trigger)
        )
        site.worker.wake()
        site.runner.run(site.builds.wait(build.build_id))
        return jane.get(path).json()["details"]["summary"]

    site.commit("jane/Described", files | {"README.md": readme})
    assert summary(BuildTrigger.COMPILE) == ""
    assert summary(BuildTrigger.PUSH) == (
        "<h1>Described</h1>\n<p>It &lt;script&gt;x&lt;/script&gt; [is](javascript:x) "
        '<a href="https://a.example">here</a>.</p>'
    )
    jane.put(path, json={"details": {"summary": "By hand"}})
    assert summary(BuildTrigger.COMPILE) == "By hand"
    for content in ({}, {"README.md": b"x" * 33_000}):
        site.commit("jane/Described", files | content)
        assert summary(BuildTrigger.WEBHOOK) == "By hand"
    site.commit("jane/Described", files | {"README.md": b"New \xff"})
    assert summary(BuildTrigger.COMMIT) == "<p>New \ufffd</p>"
