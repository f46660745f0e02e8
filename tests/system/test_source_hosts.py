"""Source at GitHub, GitLab and Bitbucket as people use it: connected, pushed, built, published."""

import json
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from running import RunningServer
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[2] / "packages" / "server" / "tests"))

from scm_providers.bitbucket_cloud_place import BitbucketCloudPlace
from scm_providers.bitbucket_server_place import BitbucketServerPlace
from scm_providers.github_place import GitHubPlace
from scm_providers.gitlab_place import GitLabPlace
from scm_providers.place import GIT_ENV, Delivery, Place, Repo, running

PLACES = (GitHubPlace, GitLabPlace, BitbucketCloudPlace, BitbucketServerPlace)
PROOFS = {"X-Hub-Signature", "X-Hub-Signature-256", "X-Gitlab-Token"}
NUMBERS = {"x-github-delivery", "idempotency-key", "x-request-uuid", "x-request-id"}
HELLO = "def apply(input):\n    return f'{greeting} {{input}}'\n"


@dataclass
class Site:
    """A server, one of the providers, and somebody who has an account at both."""

    server: RunningServer
    place: Place
    key: str
    admin_key: str

    @property
    def scm_id(self) -> str:
        return f"our-{self.place.provider}"

    @property
    def name(self) -> str:
        """What the algorithm of the story is called."""
        return f"Story_{self.place.provider.replace('-', '_')}"

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **options: Any
    ) -> httpx2.Response:
        headers = {"authorization": f"Simple {self.key if key is None else key}"}
        if key == "":
            headers = {}
        if body is not None:
            options |= {"content": json.dumps(body)}
            headers["content-type"] = "application/json"
        return httpx2.request(
            method, self.server.api + path, headers=headers, timeout=120, **options
        )

    def connect(self) -> None:
        """Connect as a browser does, or with a token where there is no such way."""
        if self.place.provider == "bitbucket":
            token = {"secretToken": self.place.token}
            done = self.ask("POST", f"/v1/scms/{self.scm_id}/token/connect", token)
        else:
            done = self.browse(self.ask("GET", f"/v1/scms/{self.scm_id}/oauth/start"))
        assert done.status_code == 200, done.text
        assert done.json()["authorization_status"] == "authorized"

    def browse(self, started: httpx2.Response) -> httpx2.Response:
        """Follow a redirection to the provider and back, with cookies and without a key."""
        assert started.status_code == 303, started.text
        cookie = started.headers["set-cookie"].partition(";")[0]
        allowed = httpx2.get(started.headers["location"], timeout=30)
        assert allowed.status_code == 302, allowed.text
        return httpx2.get(allowed.headers["location"], headers={"cookie": cookie}, timeout=60)

    def create(self, name: str, **source: str) -> httpx2.Response:
        body = {
            "name": name,
            "details": {"label": name},
            "settings": {
                "source_visibility": "closed",
                "license": "apl",
                "network_access": "isolated",
                "pipeline_enabled": True,
                "language": "python3-1",
                "environment": "cpu",
            },
            "source": {"scm": self.scm_id, **source},
        }
        return self.ask("POST", "/v1/algorithms/admin", body)

    def builds(self, name: str) -> list[dict[str, Any]]:
        return self.ask("GET", f"/v1/algorithms/admin/{name}/builds").json()["results"]

    def built(self, name: str, sha: str) -> dict[str, Any]:
        """Wait until a commit is built, and return the build."""
        return self.requested(name, sha, status={"succeeded", "failed"})

    def requested(self, name: str, sha: str, *, status: Collection[str] = ()) -> dict[str, Any]:
        """Wait until there is a build of a commit, of some *status* if that is given."""

        def found() -> dict[str, Any] | None:
            mine = [b for b in self.builds(name) if b["commit_sha"] == sha]
            return next((b for b in mine if not status or b["status"] in status), None)

        try:
            return wait_until(found, timeout_s=60, what=f"a build of {sha}")
        except AssertionError:
            told = [(one.status, one.answer) for one in self.place.deliveries]
            raise AssertionError("\n".join([*map(str, told), *self.server.lines[-40:]])) from None

    def call(self, ref: str, value: Any) -> Any:
        answer = self.ask("POST", f"/v1/algo/admin/{ref}", value)
        assert "result" in answer.json(), answer.text
        return answer.json()["result"]


