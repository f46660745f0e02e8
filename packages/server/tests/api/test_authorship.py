"""Who may do what with algorithms: every principal and every act, over HTTP."""

import pytest
from authoring_site import SETTINGS

from algorium_server.domain.algorithms import Callability

ACTS = {
    "see": ("get", ""),
    "list": ("get", "/versions"),
    "status": ("get", "/scm/status"),
    "builds": ("get", "/builds"),
    "source": ("get", "/log"),
    "change": ("put", ""),
    "compile": ("post", "/compile"),
    "publish": ("post", "/versions"),
}
"""What is tried; compiling and publishing find nothing to do, which is told after the right."""
READS = {"see", "list", "status", "builds", "source"}
PUBLIC = {"see", "list", "status"}
GRANTED = {
    "private": {
        "jane-key": set(ACTS),
        "meg-key": set(ACTS),
        "meg-plain-key": PUBLIC,
        "bob-key": READS,
        "eve-key": set(),
        "root-key": set(),
        "root-admin-key": READS,
        "inside of jane": PUBLIC,
        "inside of eve": set(),
    },
    "closed": {
        "jane-key": set(ACTS),
        "meg-key": set(ACTS) - {"publish"},
        "meg-plain-key": PUBLIC,
        "bob-key": READS,
        "eve-key": PUBLIC,
        "root-key": PUBLIC,
        "root-admin-key": READS,
        "inside of jane": PUBLIC,
        "inside of eve": PUBLIC,
    },
    "open": {
        "jane-key": set(ACTS),
        "meg-key": set(ACTS) - {"publish"},
        "meg-plain-key": PUBLIC | {"source"},
        "bob-key": READS,
        "eve-key": PUBLIC | {"source"},
        "root-key": PUBLIC | {"source"},
        "root-admin-key": READS,
        "inside of jane": PUBLIC | {"source"},
        "inside of eve": PUBLIC | {"source"},
    },
}
"""As the wire specification says in "Roles and rights", for an algorithm of an organization."""
CREATES = {
    "jane": {"jane-key"},
    "lab": {"jane-key", "meg-key"},
    "root": {"root-key", "root-admin-key"},
    "nobody": set(),
}
DELETES = {
    "private": {"jane-key", "meg-key"},
    "public": {"root-admin-key"},
}


@pytest.fixture(scope="module")
def site(authoring_site):
    site = authoring_site
    jane = site.web()
    for name, public, settings in (
        ("Private", False, {}),
        ("Closed", True, {}),
        ("Open", True, {"source_visibility": "open", "license": "mit"}),
    ):
        body = {"name": name, "details": {"label": name}, "settings": SETTINGS | settings}
        assert jane.post("/v1/algorithms/lab", json=body).status_code == 201
        if public:
            build = site.add_build(f"lab/{name}")
            site.add_version(build, "1.0.0", callability=Callability.PUBLIC)
    return site


def client(site, who):
    if not who.startswith("inside of "):
        return site.web(who)
    site.acting = site.inside(who.removeprefix("inside of "), site.algorithm("lab/Open"))
    return site.web("")


@pytest.mark.parametrize("kind", GRANTED)
def test_everybody_may_do_what_their_role_grants_and_nothing_else(site, kind):
    found = {}
    for who in GRANTED[kind]:
        web = client(site, who)
        allowed = set()
        for act, (method, path) in ACTS.items():
            # A commit that is not there: the right is checked before it is looked for.
            body = {"commitSha": "f" * 40} if act == "compile" else {}
            options = {} if method == "get" else {"json": body}
            answer = getattr(web, method)(f"/v1/algorithms/lab/{kind.title()}{path}", **options)
            assert answer.status_code in {200, 400, 403}, (who, act, answer.text)
            if answer.status_code != 403:
                allowed.add(act)
            else:
                assert answer.json()["error"]["code"] == 2001
        site.acting = None
        found[who] = allowed

    assert found == GRANTED[kind]


def test_who_may_not_learns_why(site):
    answer = site.web("meg-plain-key").get("/v1/algorithms/lab/Private/builds")
    assert answer.json()["error"] == {
        "code": 2001,
        "message": "Caller is not authorized to perform the operation",
        "hint": "the key has allow_algo_management=false",
    }


def test_nobody_without_a_key_may_do_anything(site):
    nobody = site.web("")
    for method, path in (*ACTS.values(), ("delete", "")):
        answer = getattr(nobody, method)(f"/v1/algorithms/lab/Open{path}")
        assert answer.status_code == 401, path
        assert answer.json()["error"]["code"] == 2002
    assert nobody.post("/v1/algorithms/lab").status_code == 401
    assert nobody.get("/v1/users/jane/algorithms").status_code == 401
    assert site.web("unknown").get("/v1/algorithms/lab/Open").status_code == 401


@pytest.mark.parametrize("owner", CREATES)
def test_who_may_create(site, owner):
    found = set()
    for number, who in enumerate(GRANTED["private"]):
        body = {"name": f"Made{number}", "details": {"label": ""}, "settings": SETTINGS}
        answer = client(site, who).post(f"/v1/algorithms/{owner}", json=body)
        site.acting = None
        assert answer.status_code in {201, 403}, answer.text
        if answer.status_code == 201:
            found.add(who)
    assert found == CREATES[owner]


@pytest.mark.parametrize("kind", DELETES)
def test_who_may_delete(site, kind):
    jane = site.web()
    found = set()
    for who in GRANTED["private"]:
        name = f"Deleted{len(found)}"
        body = {"name": name, "details": {"label": ""}, "settings": SETTINGS}
        assert jane.post("/v1/algorithms/lab", json=body).status_code in {201, 400}
        algorithm = site.algorithm(f"lab/{name}")
        if kind == "public" and not site.directory.versions_of(algorithm.algorithm_id):
            build = site.add_build(f"lab/{name}")
            site.add_version(build, "1.0.0", callability=Callability.PUBLIC)
        answer = client(site, who).delete(f"/v1/algorithms/lab/{name}")
        site.acting = None
        assert answer.status_code in {204, 403}, answer.text
        if answer.status_code == 204:
            found.add(who)
    assert found == DELETES[kind]
