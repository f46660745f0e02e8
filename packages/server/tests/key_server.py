"""An identity provider's keys on a real socket, and tokens signed with them, wrong ones as well."""

import base64
import datetime
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

AUDIENCE = "algorium"


class KeyServer:
    """
    Publishes keys.

    Attributes:
        keys: Private ones, by name; what is published of them is public.
        extra: Further entries, published as they are.
        asked: How often somebody has read them.
        is_down: Answer with an error.
    """

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.keys: dict[str, RSAKey] = {}
        self.extra: list[Any] = []
        self.asked = 0
        self.is_down = False

    @property
    def url(self) -> str:
        return f"{self.issuer}/keys"

    def add_key(self, kid: str) -> RSAKey:
        self.keys[kid] = RSAKey.generate_key(2048)
        return self.keys[kid]

    def document(self) -> dict[str, Any]:
        entries = [
            {**key.as_dict(private=False), "kid": kid, "use": "sig"}
            for kid, key in self.keys.items()
        ]
        return {"keys": [*entries, *self.extra]}

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return claims that are accepted, but for those that are given; None leaves one out."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": AUDIENCE, "sub": "sub-1", "iat": now, "exp": now + 600}
        return {name: value for name, value in (usual | claims).items() if value is not None}

    def token(self, *, kid: str = "first", header: dict[str, Any] | None = None, **claims) -> str:
        """Return a signed token; *header* replaces what it usually says."""
        named = header if header is not None else {"kid": kid}
        key = self.keys[kid]
        return jwt.encode({"alg": "RS256", **named}, self.claims(**claims), key)

    def signed(self, header: dict[str, Any], payload: bytes, key: Any, algorithm: str) -> str:
        """Return whatever is wanted, signed with whatever there is."""
        return jws.serialize_compact(header, payload, key, algorithms=[algorithm])


def certificate_of(key: RSAKey) -> tuple[str, str]:
    """Return a certificate for a key as `x5c` has it, and its thumbprint as `x5t` does."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keys")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key.private_key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    digest = hashlib.sha1(made, usedforsecurity=False).digest()
    return base64.b64encode(made).decode(), base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@contextmanager
def running_key_server() -> Iterator[KeyServer]:
    """Publish keys, one of them called `first`, for as long as the block lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.asked += 1
            body = json.dumps(keys.document()).encode()
            self.send_response(500 if keys.is_down else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    keys = KeyServer(server.server_address[1])
    keys.add_key("first")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield keys
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
