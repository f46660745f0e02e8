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
    │   ├── UserNotFound         404  3000
    │   ├── OrganizationNotFound 404  3100
    │   ├── OrganizationTypeNotFound 404 3108
    │   ├── ConfigEntryNotFound  404  5004
    │   └── PathNotFound         404   -
    ├── AlreadyExists            409   -
    │   ├── UsernameTaken        409  3003  now or earlier, by a user or an organization
    │   ├── EmailTaken           409  3004  now or earlier
    │   └── OrganizationExists   409  3101  its name is taken, now or earlier
    ├── MalformedUser            400  3001
    ├── SignUpRefused            400  3009  nobody may sign up so
    ├── MissingFields            400  3005  a user or an organization needs more than was said
    ├── InconsistentUsername     400  3007  users keep their names
    ├── EmailChangeRefused       400  3008
    ├── LastOwner                400  3102  an organization has an owner always
    ├── MalformedOrganization    400  3103
    ├── FaviconTooLarge          400  3105
    ├── InvalidUpload            400  3106
    ├── LogoTooLarge             400  3107
    ├── OrganizationTypeExists   400  3109
    ├── StillInUse               400  3110  something else depends on it
    ├── HostInformationNotFound  400  3300
    ├── HostInformationExists    400  3301
    ├── HostInformationMalformed 400  3302
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
    ├── ScmNotFound              404  4009  there is no such source host
    │   └── UnknownScm           400  4009  the same, named by a new algorithm
    ├── ScmNotConnected          404  4008  the account has not connected this host
    │   └── ScmNeedsConnecting   400  4008  the same, for a new algorithm
    ├── ScmWithoutWebhooks       400  4012  the algorithm is hosted here
    ├── ScmInvalid               400  4020
    ├── ScmChangeInvalid         400  4021
    ├── ScmEnabled               400  4040  disable it before it is deleted
    ├── ScmIsDefault             400  4041
    ├── ScmDisabled              400  4042  it takes no new algorithms
    ├── ScmInUse                 400  4043
    ├── ScmConflict              409  4044
    ├── ScmFixed                 400  4045  the internal host stays as it is
    ├── OAuthUnsupported         400  4050
    ├── OAuthIncomplete          400  4051  what the browser brings back does not do
    ├── OAuthCodeRefused         400  4052
    ├── WebhookMalformed         400  4070
    ├── ScmForbids               400  4080  the host's words are in the message, as in the next ones
    ├── ScmRejectsCredentials    400  4081
    ├── ScmRejects               400  4082
    │   └── ScmLacks             400  4082  what was asked for is not there
    ├── ScmFailed                500  4083
    ├── ScmUnreachable           500  4084
    ├── SecretRequestMalformed   400  8000
    ├── SecretInvalid            400  8001  a name, a value, or another secret of that name
    ├── NoDefaultSecretProvider  500  8002
    ├── SecretProviderReadOnly   400  8003  values are put there by others
    ├── SecretValueMissing       400  8004
    ├── SecretProviderFixed      400  8005  the internal provider stays as it is
    ├── SecretProviderNotFound   404  8006
    ├── SecretNotEdited          500  8007
    ├── SecretNotFound           404  8008
    ├── SecretProviderFailed     500  8009  its words are in the message, without secrets
    ├── SecretNotDeleted         400  8010  the secret, or a provider that secrets are kept by
    ├── SecretProviderNotDefault 400  8011  it cannot be made the default
    ├── SecretProviderDisabled   400  8012
    ├── SecretProviderIsDefault  400  8013  another one must be the default first
    ├── SecretNotEditable        400  8014  values are changed by others
    ├── MissingEventTypes        400  8060  which notifications, must be said
    ├── InvalidNotificationQuery 400  8061
    ├── IdempotencyKeyReused     422  7001  the key was sent with another call
    ├── CallUnderWay             409  7002  the call with this key has not ended yet
    ├── CallOutcomeUnknown       409  7003  it may have run; nobody can say how it ended
    ├── TooManyRequests          429   -    a limit of calls or of what waits is reached
    ├── BudgetExceeded           402   -    what the account may use in a month is used up
    ├── PartlyDeleted            500   -    some entries could not be deleted
    ├── InternalError            500  5001  our fault; carries an id to look up in the log
    ├── Unavailable              503  5001  cannot be served now or on this host
    ├── SourceFailed             502   -    a connected source refused, or does not answer
    └── OutOfSpace               507   -    nothing more can be stored
        └── QuotaExceeded        507   -    by this account