class Checkout:
    """A clone, as its author has it on a laptop."""

    def __init__(self, site: Site, repo: Repo, directory: Path) -> None:
        self.directory = directory
        self.repo = repo
        self._site = site
        self._run("clone", "-q", site.place.clone_url(repo), str(directory), cwd=directory.parent)

    def push(self, greeting: str, *, branch: str = "") -> str:
        """Change what the algorithm says, push, and return the commit."""
        sources = self.directory / "src"
        for path in sources.glob("*_test.py"):
            path.unlink()
        entry = next(p for p in sources.glob("*.py") if p.stem != "__init__")
        entry.write_text(HELLO.format(greeting=greeting))
        (self.directory / "requirements.txt").write_text("")
        if branch:
            self._run("checkout", "-q", "-B", branch)
        self._run("add", "-A")
        author = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
        self._run(*author, "commit", "-q", "-m", f"Say {greeting}")
        self._run("push", "-q", self._site.place.clone_url(self.repo), "HEAD")
        return self._run("rev-parse", "HEAD").strip()

    def _run(self, *words: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=cwd or self.directory,
            env=GIT_ENV,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[type[Place], Site]]:
    directory = tmp_path_factory.mktemp("hosts")
    with ExitStack() as stack:
        places = {
            cls: stack.enter_context(running(cls(directory / cls.provider))) for cls in PLACES
        }
        options = ("--scm-poll-s", "0", "--connector-allow", "127.0.0.1")
        server = RunningServer(directory / "home", *options)
        stack.enter_context(server)
        admin_key = server.credentials["admin_api_key"]
        found = {
            cls: Site(server=server, place=place, key=server.key, admin_key=admin_key)
            for cls, place in places.items()
        }
        for site in found.values():
            made = site.ask(
                "POST", "/v1/admin/scms", site.place.scm(site.scm_id), key=site.admin_key
            )
            assert made.status_code == 201, made.text
            assert site.place.client_secret not in made.text
        yield found
        log = "\n".join(server.lines).encode()
        stored = b"".join(path.read_bytes() for path in server.home.glob("algorium.db*"))
        for site in found.values():
            assert site.place.complaints == []
            for secret in (site.place.client_secret, *site.place.tokens):
                assert secret.encode() not in log
                assert secret.encode() not in stored


@pytest.fixture(params=PLACES, ids=lambda cls: cls.provider)
def site(request: pytest.FixtureRequest, sites: dict[type[Place], Site]) -> Site:
    return sites[request.param]


@pytest.mark.slow
def test_from_a_connection_to_a_published_algorithm(site: Site, tmp_path: Path):
    place, name = site.place, site.name
    site.connect()
    status = site.ask("GET", f"/v1/scms/{site.scm_id}/oauth/status").json()
    assert status["scm_username"] == place.user
    assert place.organization in {one["scm_org_username"] for one in status["scm_organizations"]}

    created = site.create(name)
    assert created.status_code == 201, created.text
    algorithm = created.json()
    source = algorithm["source"]
    assert source["scm"]["id"] == site.scm_id
    repo = next(iter(place.repos.values()))
    assert (source["repository_owner"], source["repository_name"]) == (repo.owner, repo.name)
    assert "algorithmia.conf" in repo.git("ls-tree", "--name-only", "HEAD")
    assert site.builds(name) == []  # nothing is built until somebody asks
    [(_, key)] = repo.keys.values()
    scm = site.ask("GET", f"/v1/algorithms/admin/{name}/scm/status").json()
    assert scm["scm_connection_status"] == "active"
    assert scm["repository_public_deploy_key"] == key
    assert algorithm["id"] in scm["repository_webhook_url"]

    # What is fetched is built, published and called without knowing from where: once is enough.
    is_whole = isinstance(place, GitHubPlace)
    laptop = Checkout(site, repo, tmp_path / "laptop")
    sha = laptop.push("Hello")
    if is_whole:
        assert site.built(name, sha)["status"] == "succeeded"
        assert site.call(f"{name}/{sha}", "HAL") == "Hello HAL"
        published = site.ask("POST", f"/v1/algorithms/admin/{name}/versions", {})
        assert published.json()["version_info"]["git_hash"] == sha
        assert site.call(f"{name}/0.1.0", "HAL") == "Hello HAL"

    elsewhere = laptop.push("Nobody", branch="idea")
    assert place.deliveries[-1].status == 202
    assert "idea" in json.loads(place.deliveries[-1].answer)["reason"]
    assert elsewhere not in {build["commit_sha"] for build in site.builds(name)}

    place.rename(repo, f"{name}-two")
    place.change_branch(repo, "idea")
    again = laptop.push("Renamed", branch="idea")
    # Bitbucket tells nobody that the default branch is another one: it is found out afterwards.
    tells_late = place.provider.startswith("bitbucket")
    assert place.deliveries[-1].status in ({202, 204} if tells_late else {204})
    assert site.requested(name, again)
    source = site.ask("GET", f"/v1/algorithms/admin/{name}").json()["source"]
    assert (source["repository_name"], source["repository_default_branch"]) == (repo.name, "idea")

    repo.keys.clear()
    refused = site.ask("POST", f"/v1/algorithms/admin/{name}/compile", {})
    assert refused.status_code == 400, refused.text
    assert refused.json()["error"]["code"] == 4080
    scm = site.ask("GET", f"/v1/algorithms/admin/{name}/scm/status").json()
    assert scm["scm_connection_status"] == "deploy_key_error"
    if is_whole:
        assert site.call(f"{name}/0.1.0", "HAL") == "Hello HAL"  # what is published does not care


