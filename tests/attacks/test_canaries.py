"""
Secrets of every kind, used rightly and wrongly, are in nothing that the server writes.

Each is a text that stands nowhere else. It goes through everything that takes such a secret: where
it is kept, where it is refused, and where somebody puts it by mistake. Then all that the server has
said, answered and kept is searched for it. What is kept sealed or as a digest does not hold it.
"""

import base64
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from running import ALGORIUM, RunningServer
from searching import files_holding

KINDS: Final = (
    "broker_password",
    "cloud_key",
    "guess",
    "index_password",
    "key",
    "listener",
    "new_password",
    "oidc_secret",
    "password",
    "registry",
    "scm_secret",
    "secret_value",
    "token",
)


class Canaries:
    """A server, and a secret of each kind; `answers` is all that it has answered to them."""

    def __init__(self, server: RunningServer, secrets: dict[str, str]) -> None:
        self.secrets = secrets
        self.answers: list[tuple[str, str]] = []
        self.server = server
        self._http = httpx2.Client(base_url=server.api, timeout=60)
        self._admin = f"Simple {server.credentials['admin_api_key']}"

    def close(self) -> None:
        self._http.close()

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> httpx2.Response:
        shown = self._admin if key is None else key
        headers |= {"Authorization": shown} if shown else {}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = self._http.request(method, path, content=content, headers=headers)
        self._http.cookies.clear()
        said = f"{answer.text} {dict(answer.headers)}"
        self.answers.append((f"{method} {path.partition('?')[0]}", said))
        assert answer.status_code != 500, answer.text
        return answer

    def sign_in(self) -> str:
        """Sign in, with and without the right password; return the cookie."""
        right, wrong = self.secrets["password"], self.secrets["guess"]
        path = "/v1/users/bird/password"
        assert self.ask("PUT", path, {"password": right}).status_code == 204
        for password in (wrong, {"x": wrong}, [wrong], 7):
            self.ask("POST", "/v1/session", {"username": "bird", "password": password}, key="")
        self.ask("POST", "/v1/session", f'{{"password": "{right}'.encode(), key="")
        self.ask("POST", "/v1/session", f"username=bird&password={right}".encode(), key="")
        self.ask("PUT", path, {"password": self.secrets["new_password"][:3]})
        self.ask("PUT", path, {"password": [self.secrets["new_password"]]})
        body = {"username": "bird", "password": right}
        answer = self._http.post("/v1/session", json=body)
        self._http.cookies.clear()
        assert answer.status_code == 200, answer.text
        cookie: str = answer.cookies["ALGO_SESSION"]
        token = answer.json()["csrf_token"]
        shown = {"Cookie": f"ALGO_SESSION={cookie}"}
        self.ask("GET", "/v1/session/methods", key="", **shown)
        self.ask("GET", "/v1/users/bird/sessions", key="", **shown)
        self.ask("POST", "/v1/users/bird/keys", {}, key="", **shown)
        self.ask(
            "POST",
            "/v1/users/bird/keys",
            {"key_label": 1},
            key="",
            **shown | {"X-CSRF-Token": token},
        )
        return cookie

    def show_keys(self) -> None:
        """Show keys rightly, misspelt, and where none belong."""
        key = self.secrets["key"]
        body = {
            "key_type": "ManagementKey",
            "api_key": key,
            "permissions": {"allow_algo_management": True, "allow_data": True},
        }
        made = self._http.post(
            "/v1/admin/users/bird/keys", json=body, headers={"Authorization": self._admin}
        )
        assert made.status_code == 200, made.text
        self.ask("POST", "/v1/admin/users/bird/keys", body)
        self.ask("POST", "/v1/admin/users/bird/keys", {**body, "api_key": f"{key} {key}"})
        for value in (key, f"Simple {key}", f"bearer {key}"):
            assert self.ask("GET", "/v1/data", key=value).status_code == 200
        basic = base64.b64encode(f"bird:{key}".encode()).decode()
        for value in (f"Simple {key}x", f"Digest {key}", f"Basic {basic}", f"Simple {key} {key}"):
            self.ask("GET", "/v1/data", key=value)
            self.ask("POST", "/v1/algo/bird/None", key=value)
        self.ask("GET", f"/v1/data?api_key={key}&Authorization={key}", key="")
        for path in ("/v1/users/bird/keys", "/v1/algorithms/bird/None", "/v1/nothing"):
            self.ask("GET", path, key=f"Simple {key}")
        git = "/git/bird/None.git/info/refs?service=git-upload-pack"
        self.ask("GET", git, key=f"Basic {basic}")
        self.ask("GET", git, key=f"Basic {basic[:-4]}")

    def keep(self) -> None:
        """Hand over all that the server keeps, and once more so that it is refused."""
        for method, path, body, member in self._kept():
            first = self.ask(method, path, body)
            assert first.is_success, (path, first.text)
            for wrong in ({**body, member: 7}, {**body, member: [body[member]]}, [body]):
                self.ask(method, path, wrong)
            self.ask(method, path, json.dumps(body).encode()[:-1])
            self.ask("GET", path)

    def _kept(self) -> Iterator[tuple[str, str, dict[str, Any], str]]:
        secrets = self.secrets
        tool = {"name": "Tool", "details": {"label": "x"}, "settings": {"language": "python3"}}
        made = self.ask("POST", "/v1/algorithms/bird", tool, key=f"Simple {secrets['key']}")
        assert made.status_code == 201, made.text
        algorithm = made.json()["id"]
        yield (
            "POST",
            f"/v1/algorithms/{algorithm}/secrets",
            {
                "owner_type": "algorithm",
                "owner_id": algorithm,
                "short_name": "s",
                "description": "d",
                "secret_key": "KEY",
                "secret_value": secrets["secret_value"],
            },
            "short_name",
        )
        yield (
            "POST",
            "/v1/admin/secret-provider",
            {
                "name": "Vault",
                "factoryClassName": "VaultSecretProviderFactory",
                "isEnabled": False,
                "configuration": {
                    "vault_addr": "https://vault.example.com",
                    "vault_token": secrets["token"],
                    "vault_secret_path": "secret/x",
                },
            },
            "configuration",
        )
        yield (
            "POST",
            "/v1/users/bird/connectors",
            {
                "username": "bird",
                "protocol": "s3",
                "cred_type": "iam",
                "cred_data": {
                    "access_key_id": "AKIA" + "X" * 16,
                    "secret_access_key": secrets["cloud_key"],
                },
                "label": "cloud",
            },
            "cred_data",
        )
        yield (
            "PUT",
            "/v1/users/bird/package-sources",
            {
                "indexes": [
                    {
                        "url": "https://pypi.org/simple",
                        "username": "u",
                        "password": secrets["index_password"],
                    }
                ]
            },
            "indexes",
        )
        yield (
            "POST",
            "/v1/registries",
            {"registry_url": "https://r.example.com", "registry_password": secrets["registry"]},
            "registry_password",
        )
        yield (
            "POST",
            "/v1/users/bird/event-listeners",
            {
                "sourceType": "AmazonSQS",
                "sourceURI": "https://sqs.us-east-1.amazonaws.com/1/q",
                "algoName": "Tool",
                "algoOwner": "bird",
                "credentials": secrets["listener"],
            },
            "credentials",
        )
        yield (
            "POST",
            "/v1/admin/insights-connection",
            {
                "connection_type": "kafka_sasl_ssl",
                "broker_url": "192.0.2.1:9093",
                "topic": "t",
                "broker_username": "u",
                "broker_password": secrets["broker_password"],
            },
            "broker_password",
        )
        yield (
            "POST",
            "/v1/admin/scms",
            {
                "provider": "github",
                "name": "Host",
                "enabled": False,
                "urls": {
                    "web": "https://h.example.com",
                    "api": "https://h.example.com/api",
                    "ssh": "git@h.example.com",
                },
                "oauth": {"client_id": "i", "client_secret": secrets["scm_secret"]},
            },
            "oauth",
        )


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    secrets = {kind: f"Canary{uuid.uuid4().hex}" for kind in KINDS}
    file = tmp_path / "secret"
    file.write_text(secrets["oidc_secret"])
    options = ["--log-level", "debug", "--connector-allow", "vault.example.com,192.0.2.1:9093"]
    options += ["--oidc-issuer", "https://idp.example.com", "--oidc-client-id", "algorium"]
    options += ["--oidc-client-secret-file", str(file)]
    with RunningServer(tmp_path / "home", *options) as server:
        server.add_user("bird")
        canaries = Canaries(server, secrets)
        yield canaries
        canaries.close()


def test_no_secret_is_in_anything_that_is_written(canaries: Canaries, tmp_path: Path) -> None:
    home, server = tmp_path / "home", canaries.server
    secrets = canaries.secrets
    secrets["cookie"] = canaries.sign_in()
    canaries.show_keys()
    canaries.keep()
    canaries.ask("GET", "/v1/session/oidc/start", key="")
    canaries.ask("GET", "/v1/admin/audit")
    canaries.ask("GET", "/v1/admin/audit/export")
    canaries.ask("GET", "/v1/openapispec")
    running = files_holding(home, *secrets.values())
    server.stop()

    assert running == []
    assert files_holding(home, *secrets.values()) == []
    assert len(canaries.answers) > 60
    assert any("bird" in line for line in [*server.lines, *(text for _, text in canaries.answers)])
    for kind, secret in secrets.items():
        assert [what for what, text in canaries.answers if secret in text] == [], kind
        assert [line for line in server.lines if secret in line] == [], kind
    said = subprocess.run(
        [ALGORIUM, "doctor", "--home", home], capture_output=True, text=True, check=False
    )
    assert not any(secret in said.stdout + said.stderr for secret in secrets.values())