An author's failing code is not here: that is a *result* of a call (`domain/calls.py`).

One module, though a long one: a catalogue, a few lines for each error, that is read as one tree.

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
        retry_after_s: When it is worth trying again, if that is known; for `Retry-After`.
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
        retry_after_s: int | None = None,
    ) -> None:
        message = message or self.sentence or BY_NUMBER[self.code or 5001].sentence
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail
        self.fields = fields or {}
        self.retry_after_s = retry_after_s


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


class UserNotFound(NotFound):
    """There is no such user or organization."""

    code = 3000


class OrganizationNotFound(NotFound):
    """There is no such organization."""

    code = 3100


class OrganizationTypeNotFound(NotFound):
    """There is no such type of organization."""

    code = 3108


class ConfigEntryNotFound(NotFound):
    """There is no such entry of the front end's configuration."""

    code = 5004


class PathNotFound(NotFound):
    """No such file or directory for this caller."""

    sentence = "path not found"


class AlreadyExists(AlgoriumError):
    """The name is taken."""

    status = 409
    sentence = "the name is taken"


class UsernameTaken(AlreadyExists):
    """A user or an organization has the name, or had it before it was deleted."""

    code = 3003
    sentence = BY_NUMBER[3003].sentence


class EmailTaken(AlreadyExists):
    """Another user has the e-mail address, or had it."""

    code = 3004
    sentence = BY_NUMBER[3004].sentence


class OrganizationExists(AlreadyExists):
    """A user or an organization has the name, or had it before it was deleted."""

    code = 3101
    sentence = BY_NUMBER[3101].sentence


class MalformedUser(AlgoriumError):
    """The description of a user is not one."""

    code = 3001


class SignUpRefused(AlgoriumError):
    """Nobody may sign up so."""

    code = 3009


class MissingFields(AlgoriumError):
    """The description of a user or an organization lacks something."""

    code = 3005


class InconsistentUsername(AlgoriumError):
    """The body names another user than the path."""

    code = 3007


class EmailChangeRefused(AlgoriumError):
    """The caller may not change this e-mail address."""

    code = 3008


class LastOwner(AlgoriumError):
    """The organization would be without an owner."""

    code = 3102


class MalformedOrganization(AlgoriumError):
    """The description of an organization is not one."""

    code = 3103


class FaviconTooLarge(AlgoriumError):
    """The favicon has too many bytes."""

    code = 3105


class InvalidUpload(AlgoriumError):
    """What was uploaded is not what is expected here."""

    code = 3106


class LogoTooLarge(AlgoriumError):
    """The logo has too many bytes."""

    code = 3107


class OrganizationTypeExists(AlgoriumError):
    """There is a type of organization with that name."""

    code = 3109


class StillInUse(AlgoriumError):
    """It cannot be deleted while something else depends on it."""

    code = 3110


class HostInformationNotFound(AlgoriumError):
    """The organization has no host information."""

    code = 3300


class HostInformationExists(AlgoriumError):
    """The organization has host information already."""

    code = 3301


class HostInformationMalformed(AlgoriumError):
    """Host information cannot be made of this."""

    code = 3302


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


class ScmNotFound(AlgoriumError):
    """There is no such source host."""

    code = 4009


class UnknownScm(ScmNotFound):
    """A new algorithm names a source host that there is not."""

    status = 400  # the request is wrong, not its address


class ScmNotConnected(AlgoriumError):
    """The account has not connected this source host."""

    code = 4008


class ScmNeedsConnecting(ScmNotConnected):
    """A new algorithm needs a source host that its creator has not connected."""

    status = 400  # like `UnknownScm`


class ScmWithoutWebhooks(AlgoriumError):
    """The algorithm is hosted here; nobody sends webhooks for it."""

    code = 4012


class ScmInvalid(AlgoriumError):
    """A source host cannot be made of this."""

    code = 4020


class ScmChangeInvalid(AlgoriumError):
    """A source host cannot be changed like this."""

    code = 4021


class ScmEnabled(AlgoriumError):
    """The source host is enabled still."""

    code = 4040