def test_messages_count_once_and_only_from_the_host(site: Site, tmp_path: Path):
    place = site.place
    site.connect()
    name = f"{site.name}_messages"
    created = site.create(name)
    assert created.status_code == 201, created.text
    repo = place.find(
        created.json()["source"]["repository_owner"], created.json()["source"]["repository_name"]
    )
    assert repo is not None
    sha = Checkout(site, repo, tmp_path / "laptop").push("Hello")
    sent = place.deliveries[-1]
    assert sent.status == 204, sent.answer

    def send(**changes: Any) -> Delivery:
        return replace(sent, **changes).send()

    again = send()
    assert (again.status, json.loads(again.answer)) == (202, {"reason": "it has come before"})
    other = lambda number: number[:-1] + ("1" if number.endswith("0") else "0")  # noqa: E731
    renumbered = {k: other(v) if k.lower() in NUMBERS else v for k, v in sent.headers.items()}
    # The same words under another number: a forgery if they are signed, else perhaps a new push.
    is_signed = place.provider in {"github", "bitbucket"}
    assert send(headers=renumbered).status == (202 if is_signed else 204)
    changed = sent.body.replace(b"refs/heads/", b"refs/heads/x").replace(b'"main"', b'"xmain"')
    forged = {k: f"{v[:-4]}0000" if k in PROOFS else v for k, v in sent.headers.items()}
    for headers, body, url in (
        (forged, sent.body, sent.url.partition("?")[0]),
        ({k: v for k, v in sent.headers.items() if k not in PROOFS}, changed, sent.url),
        (sent.headers, changed, sent.url.partition("?")[0] + "?token=guess"),
    ):
        if place.provider == "gitlab" and headers is sent.headers:
            continue  # it shows its secret, and signs nothing
        if place.provider == "bitbucket-cloud" and url == sent.url:
            continue  # its secret is in the address, and proof enough
        refused = send(headers=headers, body=body, url=url)
        assert (refused.status, json.loads(refused.answer)["error"]["code"]) == (401, 2002)
    if place.provider == "gitlab":
        for body in (
            b"{",
            b"[]",
            b'{"object_kind": "push"}',
            b'{"object_kind":"push","project":1}',
        ):
            broken = send(body=body)
            assert (broken.status, json.loads(broken.answer)["error"]["code"]) == (400, 4070)
    assert site.requested(name, sha)
    assert len(site.builds(name)) == 1
    for address, status in (
        (f"admin/Nobody_{name}", 404),
        (str(uuid4()), 404),
        (f"admin/{name}", 202),
    ):
        url = f"{site.server.api}/v1/algorithms/{address}/scm/webhook"
        assert send(url=f"{url}?{sent.url.partition('?')[2]}").status == status

    assert site.ask("DELETE", f"/v1/algorithms/admin/{name}").status_code == 204
    assert (repo.hooks, repo.keys) == ({}, {})
    assert place.find(repo.owner, repo.name) is repo
    assert repo.heads()
    assert site.ask("GET", f"/v1/algorithms/admin/{name}").status_code == 404


