"""What users and administrators name is not reached where only the server itself gets to."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

INSIDE = (
    "127.0.0.1",
    "127.1",
    "localhost",
    "LOCALHOST.",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[fe80::1]",
    "[fd00::1]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "metadata.google.internal",
    "example.com@127.0.0.1",
    "127.0.0.1#example.com",
    "127.0.0.1%2f@example.com",
    "127\u30020\u30020\u30021",
    "\u2460\u2461\u2466.0.0.1",
)
REFUSED = re.compile("may not be reached|address|characters|HOST:PORT")


@contextmanager
def trap() -> Iterator[tuple[int, list[str]]]:
    """Listen on a free port of this host, and note whoever comes."""
    came: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                came.append(str(address))
                connection.close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", INSIDE, ids=range(len(INSIDE)))
def test_nobody_makes_the_server_go_inside(attacked, host: str, scheme: str) -> None:
    with trap() as (port, came):
        address = f"{scheme}://{host}:{port}/x"
        connector = {
            "username": "attacker",
            "protocol": "s3",
            "cred_type": "iam",
            "cred_data": {"access_key_id": "AKIA" + "X" * 16, "secret_access_key": "x" * 40},
            "label": "inside",
            "options": {"endpoint": address, "allow_http": True, "region": "us-east-1"},
        }
        provider = {
            "name": "Inside",
            "factoryClassName": "VaultSecretProviderFactory",
            "configuration": {
                "vault_addr": address,
                "vault_token": "t",
                "vault_secret_path": "secret/x",
            },
        }
        broker = {
            "connection_type": "kafka_unauthenticated_plaintext",
            "broker_url": f"{host}:{port}",
            "topic": "t",
        }
        for method, path, who, body in (
            ("POST", "/v1/users/attacker/connectors", "attacker", connector),
            (
                "PUT",
                "/v1/users/attacker/package-sources",
                "attacker",
                {"indexes": [{"url": address}]},
            ),
            ("PUT", "/v1/users/attacker/package-sources", "attacker", {"proxy": {"url": address}}),
            ("POST", "/v1/admin/secret-provider", "admin", provider),
            ("POST", "/v1/admin/insights-connection", "admin", broker),
        ):
            answer = attacked.ask(method, path, who, json=body)
            assert answer.status_code == 400, (path, answer.text)
            message = json.loads(answer.content)["error"]["message"]
            assert re.search("may not be reached|address|characters|HOST:PORT", message), (
                path,
                message,
            )
        # A source host is looked at when somebody connects to it: names may change until then.
        urls = {"web": address, "api": address, "ssh": "git@scm.example.com"}
        scm = {"provider": "gitlab", "name": "Inside", "enabled": True, "urls": urls}
        scm["oauth"] = {"client_id": "i", "client_secret": "s"}
        answer = attacked.ask("POST", "/v1/admin/scms", "admin", json=scm)
        if answer.status_code == 201:
            path = f"/v1/scms/{answer.json()['id']}/token/connect"
            answer = attacked.ask("POST", path, "attacker", json={"secretToken": "t"})
        assert not answer.is_success
        assert REFUSED.search(json.loads(answer.content)["error"]["message"]), answer.text
        assert came == []


def test_a_source_that_was_not_taken_is_not_there(attacked) -> None:
    for path in ("inside/bucket/file", "s3+inside/bucket/file"):
        answer = attacked.ask("GET", f"/v1/connector/{path}", "attacker")
        assert answer.status_code in {400, 404}, answer.text
