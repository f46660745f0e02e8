"""
The tree of errors. Services raise them; `api/errors.py` alone makes a status and a body of one.

    AlgoriumError
    ├── InvalidInput             400  6001  a field, name, path or value is wrong
    ├── InvalidMarker            400  5002  a listing did not give this marker
    ├── InvalidLimit             400  5003  a page cannot be that long
    ├── MissingDateRange         400  4010  a report needs its dates
    ├── MalformedJson            400  2013  the body is not JSON
    ├── InvalidRequest           400  2015  the request's form is wrong
    │   ├── MethodNotAllowed     405
    │   ├── DigestMismatch       400   -    the bytes are not those that were meant
    │   ├── RequestTimedOut      408
    │   └── UnsupportedContentType 415
    ├── TooLarge                 413  6001  the body exceeds its limit
    ├── NotAuthenticated         401  2002  no, unknown or expired credentials
    ├── NotAuthorized            403  2001  known, but not allowed
    ├── NotFound                 404   -    nothing there, or not for this caller
    │   ├── AlgorithmNotFound    404  1000
    │   │   └── NoSuchAlgorithm  404  1000  the same to authors, in the old service's own form
    │   ├── BuildNotFound        404  1010
    │   ├── BuildLogNotFound     404  1011  there is no such build, or it has not ended
    │   ├── VersionNotFound      404  1014
    │   └── PathNotFound         404   -
    ├── AlreadyExists            409   -
    ├── ConditionFailed          412   -    what the request demanded of the file does not hold
    ├── RangeNotSatisfiable      416   -    the file has no such part
    ├── AlgorithmNameTaken       400  1002  the owner has an algorithm of that name
    ├── VersionAlreadyPublished  400  1007  nothing new to publish: compile first
    ├── PackageSetNotFound       400  1003
    ├── RepositoryNotCreated     500  1008
    ├── UnknownLanguage          400  4001
    ├── LanguageFixed            400  4002  an algorithm stays in its language
    ├── UnsupportedMachine       400  4004
    ├── SourceNotHostedHere      400  4011  its source is edited where it is hosted
    ├── TooManyRequests          429   -    a concurrency limit is reached
    ├── PartlyDeleted            500   -    some entries could not be deleted
    ├── InternalError            500  5001  our fault; carries an id to look up in the log
    ├── Unavailable              503  5001  cannot be served now or on this host
    ├── SourceFailed             502   -    a connected source refused, or does not answer
    └── OutOfSpace               507   -    nothing more can be stored
        └── QuotaExceeded        507   -    by this account

An author's failing code is not here: that is a *result* of a call (`domain/calls.py`).

Source: wire specification, "Errors".
"""

from typing import ClassVar

from algorium.wire.codes import BY_NUMBER


class AlgoriumError(Exception):
    """
    Base of everything the platform refuses or fails to do.

    Attributes:
        message: For the caller: what, which, what to do. Never empty, safe to show.
        hint: What to do next, if that is not obvious from the message.
        detail: For the log only; never reaches the wire.
        fields: Further scalar members of the wire's `error` object.
    """

    code: ClassVar[int | None] = None
    status: ClassVar[int] = 500
    """That of the code in the table, unless a class has no code or says why it differs."""
    error_type: ClassVar[str | None] = None
    sentence: ClassVar[str] = ""
    """What is said when the raiser says nothing; empty means the sentence of the code."""

    def __init_subclass__(cls) -> None:
        code = vars(cls).get("code")
        if code is not None and "status" not in vars(cls):
            cls.status = BY_NUMBER[code].status

    def __init__(
        self,
        message: str = "",
        *,
        hint: str = "",
        detail: str = "",
        fields: dict[str, str | int | float | bool] | None = None,
    ) -> None:
        message = message or self.sentence or BY_NUMBER[self.code or 5001].sentence
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail
        self.fields = fields or {}


class InvalidInput(AlgoriumError):
    """A field, name, path or value is wrong."""

    code = 6001


class InvalidMarker(AlgoriumError):
    """The marker of a page is none that a listing gave."""

    code = 5002


class InvalidLimit(AlgoriumError):
    """A page cannot be that long, or that short."""

    code = 5003


class MissingDateRange(AlgoriumError):
    """A report needs to know from when to when."""

    code = 4010


class MalformedJson(AlgoriumError):
    """The body is not JSON."""

    code = 2013


class InvalidRequest(AlgoriumError):
    """The form of the request is wrong."""

    code = 2015