def test_what_cannot_be_set_up_is_taken_back(site: Site):
    place = site.place
    name = f"{site.name}_half"
    key = next(
        route for route in place.routes() if route[0] == "POST" and "key" in route[1].pattern
    )
    hook = next(
        route for route in place.routes() if route[0] == "POST" and "hooks" in route[1].pattern
    )
    site.connect()
    before = set(place.repos)
    for method, pattern, _ in (key, hook):
        place.broken[method, pattern.pattern] = 403
        refused = site.create(name)
        place.broken.clear()
        assert (refused.status_code, refused.json()["error"]["code"]) == (500, 1008)
        assert "something is broken here" in refused.json()["error"]["message"]
        assert site.ask("GET", f"/v1/algorithms/admin/{name}").status_code == 404
        left = [repo for number, repo in place.repos.items() if number not in before]
        assert all((repo.keys, repo.hooks) == ({}, {}) for repo in left)
        if place.provider != "github":  # it lets only those delete whom nobody asks to be
            assert left == []
        for repo in left:
            del place.repos[repo.number]

    place.broken[hook[0], hook[1].pattern] = 422  # as if this server could not be reached
    unheard = site.create(f"{name}_unheard")
    place.broken.clear()
    assert unheard.status_code == 201, unheard.text
    status = site.ask("GET", f"/v1/algorithms/admin/{name}_unheard/scm/status").json()
    assert status["scm_connection_status"] == "active"
    assert "webhook" in status["scm_connection_problem"]

    existing = place.create(place.organization, f"{name}_existing".lower())
    taken = site.create(name, repository_owner=place.organization, repository_name=existing.name)
    assert (taken.status_code, taken.json()["error"]["code"]) == (500, 1008)
    assert "taken" in taken.text or "exists" in taken.text
    absent = site.create(name, existing_repository_name="not-there")
    assert absent.json()["error"]["code"] == 1008
    odd = site.create(name, repository_name="-oProxyCommand=x")
    assert odd.json()["error"]["code"] == 6001

    adopted = site.create(
        name, repository_owner=place.organization, existing_repository_name=existing.name
    )
    assert adopted.status_code == 201, adopted.text
    assert existing.heads()  # it was empty: the template is in it now
    assert len(existing.keys) == 1
    site.ask("DELETE", f"/v1/algorithms/admin/{name}")
    again = site.create(
        name, repository_owner=place.organization, existing_repository_name=existing.name
    )
    assert again.status_code == 201, again.text
    assert existing.git("rev-list", "--count", "HEAD") == "1"  # it was not: nothing was added


def test_a_connection_in_a_browser_is_ended_by_who_began_it(
    sites: dict[type[Place], Site],
):
    site = sites[GitHubPlace]
    path = f"/v1/scms/{site.scm_id}/oauth"
    started = site.ask("GET", f"{path}/start")
    assert started.headers["location"].startswith(f"{site.place.web}/login/oauth/authorize?")
    cookie = started.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    back = httpx2.get(started.headers["location"]).headers["location"]

    def code_of(answer: httpx2.Response) -> tuple[int, int]:
        return answer.status_code, answer.json()["error"]["code"]

    assert code_of(httpx2.get(back)) == (401, 2002)
    assert code_of(httpx2.get(back, headers={"cookie": "algorium_scm=guess"})) == (401, 2002)
    mine = {"cookie": cookie.partition(";")[0]}
    assert httpx2.get(back, headers=mine).status_code == 200
    assert code_of(httpx2.get(back, headers=mine)) == (400, 4051)  # once

    assert code_of(site.ask("GET", f"{path}/finish")) == (400, 4051)
    denied = site.ask("GET", f"{path}/finish?error=access_denied&error_description=No+way")
    assert code_of(denied) == (400, 4051)
    assert "No way" in denied.text
    assert code_of(site.ask("GET", f"{path}/finish?code=wrong")) == (400, 4052)
    with_key = httpx2.get(site.ask("GET", f"{path}/start").headers["location"])
    answer = httpx2.get(with_key.headers["location"], headers={"authorization": site.key})
    assert answer.json()["authorization_status"] == "authorized"
    other = sites[GitLabPlace]
    moved = site.ask("GET", f"{path}/start").headers["location"]
    query = httpx2.get(moved).headers["location"].partition("?")[2]
    wrong = site.ask("GET", f"/v1/scms/{other.scm_id}/oauth/finish?{query}")
    assert code_of(wrong) == (400, 4051)

    tokens = [token for token in site.place.tokens if token.startswith("gho_")]
    assert site.ask("POST", f"{path}/revoke").status_code == 204
    assert len([t for t in site.place.tokens if t.startswith("gho_")]) == len(tokens) - 1
    assert site.ask("GET", f"{path}/status").json() == {"authorization_status": "unauthorized"}
    assert code_of(site.ask("GET", f"{path}/revoke")) == (404, 4008)
    assert code_of(site.create("Unconnected")) == (400, 4008)
    for scm_id in ("internal", sites[BitbucketServerPlace].scm_id):
        assert code_of(site.ask("GET", f"/v1/scms/{scm_id}/oauth/start")) == (400, 4050)
    internal = site.ask("GET", "/v1/scms/internal/oauth/status")
    assert internal.json() == {"authorization_status": "unauthorized"}
    assert site.ask("GET", f"{path}/start", key="").status_code == 401


