import pytest

from algorium_server.api.health import HealthFace, Readiness


def test_a_living_server_says_so(serve):
    with serve(HealthFace(lambda: Readiness(is_ready=False))).client() as client:
        answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_a_starting_server_is_not_ready(serve):
    now = Readiness(is_ready=False, demo="building")
    with serve(HealthFace(lambda: now)).client() as client:
        answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "starting", "sandbox": {}, "demo": "building"}


def test_a_ready_server_shows_its_sandbox(serve):
    states = iter(
        [
            Readiness(is_ready=False),
            Readiness(is_ready=True, sandbox={"level": "full", "missing": []}, demo="ready"),
        ]
    )
    with serve(HealthFace(lambda: next(states))).client() as client:
        before, after = client.get("/readyz"), client.get("/readyz/")

    assert before.status_code == 503
    assert after.status_code == 200
    assert after.json()["status"] == "ready"
    assert after.json()["sandbox"] == {"level": "full", "missing": []}


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_head_has_no_body(serve, path):
    with serve(HealthFace(lambda: Readiness(is_ready=True))).client() as client:
        answer = client.head(path)

    assert answer.status_code == 200
    assert answer.content == b""


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_other_verbs_are_refused(serve, path):
    with serve(HealthFace(lambda: Readiness(is_ready=True))).client() as client:
        answer = client.post(path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json()["error"]["code"] == 2015
