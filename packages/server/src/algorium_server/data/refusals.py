"""
What a source says when it refuses, in our words and its own, without any secret.

| the source says                        | we say                    |
|----------------------------------------|---------------------------|
| no such file, bucket or container      | 404 `PathNotFound`        |
| may not be done with these credentials | 403 `NotAuthorized`       |
| a condition does not hold              | 412 `ConditionFailed`     |
| anything else, or nothing              | 502 `SourceFailed`        |

Wrong or expired credentials are a 502: whoever asks may do what they ask, and only the owner of the
connector can mend it.

Errors of the libraries quote requests, and requests hold tokens. So nothing of theirs is passed on
whole: known parts are taken out of it, then every secret and every query is struck out.

Source: wire specification, "Failure codes for all data calls".
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from algorium_server.domain.errors import (
    AlgoriumError,
    ConditionFailed,
    InvalidInput,
    NotAuthorized,
    PathNotFound,
    SourceFailed,
)
from algorium_server.domain.limits import SOURCE_WORDS_CHARS_MAX

_STATUS: Final = re.compile(r"(?:status code|status):? ?(\d{3})")
_CODE: Final = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]{1,2000})</Message>")
_JSON_MESSAGE: Final = re.compile(r'"message"\s*:\s*"([^"\\]{1,2000})"')
_QUERY: Final = re.compile(r"\?[^\s\"'<>)]*")
# Made of a secret for a request, and as good as one for a while, to whom a source quotes it.
_PROOF: Final = re.compile(r"((?:Bearer |Signature=|SharedAccessSignature ))[^\s\"',;<>]+", re.I)
_CAUSE: Final = re.compile(r"(Connection refused|InvalidCertificate\(\w+\)|TimedOut|dns error)")
_SECRET_CHARS_MIN: Final = 4
"""Shorter values are no secrets, and striking them out would only garble words."""

_BAD_CREDENTIALS: Final = frozenset(
    {
        "AuthenticationFailed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidAuthenticationInfo",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_ABSENT: Final = frozenset({"NoSuchBucket", "NoSuchKey", "BlobNotFound", "ContainerNotFound"})


class Scrubber:
    """
    Strikes secrets out of texts.

    Args:
        secrets: What must never be shown; their usual spellings in addresses neither.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        spellings = set()
        for secret in secrets:
            # Of `sv=...&sig=...` each value is a secret of its own.
            for part in (secret, *re.split(r"[&=?\s]+", secret)):
                spellings |= {part, quote(part, safe=""), quote(part), unquote(part)}
        self._spellings = sorted(
            (text for text in spellings if len(text) >= _SECRET_CHARS_MIN), key=len, reverse=True
        )

    def __call__(self, text: str) -> str:
        """Return *text* on one line, without secrets and queries, cut if it is long."""
        for spelling in self._spellings:
            text = text.replace(spelling, "***")
        text = _PROOF.sub(r"\1***", text)
        text = " ".join(_QUERY.sub("?***", text).split())
        if len(text) > SOURCE_WORDS_CHARS_MAX:
            text = f"{text[: SOURCE_WORDS_CHARS_MAX - 3]}..."
        return text


def refusal(protocol: str, status: int, body: str, scrub: Scrubber) -> AlgoriumError:
    """
    Return the error that stands for an answer of a source.

    Args:
        protocol: Which kind of source.
        status: Of its answer, 0 if there was none.
        body: What it said.
        scrub: Knows its secrets.
    """
    code = _first(_CODE, body)
    words = scrub(_first(_MESSAGE, body) or _first(_JSON_MESSAGE, body) or code)
    said = f"{protocol}: {words or f'the source answers with status {status}'}"
    if code in _BAD_CREDENTIALS or status == 401:
        return SourceFailed(f"{said} (the connector's credentials are refused)")
    if status == 404 or code in _ABSENT:
        return PathNotFound(detail=said)
    if status == 403:
        return NotAuthorized(said)
    if status == 412 or code in {"PreconditionFailed", "ConditionalRequestConflict"}:
        return ConditionFailed(detail=said)
    return SourceFailed(said, detail=f"status {status} {scrub(code)}")


def failure(protocol: str, error: BaseException, scrub: Scrubber) -> AlgoriumError:
    """Return the error that stands for what a library raised."""
    # What follows "Debug source" is the same once more, in the notation of another language, and
    # the only place that says why there is no answer.
    text, _, debugged = str(error).partition("Debug source")
    found = _STATUS.search(text)
    kind = type(error).__name__
    if kind == "ValueError" and "path" in text:  # what obstore says to control characters
        kind = "InvalidPathError"
    match kind:
        case "FileNotFoundError":
            return PathNotFound(detail=f"{protocol}: {scrub(text)}")
        case "AlreadyExistsError" | "PreconditionError":
            return ConditionFailed(detail=f"{protocol}: {scrub(text)}")
        case "InvalidPathError":
            return InvalidInput("this name cannot be used here")
        case "PermissionDeniedError":
            return refusal(protocol, 403, text, scrub)
        case "UnauthenticatedError":
            return refusal(protocol, 401, text, scrub)
    if found is not None:
        return refusal(protocol, int(found[1]), text, scrub)
    cause = scrub(_first(_CAUSE, debugged))
    said = f"{protocol}: the source does not answer{f' ({cause})' if cause else ''}"
    return SourceFailed(said, detail=f"{kind}: {scrub(text)}")


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1].strip() if found else ""