def test_tokens_that_users_make_and_tokens_that_end(sites: dict[type[Place], Site]):
    for cls in (GitHubPlace, GitLabPlace, BitbucketServerPlace):
        site = sites[cls]
        path = f"/v1/scms/{site.scm_id}/token"
        wrong = site.ask("POST", f"{path}/connect", {"secretToken": "wrong-0123456789"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, 4081)
        assert "wrong-0123456789" not in wrong.text
        for body in ({}, {"username": "x"}, {"secretToken": "a\nb"}):
            assert site.ask("POST", f"{path}/connect", body).status_code == 400
        done = site.ask("POST", f"{path}/connect", {"secretToken": site.place.token})
        assert done.json()["scm_username"] == site.place.user
        assert site.ask("POST", f"{path}/status").json() == done.json()
    cloud, server = sites[BitbucketCloudPlace], sites[BitbucketServerPlace]
    for site in (cloud, server):
        login = {"username": site.place.user, "password": site.place.password}
        done = site.ask("POST", f"/v1/scms/{site.scm_id}/token/connect", login)
        assert done.json()["authorization_status"] == "authorized", done.text

    gitlab = sites[GitLabPlace]
    assert isinstance(gitlab.place, GitLabPlace)
    gitlab.place.expires_in = 60  # less than a request may take: it counts as ended
    gitlab.connect()
    refreshed = len(gitlab.place.tokens)
    assert gitlab.create("Refreshed").status_code == 201
    assert len(gitlab.place.tokens) > refreshed
    gitlab.place.expires_in = 7200
    gitlab.connect()
    for token in [t for t in gitlab.place.tokens if not t.startswith("pat")]:
        del gitlab.place.tokens[token]  # as if somebody had ended them there
    status = gitlab.ask("GET", f"/v1/scms/{gitlab.scm_id}/oauth/status").json()
    assert status["authorization_status"] == "authorized"
    gitlab.place.refresh_tokens.clear()
    for token in [t for t in gitlab.place.tokens if not t.startswith("pat")]:
        del gitlab.place.tokens[token]
    status = gitlab.ask("GET", f"/v1/scms/{gitlab.scm_id}/oauth/status").json()
    assert status == {"authorization_status": "unauthorized"}
    assert gitlab.create("Ended").json()["error"]["code"] == 4008


def test_administrators_decide_which_hosts_there_are(sites: dict[type[Place], Site]):
    site = sites[GitHubPlace]
    described = site.place.scm("second") | {"oauth": {"client_id": "Iv1.2", "client_secret": "s"}}

    def admin(method: str, path: str, body: Any = None, **options: Any) -> httpx2.Response:
        return site.ask(method, f"/v1/admin/scms{path}", body, key=site.admin_key, **options)

    def code_of(answer: httpx2.Response) -> tuple[int, int]:
        return answer.status_code, answer.json()["error"]["code"]

    listed = site.ask("GET", "/v1/scms").json()["results"]
    assert listed[0] == {
        "id": "internal",
        "provider": "internal",
        "name": "",
        "default": True,
        "enabled": True,
    }
    assert {one["id"] for one in listed} >= {each.scm_id for each in sites.values()}
    made = admin("POST", "", described)
    assert made.status_code == 201
    assert made.json() == {
        "id": "second",
        "provider": "github",
        "name": "Our github",
        "default": False,
        "enabled": True,
        "urls": site.place.urls(),
        "oauth": {"client_id": "Iv1.2"},
        "scm": {"client_id": "Iv1.2"},
    }
    assert site.ask("GET", "/v1/scms/second").json() == made.json()
    assert code_of(site.ask("GET", "/v1/scms/third")) == (404, 4009)
    assert code_of(admin("POST", "", described)) == (409, 4044)
    assert code_of(admin("POST", "", described | {"id": "other"})) == (409, 4044)
    assert code_of(admin("POST", "", site.place.scm("internal"))) == (409, 4044)
    for wrong in (
        {"provider": "sourceforge"},
        {"urls": {"web": "https://x"}},
        {"urls": None},
        {"urls": {"web": "file:///etc", "api": "https://x", "ssh": "ssh://git@x"}},
        {"urls": {"web": "https://x", "api": "https://x", "ssh": "ssh://-oProxyCommand=x"}},
        {"oauth": {"client_id": "x"}},
        {"id": "../x"},
        {"name": 1},
        {"enabled": "maybe"},
    ):
        assert code_of(admin("POST", "", described | {"id": "wrong"} | wrong)) == (400, 4020), wrong
    for malformed in (b"{", b"[]", b"\xff"):
        assert code_of(admin("POST", "", content=malformed)) == (400, 4020)
        assert code_of(admin("PATCH", "/second", content=malformed)) == (400, 4021)
    assert code_of(site.ask("POST", "/v1/admin/scms", described)) == (403, 2001)

    assert code_of(admin("PATCH", "/second", {})) == (400, 4021)
    assert code_of(admin("PATCH", "/second", {"urls": {"web": "https://x"}})) == (400, 4021)
    twin = {"oauth": {"client_id": site.place.client_id}}
    assert code_of(admin("PATCH", "/second", twin)) == (409, 4044)
    assert code_of(admin("PATCH", "/internal", {"enabled": False})) == (400, 4045)
    assert code_of(admin("PATCH", "/third", {"enabled": False})) == (404, 4009)
    assert code_of(admin("DELETE", "/second")) == (400, 4040)
    assert admin("POST", "/second/default").status_code == 204
    defaults = [
        one["id"] for one in site.ask("GET", "/v1/scms").json()["results"] if one["default"]
    ]
    assert defaults == ["second"]
    unconnected = {"name": "x", "details": {"label": "x"}, "settings": {"language": "python3-1"}}
    assert code_of(site.ask("POST", "/v1/algorithms/admin", unconnected)) == (400, 4008)
    assert code_of(admin("PATCH", "/second", {"enabled": False})) == (400, 4041)
    assert code_of(admin("DELETE", "/second")) == (400, 4041)
    assert admin("POST", "/internal/default").status_code == 204
    assert admin("PATCH", "/second", {"enabled": False}).json()["enabled"] is False
    assert code_of(admin("POST", "/second/default")) == (400, 4042)
    assert code_of(site.ask("GET", "/v1/scms/second/oauth/start")) == (400, 4042)
    unconnected["source"] = {"scm": "second"}
    assert code_of(site.ask("POST", "/v1/algorithms/admin", unconnected)) == (400, 4042)
    unconnected["source"] = {"scm": "third"}
    assert code_of(site.ask("POST", "/v1/algorithms/admin", unconnected)) == (400, 4009)
    assert admin("DELETE", "/second").status_code == 204
    assert code_of(admin("DELETE", "/second")) == (404, 4009)
    assert code_of(admin("DELETE", "/internal")) == (400, 4045)

    hosting = sites[BitbucketServerPlace]
    hosting.connect()
    assert hosting.create("Hosted").status_code == 201
    assert admin("PATCH", f"/{hosting.scm_id}", {"enabled": False}).status_code == 200
    assert code_of(admin("DELETE", f"/{hosting.scm_id}")) == (400, 4043)
    assert admin("PATCH", f"/{hosting.scm_id}", {"enabled": True}).status_code == 200
    compiled = site.ask("POST", "/v1/algorithms/admin/Hosted/scm/webhook", {})
    assert code_of(compiled) == (401, 2002)


def test_over_https_alone_and_with_credentials_for_once(sites: dict[type[Place], Site]):
    cloud = sites[BitbucketCloudPlace]
    urls = {**cloud.place.urls(), "ssh": cloud.place.web}
    described = cloud.place.scm("closed") | {"urls": urls, "oauth": None}
    described["oauth"] = {"client_id": "other", "client_secret": cloud.place.client_secret}
    made = cloud.ask("POST", "/v1/admin/scms", described, key=cloud.admin_key)
    assert made.status_code == 201, made.text
    login = {"username": cloud.place.user, "password": cloud.place.password}
    cloud.ask("POST", "/v1/scms/closed/token/connect", login)
    created = cloud.create("Closed", scm="closed")
    assert created.status_code == 201, created.text
    assert "repository_ssh_url" not in created.json()["source"]
    status = cloud.ask("GET", "/v1/algorithms/admin/Closed/scm/status").json()
    assert (status["scm_connection_status"], status["repository_public_deploy_key"]) == (
        "active",
        "",
    )
    assert cloud.ask("GET", "/v1/scms/closed/oauth/revoke").status_code == 204
    ended = cloud.ask("POST", "/v1/algorithms/admin/Closed/compile", {})
    assert ended.json()["error"]["code"] == 4080
    status = cloud.ask("GET", "/v1/algorithms/admin/Closed/scm/status").json()
    assert status["scm_connection_status"] == "deploy_key_error"

    server = sites[BitbucketServerPlace]
    server.ask("POST", f"/v1/scms/{server.scm_id}/oauth/revoke")
    body = {
        "name": "Once",
        "details": {"label": "Once"},
        "settings": {"language": "python3-1", "environment": "cpu"},
        "source": {"scm": server.scm_id},
    }
    refused = server.ask("POST", "/v1/algorithms/admin", body)
    assert refused.json()["error"]["code"] == 4008
    body["scmsCredentials"] = {"username": server.place.user, "password": server.place.password}
    assert server.ask("POST", "/v1/algorithms/admin", body).status_code == 201
    status = server.ask("GET", "/v1/algorithms/admin/Once/scm/status").json()
    assert status["scm_connection_status"] == "active"


def test_internal_algorithms_get_no_messages(sites: dict[type[Place], Site]):
    site = sites[GitHubPlace]
    body = {"name": "Inside", "details": {"label": "x"}, "settings": {"language": "python3-1"}}
    assert site.ask("POST", "/v1/algorithms/admin", body).status_code == 201
    answer = site.ask("POST", "/v1/algorithms/admin/Inside/scm/webhook", {}, key="")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 4012)


