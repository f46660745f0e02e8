"""
The tree of exceptions, over the table of codes (`algorium.wire.codes`).

    AlgoriumError
    ├── ConfigurationError            an address, profile or certificate cannot be used
    ├── ResultTypeError               the result is not of the type it was asked as
    ├── BuildFailed                   what was compiled cannot be called; `log` says why
    ├── TransportError                no usable answer came
    │   ├── ConnectionFailed          no connection: nothing was sent
    │   ├── ConnectionLost            broken off: the request may have been carried out
    │   ├── ResponseTimeout           too slow: the request may have been carried out
    │   └── UnexpectedResponse        an answer, but not of this protocol
    │       └── ContentMismatch       the bytes that came are not those that were announced
    ├── ApiError                      the platform refused or failed; `code` says why
    │   ├── InvalidInput        6001  a field, name, path or value is wrong
    │   │   └── TooLarge         413  a body exceeds its limit
    │   ├── MalformedJson       2013  a body is not JSON
    │   ├── InvalidRequest      2015  anything else wrong with the request; other 4xx
    │   │   ├── MethodNotAllowed 405
    │   │   ├── UnsupportedContentType 415
    │   │   ├── RangeNotSatisfiable 416
    │   │   ├── IdempotencyKeyReused 7001 the key was sent with another call; 422
    │   │   ├── AlgorithmNameTaken 1002 the owner has an algorithm of that name
    │   │   └── VersionAlreadyPublished 1007 nothing new to publish
    │   ├── NotAuthenticated    2002  no, unknown or expired credentials; 401
    │   ├── NotAuthorized       2001  known, but not allowed; 403
    │   ├── NotFound             404  not there, or not for this caller
    │   │   ├── AlgorithmNotFound 1000
    │   │   ├── BuildNotFound   1010  no such build, or its log is not there yet
    │   │   ├── VersionNotFound 1014
    │   │   ├── PathNotFound          no such file or directory
    │   │   └── AccountNotFound  3000
    │   ├── AlreadyExists        409
    │   ├── CallUnderWay        7002  the call with this key has not ended yet
    │   ├── CallOutcomeUnknown  7003  it may have run; it is not run again
    │   ├── ConditionFailed      412  the file is not in the state that was demanded
    │   ├── TooManyRequests      429  a concurrency limit is reached
    │   └── InternalError       5001  the platform failed; other 5xx
    │       ├── PartlyDeleted         some entries could not be deleted
    │       ├── Unavailable      503  cannot be served now; 502 and 504 too
    │       │   └── SourceFailed 502  a connected source refused, or does not answer
    │       ├── OutOfSpace       507  nothing more can be stored
    │       │   └── QuotaExceeded     by this account
    │       └── FeatureNotImplemented 5005
    └── AlgorithmError                the algorithm failed: a result of the call
        ├── InputError, UnsupportedError, InitializationError, OutOfMemoryError,
        │   OutOfGpuMemoryError, LanguageError, TooLargeError, ParsingError,
        │   EntityNotFoundError, ThirdPartyCredentialError, PaymentRequiredError, LoadingError
        ├── AlgorithmTimeout          `TimeoutError` on the wire
        ├── AlgorithmSystemError      `SystemError` on the wire
        └── AlgorithmExit             `SystemExit` on the wire

One module, though a long one: the tree, its classes and the choice of a class are one subject,
and most of it is a line or two for each class.
"""

from typing import ClassVar

from algorium.wire.bodies import ErrorBody
from algorium.wire.codes import BY_NUMBER, DEFAULT_ERROR_TYPE


class AlgoriumError(Exception):
    """
    Base of what this package raises, beside `TypeError` and `ValueError` for wrong arguments.

    Attributes:
        message: What went wrong, which, and why.
        hint: What to do next, or empty.
        status: HTTP status of the answer, or None.
        code: Number in the table of codes, or None.
        error_type: Standard error type of a failed call, or empty.
        stacktrace: The algorithm's own traceback, if the caller may see it.
        request_id: Names the request in the server's log, or empty.
        error_id: Names the failure in the server's log, or empty.
    """

    status: int | None = None
    code: int | None = None
    error_type: str = ""
    hint_default: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        status: int | None = None,
        code: int | None = None,
        error_type: str = "",
        stacktrace: str = "",
        request_id: str = "",
        error_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.hint_default
        self.status = status
        self.code = code
        self.error_type = error_type or self.error_type
        self.stacktrace = stacktrace
        self.request_id = request_id
        self.error_id = error_id
        # Shown below a traceback; `str(error)` stays the bare message.
        if self.hint:
            self.add_note(f"hint: {self.hint}")
        if request_id:
            self.add_note(f"request: {request_id}")


