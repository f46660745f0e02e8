"""
Proofs of who asks: signatures for S3, tokens for Google.

For the requests that obstore does not make. Pure: the time is an argument.

Source: AWS, "Signature Version 4 signing process"; Google, "Self-signed JSON web tokens".
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from algorium_server.domain.errors import InvalidInput

GOOGLE_TOKEN_S: Final = 3600
"""The longest that Google accepts."""
_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.full_control"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


def encoded(text: str, *, keep: str = "") -> str:
    """Percent-encode everything but what RFC 3986 leaves alone, and what is to be kept."""
    return quote(text.encode("utf-8", "surrogatepass"), safe=f"-_.~{keep}")


def query_of(parameters: Mapping[str, str]) -> str:
    """Return a query in the form that is signed: sorted, and encoded in one way only."""
    return "&".join(
        f"{encoded(name)}={encoded(value)}" for name, value in sorted(parameters.items())
    )


def s3_headers(
    method: str,
    *,
    host: str,
    path: str,
    parameters: Mapping[str, str],
    headers: Mapping[str, str],
    credentials: Mapping[str, str],
    region: str,
    now: datetime,
    body: bytes = b"",
) -> dict[str, str]:
    """
    Return the headers of a signed request to S3.

    Args:
        method: The verb.
        host: As the `Host` header has it, with a port that is not the usual one.
        path: Percent-encoded.
        parameters: Of the query, not encoded.
        headers: Further ones, names in lower case; they are signed, too.
        credentials: `access_key_id`, `secret_access_key`, and maybe `session_token`.
        region: Where the service is.
        now: The time, UTC.
        body: What is sent.
    """
    moment = f"{now:%Y%m%dT%H%M%SZ}"
    digest = hashlib.sha256(body).hexdigest()
    signed = {**headers, "host": host, "x-amz-content-sha256": digest, "x-amz-date": moment}
    if credentials.get("session_token"):
        signed["x-amz-security-token"] = credentials["session_token"]
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    canonical = "\n".join((method, path, query_of(parameters), lines, names, digest))
    scope = f"{now:%Y%m%d}/{region}/s3/aws4_request"
    told = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((_ALGORITHM, moment, scope, told))
    key = f"AWS4{credentials['secret_access_key']}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = (
        f"{_ALGORITHM} Credential={credentials['access_key_id']}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return signed


def private_key(pem: str) -> rsa.RSAPrivateKey:
    """
    Read a service account's private key; line ends may be those of a JSON text.

    Raises:
        InvalidInput: It is none.
    """
    try:
        text = pem.replace("\\n", "\n").strip().encode()
        key = serialization.load_pem_private_key(text, password=None)
    except Exception:
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidInput("cred_data.private_key must be the PEM of an RSA key")
    return key


def google_token(key: rsa.RSAPrivateKey, *, key_id: str, email: str, now: datetime) -> str:
    """Return a token by which Google's storage knows a service account, for `GOOGLE_TOKEN_S`."""
    issued_s = int(now.timestamp())
    claims = {
        "iss": email,
        "sub": email,
        "scope": _SCOPE,
        "iat": issued_s,
        "exp": issued_s + GOOGLE_TOKEN_S,
    }
    head = {"alg": "RS256", "typ": "JWT", "kid": key_id}
    text = b".".join(_base64url(msgspec.json.encode(part)) for part in (head, claims))
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return b".".join((text, _base64url(signature))).decode()


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