@pytest.mark.slow
def test_no_push_is_lost_when_the_server_dies(sites: dict[type[Place], Site], tmp_path: Path):
    site = sites[GitHubPlace]
    server, place = site.server, site.place
    site.connect()
    laptops = {}
    for name in ("Told", "Missed"):
        source = site.create(name).json()["source"]
        repo = place.find(source["repository_owner"], source["repository_name"])
        assert repo is not None
        laptops[name] = Checkout(site, repo, tmp_path / name)
    told = laptops["Told"].push("Told")
    server.kill()  # right after its answer
    assert place.deliveries[-1].status == 204
    place.sends_hooks = False
    missed = laptops["Missed"].push("Missed")
    place.rename(laptops["Missed"].repo, "Missed-anyway", tells=False)
    place.sends_hooks = True
    server.port = int(server.api.rpartition(":")[2])  # hooks know this address
    server.options = ("--scm-poll-s", "1", "--connector-allow", "127.0.0.1")
    server.start()

    for name, sha in (("Told", told), ("Missed", missed)):
        assert site.built(name, sha)["status"] == "succeeded"
        assert {build["commit_sha"] for build in site.builds(name)} == {sha}
    source = site.ask("GET", "/v1/algorithms/admin/Missed").json()["source"]
    assert source["repository_name"] == "Missed-anyway"
