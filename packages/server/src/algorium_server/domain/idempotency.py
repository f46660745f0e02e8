"""
Calls that are run once, however often they are sent: their keys, and what is remembered of them.

A caller who asks for it sends a key of its own making with a call. The first call with a key is
run; a repetition of it gets the same answer.

    free ──first call──> under way ──its end──> answered
      ^                      │
      └──nothing ran─────────┴──its gateway died──> unknown: nobody can say, so nobody runs it

Source: The Idempotency-Key HTTP Header Field (IETF, httpapi), "Idempotency Key".
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from algorium_server.domain.calls import (
    Body,
    CallFailure,
    CallInput,
    CallOptions,
    CallOutcome,
    CallSuccess,
    ContentType,
    Timings,
)
from algorium_server.domain.errors import InvalidRequest
from algorium_server.domain.limits import IDEMPOTENCY_KEY_CHARS_MAX

PIECE_BYTES: Final = 1024 * 1024
"""Of a large input at a time."""


def parse_key(raw: bytes) -> str:
    """
    Read the value of the header: a string in quotes, or the bare key that most clients send.

    Raises:
        InvalidRequest: It is no key.
    """
    text = raw.decode("latin-1").strip(" \t")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    is_visible = all("!" <= character <= "~" for character in text)
    if not is_visible or not 1 <= len(text) <= IDEMPOTENCY_KEY_CHARS_MAX:
        raise InvalidRequest(
            f"Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters",
            hint="A fresh UUID for each call will do.",
        )
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCall:
    """
    A call with a key.

    Attributes:
        account_id: Whose call; keys of other accounts are other keys.
        key_digest: See `key_digest`.
        call_id: Request id of the call that is run.
        fingerprint: See `fingerprint`.
        gateway: Which one runs it.
        lease_until: Until it has ended at the latest; if it has not, nobody knows how it ended.
        ended_at: None as long as there is no answer.
        kept_bytes: What its answer takes.
        outcome: All of it but the body, see `packed`; None as long as there is none.
    """

    account_id: str
    key_digest: str
    call_id: str
    fingerprint: str
    gateway: str
    created_at: datetime
    lease_until: datetime
    ended_at: datetime | None = None
    kept_bytes: int = 0
    outcome: bytes | None = None
    body: bytes | None = None


def key_digest(key: str, *, algorithm_id: str) -> str:
    """
    Return what a key is found by.

    Args:
        key: As its caller made it; what it says is the caller's business, so it is not stored.
        algorithm_id: Of the algorithm that calls for the account, empty if none does: it must not
            take the keys of its callers away, or get their answers.
    """
    return hashlib.sha256(f"{algorithm_id}\n{key}".encode()).hexdigest()


def fingerprint(
    ref: str, options: CallOptions, call_input: CallInput, pieces: Iterable[bytes]
) -> str:
    """
    Return what tells one call from another: what is called, how, and with which input.

    Args:
        ref: As the caller wrote it. What `latest` is may change between two attempts; that does
            not make another call of the second.
        options: How.
        call_input: Its type and length.
        pieces: Its bytes.
    """
    how = msgspec.json.encode([ref, options, call_input.content_type, len(call_input.body)])
    digest = hashlib.sha256(how)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


class _Packed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An outcome without its body."""

    failure: CallFailure | None = None
    content_type: ContentType = ContentType.VOID
    timings: Timings | None = None
    stdout: str = ""


def packed(outcome: CallOutcome) -> bytes:
    """Return all of an outcome but its body."""
    if isinstance(outcome, CallFailure):
        return msgspec.msgpack.encode(_Packed(failure=outcome))
    return msgspec.msgpack.encode(
        _Packed(content_type=outcome.content_type, timings=outcome.timings, stdout=outcome.stdout)
    )


def unpacked(content: bytes, body: Body) -> CallOutcome:
    """Return the outcome that `packed` was given."""
    found = msgspec.msgpack.decode(content, type=_Packed)
    if found.failure is not None:
        return found.failure
    assert found.timings is not None, "of a success"
    return CallSuccess(
        content_type=found.content_type, body=body, timings=found.timings, stdout=found.stdout
    )