class ScmIsDefault(AlgoriumError):
    """Not possible with the default source host."""

    code = 4041


class ScmDisabled(AlgoriumError):
    """Not possible with a disabled source host."""

    code = 4042


class ScmInUse(AlgoriumError):
    """Algorithms have their source at this host."""

    code = 4043


class ScmConflict(AlgoriumError):
    """There is a source host with this id, or the same one under another id."""

    code = 4044


class ScmFixed(AlgoriumError):
    """The internal source host stays as it is."""

    code = 4045


class OAuthUnsupported(AlgoriumError):
    """This source host is not connected in this way."""

    code = 4050


class OAuthIncomplete(AlgoriumError):
    """What the browser brings back from the source host does not end a connection."""

    code = 4051


class OAuthCodeRefused(AlgoriumError):
    """The source host does not accept the code that the browser brought back."""

    code = 4052


class WebhookMalformed(AlgoriumError):
    """The body of a webhook is none."""

    code = 4070


class ScmForbids(AlgoriumError):
    """The source host says that this may not be done with these credentials."""

    code = 4080


class ScmRejectsCredentials(AlgoriumError):
    """The source host does not know these credentials, or not any more."""

    code = 4081


class ScmRejects(AlgoriumError):
    """The source host calls the request wrong."""

    code = 4082


class ScmLacks(ScmRejects):
    """The source host has nothing there, or nothing that these credentials may see."""


class ScmFailed(AlgoriumError):
    """The source host failed."""

    code = 4083


class ScmUnreachable(AlgoriumError):
    """The source host does not answer."""

    code = 4084


class SecretRequestMalformed(AlgoriumError):
    """The body does not describe a secret."""

    code = 8000


class SecretInvalid(AlgoriumError):
    """A secret cannot be as it is described, or there is another one of that name."""

    code = 8001


class NoDefaultSecretProvider(AlgoriumError):
    """Nothing says where secrets are kept."""

    code = 8002


class SecretProviderReadOnly(AlgoriumError):
    """This provider takes no values from us."""

    code = 8003


class SecretValueMissing(AlgoriumError):
    """A new secret needs a value."""

    code = 8004


class SecretProviderFixed(AlgoriumError):
    """The internal provider cannot be changed or removed."""

    code = 8005


class SecretProviderNotFound(AlgoriumError):
    """There is no such provider."""

    code = 8006


class SecretNotEdited(AlgoriumError):
    """A secret could not be changed."""

    code = 8007


class SecretNotFound(AlgoriumError):
    """The algorithm has no such secret."""

    code = 8008


class SecretProviderFailed(AlgoriumError):
    """A provider refused, or does not answer; the message names it, and no secret."""

    code = 8009


class SecretNotDeleted(AlgoriumError):
    """A secret, or a provider that secrets are kept by, could not be deleted."""

    code = 8010


class SecretProviderNotDefault(AlgoriumError):
    """A provider could not be made the default one."""

    code = 8011


class SecretProviderDisabled(AlgoriumError):
    """The provider is disabled."""

    code = 8012


class SecretProviderIsDefault(AlgoriumError):
    """The default provider cannot be deleted or disabled."""

    code = 8013


class SecretNotEditable(AlgoriumError):
    """Values at this provider are changed by others."""

    code = 8014


class MissingEventTypes(AlgoriumError):
    """Somebody asks for notifications, but not for which."""

    code = 8060


class InvalidNotificationQuery(AlgoriumError):
    """A parameter of a question for notifications is none."""

    code = 8061


class IdempotencyKeyReused(AlgoriumError):
    """The key came with another call before."""

    code = 7001


class CallUnderWay(AlgoriumError):
    """The call with this key has begun and not ended; the same request gets its answer later."""

    code = 7002


class CallOutcomeUnknown(AlgoriumError):
    """The call with this key may have run, and nobody can say how it ended; it is not run again."""

    code = 7003


class TooManyRequests(AlgoriumError):
    """A concurrency limit is reached; the same request may succeed later."""

    status = 429
    sentence = "Too many requests: concurrent session limit reached"


class BudgetExceeded(AlgoriumError):
    """What the account may use in a month is used up; `fields` says of what, and until when."""

    status = 402
    error_type = "PaymentRequiredError"
    sentence = "the account has used up its budget of this month"


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
