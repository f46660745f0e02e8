"""
Digests: what clients say about the bytes they send, and what we say about those they get.

    Content-MD5: <base64>                      RFC 1864
    Digest: SHA-256=<base64>,MD5=<base64>      RFC 3230
    Content-Digest: sha-256=:<base64>:         RFC 9530; Repr-Digest means the same here

Every digest of a known kind must be right, or nothing is stored. Others are ignored.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from algorium_server.api.conditions import joined
from algorium_server.api.http import Header, Scope
from algorium_server.domain.errors import DigestMismatch, InvalidRequest

_KINDS: Final[dict[str, Callable[[], Any]]] = {
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha-256": hashlib.sha256,
    "sha-512": hashlib.sha512,
}
_HEADERS: Final = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})
_LENGTHS: Final = {"md5": 16, "sha-256": 32, "sha-512": 64}
_MEMBER: Final = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*(:?)([A-Za-z0-9+/=_-]*)(:?)[^,]*")

_HASHED_AT_ONCE_BYTES: Final = 256 * 1024
"""Collected before a thread hashes them; fewer are hashed at once, in less than the hand-over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """
    A digest that must be right.

    Attributes:
        header: Which header said so.
        kind: `md5`, `sha-256` or `sha-512`.
    """

    header: str
    kind: str
    digest: bytes


def parse_digests(scope: Scope) -> tuple[Expected, ...]:
    """
    Read which digests a request's body must have.

    Raises:
        InvalidRequest: A digest of a known kind has the wrong form.
    """
    if not any(name in _HEADERS for name, _ in scope["headers"]):
        return ()
    found: list[Expected] = []
    content_md5 = joined(scope, b"content-md5")
    if content_md5 is not None:
        found.append(_expected("content-md5", "md5", content_md5))
    for header in ("digest", "content-digest", "repr-digest"):
        text = joined(scope, header.encode())
        for member in text.split(",") if text else ():
            match = _MEMBER.fullmatch(member)
            if match is None:
                raise InvalidRequest(f"{header}: {member[:100]!r} is no digest")
            if match[1].lower() in _KINDS:
                found.append(_expected(header, match[1].lower(), match[3]))
    return tuple(found)


async def verified(
    chunks: AsyncIterator[bytes], expected: tuple[Expected, ...]
) -> AsyncIterator[bytes]:
    """
    Pass *chunks* on, and raise at their end unless all digests are right.

    Raises:
        DigestMismatch: One is not.
    """
    hashes = {digest.kind: _KINDS[digest.kind]() for digest in expected}
    waiting = bytearray()

    def take_in(data: bytearray) -> None:
        for one in hashes.values():
            one.update(data)

    async for chunk in chunks:
        waiting += chunk
        if len(waiting) >= _HASHED_AT_ONCE_BYTES:
            await asyncio.to_thread(take_in, waiting)
            waiting = bytearray()
        yield chunk
    take_in(waiting)
    for digest in expected:
        if not hmac.compare_digest(hashes[digest.kind].digest(), digest.digest):
            raise DigestMismatch(
                f"the {digest.kind} of what arrived is not the one in {digest.header}"
            )


def md5_headers(md5: str) -> list[Header]:
    """Return what an answer says about the bytes of the whole file; nothing if that is unknown."""
    if not md5:
        return []
    encoded = base64.b64encode(bytes.fromhex(md5))
    return [(b"repr-digest", b"md5=:%b:" % encoded), (b"x-content-md5", md5.encode("ascii"))]


def parse_md5(text: str) -> str:
    """
    Return a hexadecimal MD5 in lower case.

    Raises:
        InvalidRequest: It is none.
    """
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", text):
        raise InvalidRequest("md5 must be 32 hexadecimal digits")
    return text.lower()


def _expected(header: str, kind: str, text: str) -> Expected:
    try:
        digest = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != _LENGTHS[kind]:
        raise InvalidRequest(f"{header}: no {kind} in base64")
    return Expected(header=header, kind=kind, digest=digest)
