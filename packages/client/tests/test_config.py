import os
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from standin import KEY, StandIn

from algorium import Algorium, ConfigurationError, ConnectionFailed
from algorium._config import connection, normal_address

PROFILES = """
[profiles]
[profiles.default]
api_server = "https://api.example.com/"
api_key = "simDefault"
ca_cert = "/etc/ca.pem"
[profiles.work]
api_server = "http://work.example.com:8080"
bearer_token = "a.b.c"
[profiles.blank]
api_key = ''
api_server = ''
ca_cert = ''
[profiles.nowhere]
api_key = "simAnywhere"
"""


@pytest.fixture
def profiles(home: Path) -> Path:
    path = home / ".algorithmia" / "config"
    path.parent.mkdir()
    path.write_text(PROFILES)
    return path


def settled(environment: dict[str, str] | None = None, **arguments: Any) -> tuple[str, str, str]:
    made = connection(environment={"HOME": os.environ["HOME"], **(environment or {})}, **arguments)
    return made.api_address, made.authorization, made.ca_cert


def test_without_anything_it_is_the_local_server() -> None:
    assert settled() == ("http://127.0.0.1:8080", "", "")


def test_the_environment_is_enough_inside_an_algorithm() -> None:
    assert settled({"ALGORITHMIA_API": "http://127.0.0.1:41234"}) == (
        *("http://127.0.0.1:41234", "", ""),
    )


def test_the_default_profile_is_asked_last(profiles: Path) -> None:
    assert settled() == ("https://api.example.com", "Simple simDefault", "/etc/ca.pem")
    assert settled({"ALGORITHMIA_API_KEY": "simEnv"})[1] == "Simple simEnv"
    assert settled({"ALGORITHMIA_API_KEY": "simEnv"}, api_key="simArg")[1] == "Simple simArg"
    assert settled({"ALGORITHMIA_BEARER_TOKEN": "x.y.z"})[1] == "Bearer x.y.z"


def test_a_named_profile_stands_before_the_environment(profiles: Path) -> None:
    environment = {"ALGORITHMIA_API": "http://env.example.com", "ALGORITHMIA_API_KEY": "simEnv"}

    assert settled(environment, profile="work") == (
        *("http://work.example.com:8080", "Bearer a.b.c", ""),
    )
    assert settled(environment, profile="work", api_key="simArg")[1] == "Simple simArg"


def test_a_profiles_key_goes_to_its_own_server_only(profiles: Path) -> None:
    assert settled({"ALGORITHMIA_API": "https://other.example.com"}) == (
        *("https://other.example.com", "", ""),
    )
    assert settled({"ALGORITHMIA_API": "https://API.example.com"})[1] == "Simple simDefault"
    assert settled(profile="nowhere", api_address="http://x")[1] == "Simple simAnywhere"


def test_blank_entries_count_as_missing(profiles: Path) -> None:
    assert settled(profile="blank") == ("http://127.0.0.1:8080", "", "")


def test_an_unknown_profile_is_an_error(profiles: Path) -> None:
    with pytest.raises(ConfigurationError, match="no profile 'wrok'"):
        Algorium(profile="wrok")


@pytest.mark.parametrize("text", ["[profiles", "[profiles.default]\napi_key = 7\n", "\xff"])
def test_a_broken_file_is_named_but_not_shown(profiles: Path, text: str) -> None:
    profiles.write_text(f'secret = "simSECRET"\n{text}', encoding="latin-1")

    with pytest.raises(ConfigurationError, match="config") as caught:
        Algorium()
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["", "api.example.com", "ftp://x", "http://", "http://x:y", "http://x?a=1", "http:/x"],
)
def test_impossible_addresses_are_refused(address: str) -> None:
    with pytest.raises(ConfigurationError):
        normal_address(address)


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    for address in ("http://me:SECRET@example.com", "me:SECRET@example.com"):
        with pytest.raises(ConfigurationError) as caught:
            normal_address(address)
        assert "SECRET" not in str(caught.value)


def test_a_key_that_cannot_be_one_is_refused_and_not_shown() -> None:
    for key in ("simSECRET\r\nX: y", "simSECRETü"):
        with pytest.raises(ConfigurationError) as caught:
            Algorium(key)
        assert "SECRET" not in str(caught.value)


def test_an_address_may_have_a_prefix(stand_in: StandIn) -> None:
    with Algorium(KEY, f"{stand_in.address}/prefix/") as client:
        assert client.api_address == f"{stand_in.address}/prefix"
        assert client.dir("data://.my").exists() is False

    assert stand_in.last.path == "/prefix/v1/connector/data/.my"


def test_nobody_listening_is_told_with_the_address(make_client: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take the port
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = make_client(api_address=address, retries_max=1)

        with pytest.raises(ConnectionFailed, match=address) as caught:
            client.algo("demo/Hello").pipe("x")
    assert "algorium serve" in caught.value.hint


def test_a_proxy_from_the_environment_is_not_for_this_machine(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    with Algorium(KEY, stand_in.address) as client:
        assert client.dir("data://").exists()


def test_a_proxy_is_used_when_named(stand_in: StandIn) -> None:
    with Algorium(KEY, "http://api.example.com", proxy=stand_in.address) as client:
        client.dir("data://.my").exists()

    assert stand_in.last.headers["host"] == "api.example.com"


def test_a_wrong_proxy_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Algorium(proxy="gopher://me:SECRET@x")
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("arguments", [{"timeout_s": 0}, {"retries_max": -1}])
def test_impossible_numbers_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Algorium(**arguments)


@pytest.fixture
def tls_server(tmp_path: Path) -> Any:
    """A TLS server with a certificate that only its own file vouches for."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", "key.pem", "-out", "ca.pem", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("X-Data-Type", "directory")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    # The handshake belongs to the request's reading, so that a refused one does not end the loop.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://localhost:{server.server_port}", tmp_path / "ca.pem"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_own_certificate_authority_is_trusted_by_name_only(
    tls_server: tuple[str, Path], make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, ca_cert = tls_server
    shared = httpcore2.default_ssl_context  # all tests have one; what is added here is for one
    monkeypatch.setattr(httpcore2, "default_ssl_context", getattr(shared, "__wrapped__", shared))

    assert make_client(api_address=address, ca_cert=ca_cert).dir("data://").exists()
    with pytest.raises(ConfigurationError, match="not trusted") as caught:
        make_client(api_address=address).dir("data://").exists()
    assert "ca_cert" in caught.value.hint


def test_an_unreadable_certificate_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        Algorium(api_address="https://localhost", ca_cert=tmp_path / "missing.pem")


def test_the_wire_grammar_loads_no_http_library() -> None:
    code = (
        "import sys, algorium.wire.refs, algorium.wire.bodies, algorium\n"
        "sys.exit('httpx2' in sys.modules or 'asyncio' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