class MethodNotAllowed(InvalidRequest):
    """The path does not answer this verb."""

    status = 405  # the nearest code is that of any wrong form


class DigestMismatch(InvalidRequest):
    """What arrived has not the digest that its sender says it has; nothing was stored."""

    sentence = "the bytes have changed on their way"


class RequestTimedOut(InvalidRequest):
    """The request did not arrive in time."""

    status = 408  # like 405


class UnsupportedContentType(InvalidRequest):
    """The body's type is none of the three input types."""

    status = 415  # like 405


class TooLarge(AlgoriumError):
    """The body exceeds its limit."""

    code = 6001
    status = 413  # a value that is wrong by its size has no code of its own


class NotAuthenticated(AlgoriumError):
    """There are no credentials, or they are unknown or expired."""

    code = 2002


class NotAuthorized(AlgoriumError):
    """The caller is known but not allowed to do this."""

    code = 2001
    sentence = "Caller is not authorized to perform the operation"


class NotFound(AlgoriumError):
    """Nothing is there, or nothing this caller may know of."""

    status = 404
    sentence = "not found"


class AlgorithmNotFound(NotFound):
    """No such algorithm or version for this caller."""

    code = 1000
    sentence = BY_NUMBER[1000].sentence


class NoSuchAlgorithm(AlgorithmNotFound):
    """No such algorithm, asked for by those who manage algorithms: the body is a bare text."""

    sentence = "No such algorithm"


class BuildNotFound(NotFound):
    """The algorithm has no such build."""

    code = 1010
    sentence = BY_NUMBER[1010].sentence


class BuildLogNotFound(NotFound):
    """The algorithm has no such build, or it has not ended yet."""

    code = 1011
    sentence = BY_NUMBER[1011].sentence


class VersionNotFound(NotFound):
    """The algorithm has no such version."""

    code = 1014
    sentence = BY_NUMBER[1014].sentence


class PathNotFound(NotFound):
    """No such file or directory for this caller."""

    sentence = "path not found"


class AlreadyExists(AlgoriumError):
    """The name is taken."""

    status = 409
    sentence = "the name is taken"


class ConditionFailed(AlgoriumError):
    """What the request demanded of the file at this place does not hold, so nothing was done."""

    status = 412
    sentence = "the file is not in the state that the request demands"


class RangeNotSatisfiable(AlgoriumError):
    """The file has no such part; `fields["size_bytes"]` is its length."""

    status = 416
    sentence = "the file has no such part"


class AlgorithmNameTaken(AlgoriumError):
    """The owner has an algorithm of that name, in whatever case."""

    code = 1002


class VersionAlreadyPublished(AlgoriumError):
    """The newest successful build is published already, or there is none."""

    code = 1007


class PackageSetNotFound(AlgoriumError):
    """There is no such set of packages."""

    code = 1003


class RepositoryNotCreated(AlgoriumError):
    """The repository of a new algorithm could not be made; there is no algorithm then."""

    code = 1008


class UnknownLanguage(AlgoriumError):
    """There is no such language or environment."""

    code = 4001


class LanguageFixed(AlgoriumError):
    """An algorithm stays in the language in which it was created."""

    code = 4002


class UnsupportedMachine(AlgoriumError):
    """There is no such type of machine."""

    code = 4004


class SourceNotHostedHere(AlgoriumError):
    """The source of this algorithm is hosted elsewhere, and edited there."""

    code = 4011


class TooManyRequests(AlgoriumError):
    """A concurrency limit is reached; the same request may succeed later."""

    status = 429
    sentence = "Too many requests: concurrent session limit reached"


class PartlyDeleted(AlgoriumError):
    """Some entries of a directory could not be deleted; `fields["deleted"]` counts the others."""

    sentence = "some entries could not be deleted"


class InternalError(AlgoriumError):
    """Our fault; `fields["id"]` finds the log line."""

    code = 5001


class Unavailable(AlgoriumError):
    """Cannot be served now, or not on this host; the message names the remedy."""

    code = 5001
    status = 503  # to clients "internal, try again"; proxies and people learn that it may pass


class SourceFailed(AlgoriumError):
    """A connected source refused, or does not answer; the message has its words, no secret."""

    status = 502
    sentence = "the connected source failed"


class OutOfSpace(AlgoriumError):
    """Nothing more can be stored; nothing was changed."""

    status = 507
    sentence = "the server's storage is full; nothing was changed"


class QuotaExceeded(OutOfSpace):
    """The account may store no more; `fields` has the limit and the use."""

    sentence = "the account may not store more"
