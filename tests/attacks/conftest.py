"""A server that is attacked, and those who attack it; made once for all attacks."""

import socket
import urllib.parse
from collections.abc import Iterator

import httpx2
import pytest
from running import RunningServer

PATIENCE_S = 60


class Attacked:
    """
    A server with two users who have nothing to do with each other.

    Attributes:
        http: Shows no key.
        keys: Values of `Authorization`, by name: `victim`, `attacker`, `admin`.
    """

    def __init__(self, server: RunningServer, http: httpx2.Client) -> None:
        self.server = server
        self.http = http
        self.keys = {"admin": f"Simple {server.credentials['admin_api_key']}"}
        for name in ("victim", "attacker"):
            server.add_user(name)
            made = self.ask(
                "POST",
                f"/v1/users/{name}/keys",
                "admin",
                json={
                    "key_type": "ManagementKey",
                    "permissions": {
                        "allow_data": True,
                        "allow_data_write": True,
                        "allow_algo_management": True,
                        "algo_acl": ["algo://*"],
                    },
                },
            )
            assert made.status_code == 200, made.text
            self.keys[name] = f"Simple {made.json()['api_key']}"

    def ask(self, method: str, path: str, who: str = "", **options: object) -> httpx2.Response:
        headers = {"Authorization": self.keys[who]} if who else {}
        headers |= options.pop("headers", {})
        return self.http.request(method, path, headers=headers, **options)

    def raw(self, sent: bytes) -> bytes:
        """Send bytes as they are, and read what comes until the server closes."""
        address = urllib.parse.urlsplit(self.server.api)
        with socket.create_connection((address.hostname, address.port), PATIENCE_S) as connection:
            connection.settimeout(PATIENCE_S)
            received = b""
            try:
                connection.sendall(sent)
                while chunk := connection.recv(65536):
                    received += chunk
            except ConnectionError:
                pass  # it need not hear all of it to refuse it
            return received


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    with (
        RunningServer(tmp_path_factory.mktemp("attacked") / "home") as server,
        httpx2.Client(base_url=server.api, timeout=PATIENCE_S) as http,
    ):
        yield Attacked(server, http)