class ConfigurationError(AlgoriumError):
    """An address, profile, proxy or certificate cannot be used."""


class ResultTypeError(AlgoriumError):
    """The result, or a field in it, is not of the type it was asked as."""


class BuildFailed(AlgoriumError):
    """
    What was compiled cannot be called.

    Attributes:
        build_id: Names the build, empty if the server does not tell.
        log: Everything the tools said.
    """

    hint_default = "Its log says why: look at the last lines first."
    build_id: str = ""
    log: str = ""


class TransportError(AlgoriumError):
    """No usable answer came back."""


class ConnectionFailed(TransportError):
    """There was no connection, so nothing was sent; asking again is safe."""

    hint_default = "Is the server running, and is the address right? `algorium serve` starts one."


class ConnectionLost(TransportError):
    """The connection broke off; the request may or may not have been carried out."""

    hint_default = "Find out whether it was carried out before you send it again."


class ResponseTimeout(TransportError):
    """No answer came in time; the request may or may not have been carried out."""

    hint_default = "Give the client a larger timeout_s, or the call a larger timeout()."


class UnexpectedResponse(TransportError):
    """The answer is not of this protocol: something else listens there, or stands between."""

    hint_default = "Does the address lead to an Algorium server, without a proxy in between?"


class ContentMismatch(UnexpectedResponse):
    """The bytes that came do not have the checksum that the server told; none of them count."""

    hint_default = "Try again; if it stays so, the operator's `algorium fsck` finds damaged files."


class ApiError(AlgoriumError):
    """The platform refused the request or failed to carry it out."""

    @property
    def code_name(self) -> str:
        """The symbolic name of the code, empty when there is none."""
        known = BY_NUMBER.get(self.code) if self.code is not None else None
        return known.name if known else ""


class InvalidInput(ApiError):
    """A field, name, path or value is wrong."""

    status = 400
    code = 6001


class TooLarge(InvalidInput):
    """A body exceeds its limit."""

    status = 413
    hint_default = "Put large data into a file (client.file(...).put_file) and pass its data URI."


class MalformedJson(ApiError):
    """A body is not JSON."""

    status = 400
    code = 2013


class InvalidRequest(ApiError):
    """The request is wrong in a way that has no class of its own; `code` tells more."""

    status = 400
    code = 2015


class IdempotencyKeyReused(InvalidRequest):
    """The key of an idempotent call belongs to another one: another algorithm, option or input."""

    status = 422
    code = 7001


class CallUnderWay(ApiError):
    """An idempotent call with the same key has not ended within the timeout of this one."""

    status = 409
    code = 7002


class CallOutcomeUnknown(ApiError):
    """
    An idempotent call may have run, and nobody can say how it ended: its server died meanwhile.

    It is not run again; look at what it was to change, and call with another key to do so.
    """

    status = 409
    code = 7003


class MethodNotAllowed(InvalidRequest):
    """The path does not answer this verb."""

    status = 405


class UnsupportedContentType(InvalidRequest):
    """The body is none of the types that algorithms take."""

    status = 415


class RangeNotSatisfiable(InvalidRequest):
    """The file has no such part: it is shorter."""

    status = 416


class AlgorithmNameTaken(InvalidRequest):
    """The owner has an algorithm of that name, in whatever case."""

    code = 1002
    hint_default = "Choose another name, or go on with the algorithm that is there."


class VersionAlreadyPublished(InvalidRequest):
    """The newest successful build is published already, or there is none."""

    code = 1007
    hint_default = "Push a change or compile again; then there is something new to publish."


class NotAuthenticated(ApiError):
    """There are no credentials, or they are unknown or expired."""

    status = 401
    code = 2002
    hint_default = (
        "Pass api_key, set ALGORITHMIA_API_KEY, or put the key into ~/.algorithmia/config."
    )


class NotAuthorized(ApiError):
    """The caller is known but may not do this."""

    status = 403
    code = 2001
    hint_default = "Use a key that may do this, or ask the owner."


