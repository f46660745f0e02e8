"""Signatures and tokens against published examples and other readers of them."""

import base64
import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from algorium_server.data.signing import google_token, private_key, s3_headers
from algorium_server.domain.errors import InvalidInput

EXAMPLE = {
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}


@pytest.mark.parametrize(
    ("path", "parameters", "headers", "signature"),
    [
        (
            "/test.txt",
            {},
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "/",
            {"lifecycle": ""},
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "/",
            {"max-keys": "2", "prefix": "J"},
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_signatures_of_the_published_examples(path, parameters, headers, signature):
    # AWS, "Signature Calculations for the Authorization Header", examples.
    signed = s3_headers(
        "GET",
        host="examplebucket.s3.amazonaws.com",
        path=path,
        parameters=parameters,
        headers=headers,
        credentials=EXAMPLE,
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )

    assert signed["authorization"].endswith(f"Signature={signature}")


def pem_of(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def test_a_token_is_signed_by_its_account():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    # As it stands in the JSON file that people copy it from.
    read = private_key(pem_of(key).replace("\n", "\\n"))
    now = datetime(2026, 1, 2, tzinfo=UTC)

    token = google_token(read, key_id="k1", email="a@b.iam.gserviceaccount.com", now=now)

    head, claims, signature = (
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")
    )
    signed = token.rpartition(".")[0].encode()
    key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(head) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    told = json.loads(claims)
    assert told["iss"] == told["sub"] == "a@b.iam.gserviceaccount.com"
    assert told["exp"] - told["iat"] == 3600
    assert told["iat"] == now.timestamp()


@pytest.mark.parametrize(
    "pem", ["", "nonsense", pem_of(ec.generate_private_key(ec.SECP256R1()))], ids=range(3)
)
def test_what_is_no_rsa_key_is_refused(pem):
    with pytest.raises(InvalidInput, match="private_key") as refused:
        private_key(pem)

    assert not pem or pem not in refused.value.message