class NotFound(ApiError):
    """Nothing is there, or nothing that this caller may know of."""

    status = 404


class AlgorithmNotFound(NotFound):
    """No such algorithm or version for this caller."""

    code = 1000
    hint_default = (
        "Check owner, name and version; without a version the newest public one is meant."
    )


class BuildNotFound(NotFound):
    """The algorithm has no such build, or the build's log is not there yet."""

    code = 1010


class VersionNotFound(NotFound):
    """The algorithm has no such version."""

    code = 1014
    hint_default = "Listing its versions shows what is there."


class PathNotFound(NotFound):
    """No such file or directory for this caller."""

    hint_default = "Check the URI; listing its directory shows what is there."


class AccountNotFound(NotFound):
    """No such user or organization."""

    code = 3000


class AlreadyExists(ApiError):
    """The name is taken."""

    status = 409
    hint_default = "Choose another name, or go on with what is there."


class ConditionFailed(ApiError):
    """The file is not in the state that the request demanded, so nothing was done."""

    status = 412
    hint_default = "Somebody else has written it: read it again, then decide."


class TooManyRequests(ApiError):
    """A concurrency limit is reached; the same request may succeed later."""

    status = 429
    hint_default = "Have fewer calls open at a time, or ask the operator for a higher limit."


class InternalError(ApiError):
    """The platform failed; `error_id` and `request_id` find the reason in its log."""

    status = 500
    code = 5001
    hint_default = "The server's log has more; look there for the request."


class PartlyDeleted(InternalError):
    """Some entries of a directory could not be deleted; `deleted` counts the others."""

    deleted: int = 0


class Unavailable(InternalError):
    """The platform cannot serve this now or on this host."""

    status = 503
    hint_default = "Try again later; the server's /readyz says what it lacks."


class SourceFailed(Unavailable):
    """A connected source refused, or does not answer; the message has its words."""

    status = 502
    hint_default = "client.connectors.test(...) tells what the connector can do."


class OutOfSpace(InternalError):
    """Nothing more can be stored; nothing was changed."""

    status = 507
    hint_default = "Tell the operator that the server's storage is full."


class QuotaExceeded(OutOfSpace):
    """The account may store no more: *used* of *limit*, of a *unit*, `bytes` or `files`."""

    limit: int = 0
    used: int = 0
    unit: str = ""
    hint_default = "Delete what is not needed, or ask the operator for more."


class FeatureNotImplemented(InternalError):
    """This server has no such feature."""

    hint_default = "A newer server may have it."

    status = 501
    code = 5005


class AlgorithmError(AlgoriumError):
    """The algorithm failed. The platform did its part: this is a result of the call."""

    error_type = DEFAULT_ERROR_TYPE


class InputError(AlgorithmError):
    """The algorithm calls its input invalid or incomplete."""

    error_type = "InputError"


class UnsupportedError(AlgorithmError):
    """The algorithm does not support this format or site."""

    error_type = "UnsupportedError"


class InitializationError(AlgorithmError):
    """The algorithm could not load a model or resource."""

    error_type = "InitializationError"


class OutOfMemoryError(AlgorithmError):
    """The algorithm ran out of memory."""

    error_type = "OutOfMemoryError"


class OutOfGpuMemoryError(AlgorithmError):
    """The algorithm ran out of GPU memory."""

    error_type = "OutOfGpuMemoryError"


class LanguageError(AlgorithmError):
    """The algorithm does not support this human language."""

    error_type = "LanguageError"


class TooLargeError(AlgorithmError):
    """The algorithm's input or output is too large or too small."""

    error_type = "TooLargeError"


class ParsingError(AlgorithmError):
    """The algorithm failed to read or write some format."""

    error_type = "ParsingError"


class EntityNotFoundError(AlgorithmError):
    """The algorithm looked something up and found nothing."""

    error_type = "EntityNotFoundError"


class ThirdPartyCredentialError(AlgorithmError):
    """Another service rejected a credential that the algorithm used."""

    error_type = "ThirdPartyCredentialError"


class PaymentRequiredError(AlgorithmError):
    """The caller has no credit left."""

    error_type = "PaymentRequiredError"


class LoadingError(AlgorithmError):
    """The algorithm could not be loaded."""

    error_type = "LoadingError"


class AlgorithmTimeout(AlgorithmError):
    """The call exceeded its timeout."""

    error_type = "TimeoutError"
    hint_default = "Give the call more time with .timeout(seconds)."


class AlgorithmSystemError(AlgorithmError):
    """A worker of the platform failed during the call."""

    error_type = "SystemError"


class AlgorithmExit(AlgorithmError):
    """The algorithm's process ended during the call."""

    error_type = "SystemExit"


_BY_CODE: dict[int, type[ApiError]] = {
    cls.code: cls
    for cls in (
        InvalidInput,
        MalformedJson,
        InvalidRequest,
        NotAuthenticated,
        NotAuthorized,
        IdempotencyKeyReused,
        CallUnderWay,
        CallOutcomeUnknown,
        AlgorithmNameTaken,
        VersionAlreadyPublished,
        AlgorithmNotFound,
        BuildNotFound,
        VersionNotFound,
        AccountNotFound,
        InternalError,
        FeatureNotImplemented,
    )
    if cls.code is not None
}

_BY_CODE[1011] = BuildNotFound
"""Its log is not there, which is the same to who asked for it."""

_BY_STATUS: dict[int, type[ApiError]] = {
    401: NotAuthenticated,
    403: NotAuthorized,
    404: NotFound,
    405: MethodNotAllowed,
    409: AlreadyExists,
    412: ConditionFailed,
    413: TooLarge,
    415: UnsupportedContentType,
    416: RangeNotSatisfiable,
    429: TooManyRequests,
    501: FeatureNotImplemented,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
    507: OutOfSpace,
}

_BY_ERROR_TYPE: dict[str, type[AlgorithmError]] = {
    cls.error_type: cls
    for cls in (
        AlgorithmError,
        AlgorithmExit,
        AlgorithmSystemError,
        AlgorithmTimeout,
        EntityNotFoundError,
        InitializationError,
        InputError,
        LanguageError,
        LoadingError,
        OutOfGpuMemoryError,
        OutOfMemoryError,
        ParsingError,
        PaymentRequiredError,
        ThirdPartyCredentialError,
        TooLargeError,
        UnsupportedError,
    )
}


def algorithm_error(body: ErrorBody, *, status: int, request_id: str = "") -> AlgorithmError:
    """Return the exception for a failed call; an unknown type becomes the base class."""
    return _BY_ERROR_TYPE.get(body.error_type, AlgorithmError)(
        body.message,
        hint=body.hint,
        status=status,
        error_type=body.error_type,
        stacktrace=body.stacktrace,
        request_id=request_id,
        error_id=body.error_id,
    )


def api_error(
    body: ErrorBody,
    *,
    status: int,
    request_id: str = "",
    missing: type[NotFound] = NotFound,
    is_told: bool = True,
) -> ApiError:
    """
    Return the exception for a refused request.

    Args:
        body: What the server said.
        status: The HTTP status, any but 2xx.
        request_id: From the answer's header.
        missing: What a 404 without a code of its own means here.
        is_told: Whether *body* is the server's, and not made up for an answer without one.
    """
    cls = _api_error_class(body, status, missing)
    if status == 502 and is_told:  # from a proxy in between it means something else
        cls = SourceFailed
    error = cls(
        body.message,
        hint=body.hint,
        status=status,
        code=body.code,
        error_type=body.error_type,
        stacktrace=body.stacktrace,
        request_id=request_id,
        error_id=body.error_id,
    )
    if isinstance(error, PartlyDeleted):
        error.deleted = body.deleted or 0
    if isinstance(error, QuotaExceeded):
        error.limit, error.used, error.unit = body.limit or 0, body.used or 0, body.unit
    return error


def _api_error_class(body: ErrorBody, status: int, missing: type[NotFound]) -> type[ApiError]:
    by_status = _BY_STATUS.get(status, InternalError if status >= 500 else InvalidRequest)
    if body.deleted is not None and status >= 500:
        return PartlyDeleted
    if status == OutOfSpace.status:
        return OutOfSpace if body.limit is None else QuotaExceeded
    by_code = _BY_CODE.get(body.code) if body.code is not None else None
    # Codes are coarser than some statuses (6001 is also "too large", 5001 also "not now"): the
    # more special of the two wins, and the code where they differ.
    if by_code is None:
        return missing if by_status is NotFound else by_status
    return by_status if issubclass(by_status, by_code) else by_code
