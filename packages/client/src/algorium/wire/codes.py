"""
The table of error codes and error types that both ends speak.

Every numeric `error.code` and every `error.error_type` on the wire has a row here. The server's
classes, the client's classes and the documentation page are made from it.

Source: wire specification, "Errors".
"""

from typing import Final, NamedTuple


class Code(NamedTuple):
    """One numeric error code: what it is called, the HTTP status it travels with, its sense."""

    number: int
    name: str
    status: int
    is_retryable: bool
    sentence: str


class ErrorType(NamedTuple):
    """One `error_type` of a failed call: its name, whether authors may raise it, its sense."""

    name: str
    is_author_type: bool
    sentence: str


CODES: Final[tuple[Code, ...]] = (
    Code(1000, "AlgorithmNotFound", 404, False, "Algorithm not found."),
    Code(1001, "AlgorithmNameDoesNotExist", 404, False, "No algorithm with this name."),
    Code(1002, "AlgorithmNameHasBeenTaken", 400, False, "Name already used by this owner."),
    Code(1003, "PackageSetNotFound", 400, False, "Package set unknown."),
    Code(1004, "PackageSetBuildNotFound", 404, False, "Package set build unknown."),
    Code(1005, "PackageNotFound", 404, False, "Package unknown."),
    Code(1006, "ForbiddenPackageSetUpdate", 403, False, "Package set may not be changed."),
    Code(
        1007,
        "VersionAlreadyPublished",
        400,
        False,
        "Newest build already published, compile first.",
    ),
    Code(1008, "ScmFailedToCreateRepository", 500, False, "Repository creation failed."),
    Code(1009, "AlgorithmIdDoesNotExist", 404, False, "No algorithm with this id."),
    Code(1010, "AlgorithmBuildNotFound", 404, False, "Build unknown."),
    Code(1011, "AlgorithmBuildLogsNotFound", 404, False, "Logs unknown or not ready."),
    Code(1012, "VersionTagAlreadyExists", 409, False, "Tag exists."),
    Code(1013, "VersionTagDoesntExist", 404, False, "Tag unknown."),
    Code(1014, "VersionDoesNotExists", 404, False, "Version unknown."),
    Code(1015, "ReservedTagName", 400, False, "Tag name reserved."),
    Code(1016, "TagIsAVersion", 400, False, "Tag looks like a version."),
    Code(1017, "AlgorithmVisibilityNotFound", 404, False, "Visibility record missing."),
    Code(2001, "NotAuthorized", 403, False, "Authenticated but not allowed."),
    Code(2002, "NotAuthenticated", 401, False, "Key or token unknown, expired or absent."),
    Code(2011, "PackageNameAlreadyExists", 409, False, "Package name taken."),
    Code(2012, "InvalidBuildStatus", 400, False, "Build in the wrong state."),
    Code(2013, "MalformedJson", 400, False, "Body is not valid JSON."),
    Code(2014, "InvalidBuildImage", 400, False, "Build image invalid."),
    Code(2015, "InvalidRequest", 400, False, "Request invalid."),
    Code(2016, "MalformedPackageSetContentsJson", 400, False, "Package set contents invalid."),
    Code(2017, "InvalidPackageSetStatus", 400, False, "Package set in the wrong state."),
    Code(2018, "BadScmConnectionUpdateRequest", 400, False, "Body lacks `owner`."),
    Code(3000, "UserNotFound", 404, False, "User unknown."),
    Code(3001, "MalformedUserJson", 400, False, "User body invalid."),
    Code(3003, "UsernameHasBeenTaken", 409, False, "Username used now or earlier."),
    Code(3004, "EmailAddressHasBeenTaken", 409, False, "E-mail used now or earlier."),
    Code(3005, "MissingRequiredFields", 400, False, "Required field missing."),
    Code(3007, "InconsistentUsername", 400, False, "Body and path differ."),
    Code(3008, "UpdatingEmailNotAllowed", 400, False, "E-mail is read-only."),
    Code(3009, "InvalidSignUpForm", 400, False, "Sign-up form invalid."),
    Code(3010, "MalformedPackageCreateJson", 400, False, "Package body invalid."),
    Code(3100, "OrganizationNotFound", 404, False, "Organization unknown."),
    Code(3101, "OrganizationAlreadyExists", 409, False, "Name taken."),
    Code(3102, "OrganizationRequiresOwner", 400, False, "Last owner cannot be removed."),
    Code(3103, "MalformedOrganizationJson", 400, False, "Organization body invalid."),
    Code(
        3104, "CanNotReserveUserForOrganization", 500, False, "Account name could not be reserved."
    ),
    Code(3105, "FaviconSizeLimitExceeded", 400, False, "Favicon too large."),
    Code(3106, "InvalidFileUpload", 400, False, "Upload invalid."),
    Code(3107, "LogoSizeLimitExceeded", 400, False, "Logo too large."),
    Code(3108, "OrganizationTypeNotFound", 404, False, "Organization type unknown."),
    Code(3109, "OrganizationTypeAlreadyExists", 400, False, "Organization type exists."),
    Code(3110, "UnableToDeleteAuthSimple", 400, False, "Dependent record blocks deletion."),
    Code(3300, "OrganizationHostInformationNotFound", 400, False, "Host information missing."),
    Code(3301, "OrganizationHostInformationAlreadyExists", 400, False, "Host information exists."),
    Code(3302, "MalformedOrganizationHostInformationJson", 400, False, "Body invalid."),
    Code(4001, "UnknownAlgorithmLanguage", 400, False, "Language unknown."),
    Code(4002, "UnsupportedAlgorithmLanguage", 400, False, "Language lacks the feature."),
    Code(4003, "MalformedPackageSetJson", 400, False, "Body invalid."),
    Code(4004, "UnsupportedMachineType", 400, False, "Machine type unsupported."),
    Code(4005, "PackageSetNameHasBeenTaken", 409, False, "Name taken."),
    Code(4006, "PackageSetNameDoesNotExist", 404, False, "Name unknown."),
    Code(4007, "DuplicatePackageSetContents", 400, False, "Duplicates in contents."),
    Code(4008, "ScmConnectionNotFound", 404, False, "User has no OAuth token for this SCM."),
    Code(4009, "ScmConfigurationNotFound", 404, False, "SCM configuration unknown."),
    Code(4010, "MissingDateRange", 400, False, "`start_date` or `end_date` missing."),
    Code(
        4011, "SourceNotHostedHere", 400, False, "Only internally hosted source can be edited here."
    ),
    Code(4012, "ScmWithoutWebhooks", 400, False, "Internal SCM has no webhooks."),
    Code(4020, "ScmBadCreatePayloadError", 400, False, "SCM configuration invalid."),
    Code(4021, "ScmBadUpdatePayloadError", 400, False, "SCM update body invalid."),
    Code(4040, "ScmEnabledError", 400, False, "Enabled configuration cannot be deleted."),
    Code(4041, "ScmDefaultError", 400, False, "Not possible on the default SCM."),
    Code(4042, "ScmDisabledError", 400, False, "Not possible on a disabled SCM."),
    Code(4043, "ScmInUseError", 400, False, "Configuration still used by algorithms."),
    Code(
        4044, "ScmConflictError", 409, False, "Same id, or same provider + client id + URL exists."
    ),
    Code(4045, "ScmDisallowedOperationError", 400, False, "Configuration may not be modified."),
    Code(4050, "ScmOAuthUnsupportedError", 400, False, "OAuth flow cannot start."),
    Code(4051, "ScmOAuthMissingParamsError", 400, False, "OAuth flow cannot finish."),
    Code(4052, "ScmOAuthInvalidAuthorizationCodeError", 400, False, "Authorization code rejected."),
    Code(4070, "ScmWebhookPayloadMalformedError", 400, False, "Webhook body invalid."),
    Code(4080, "ScmNotAuthorizedError", 400, False, "SCM refused authorisation."),
    Code(4081, "ScmNotAuthenticatedError", 400, False, "SCM refused authentication."),
    Code(4082, "ScmBadRequestError", 400, False, "SCM called the request bad."),
    Code(4083, "ScmUnknownError", 500, False, "Unknown SCM failure."),
    Code(4084, "ScmConnectionError", 500, True, "SCM unreachable."),
    Code(5001, "InternalServerError", 500, True, "There was an internal error."),
    Code(5002, "InvalidMarker", 400, False, "Pagination marker invalid."),
    Code(5003, "InvalidLimit", 400, False, "Limit outside 1…maximum."),
    Code(5004, "ConfigEntryNotFound", 404, False, "Configuration entry unknown."),
    Code(5005, "NotImplemented", 501, False, "Feature not implemented."),
    Code(6001, "InputValidationError", 400, False, "Field validation failed."),
    Code(7000, "RequestNotFound", 404, False, "Request id unknown."),
    Code(7001, "IdempotencyKeyReused", 422, False, "Key already used for another call."),
    Code(7002, "CallUnderWay", 409, False, "Call with this key has not ended yet."),
    Code(7003, "CallOutcomeUnknown", 409, False, "Call with this key may have run."),
    Code(8000, "MalformedAlgorithmSecretRequestJson", 400, False, "Body invalid."),
    Code(8001, "SecretMetadataConstraintViolation", 400, False, "Name/key constraint violated."),
    Code(8002, "DefaultSecretProviderNotFound", 500, False, "No default provider."),
    Code(8003, "CreateSecretNotSupported", 400, False, "Provider is read-only."),
    Code(8004, "CreateRequiresSecretValue", 400, False, "Value missing."),
    Code(8005, "CannotModifyInternalSecretProvider", 400, False, "Internal provider is fixed."),
    Code(8006, "SecretProviderNotFound", 404, False, "Provider unknown."),
    Code(8007, "EditSecretFailed", 500, False, "Edit failed."),
    Code(8008, "SecretNotFound", 404, False, "Secret unknown."),
    Code(8009, "SecretProviderFailed", 500, True, "Provider call failed."),
    Code(8010, "UnableToDeleteSecret", 400, False, "Secret (or provider) cannot be deleted."),
    Code(8011, "UnableToSetDefaultSecretProvider", 400, False, "Default change failed."),
    Code(8012, "SecretProviderDisabled", 400, False, "Provider disabled."),
    Code(
        8013,
        "UnableToDeleteDefaultSecretProvider",
        400,
        False,
        "Default provider cannot be deleted.",
    ),
    Code(8014, "EditSecretNotSupported", 400, False, "Provider cannot edit."),
    Code(8060, "MissingQueryParameterEventTypes", 400, False, "`event_types` missing."),
    Code(8061, "QueryParameterError", 400, False, "Query parameter invalid."),
)
"""All codes, in the order of their numbers."""

BY_NUMBER: Final[dict[int, Code]] = {code.number: code for code in CODES}

DEFAULT_ERROR_TYPE: Final = "AlgorithmError"

ERROR_TYPES: Final[tuple[ErrorType, ...]] = (
    ErrorType("InputError", True, "The input is invalid or incomplete."),
    ErrorType("UnsupportedError", True, "The format or site is not supported."),
    ErrorType("InitializationError", True, "A model or resource failed to load."),
    ErrorType("OutOfMemoryError", True, "Memory is exhausted."),
    ErrorType("OutOfGpuMemoryError", True, "GPU memory is exhausted."),
    ErrorType("LanguageError", True, "The human language is not supported."),
    ErrorType("TooLargeError", True, "The input or output is too large or too small."),
    ErrorType("ParsingError", True, "Scraping, serialising or deserialising failed."),
    ErrorType("EntityNotFoundError", True, "A lookup found nothing."),
    ErrorType("ThirdPartyCredentialError", True, "An external credential was rejected."),
    ErrorType(DEFAULT_ERROR_TYPE, True, "The algorithm failed."),
    ErrorType("TimeoutError", False, "The call exceeded its timeout."),
    ErrorType("PaymentRequiredError", False, "The caller has no credit left."),
    ErrorType("SystemError", False, "A worker or the platform failed."),
    ErrorType("SystemExit", False, "The algorithm's process ended during the call."),
    ErrorType("LoadingError", False, "The algorithm's load function failed."),
)
"""All types of failed calls; authors may raise those marked, the platform adds the others."""

AUTHOR_ERROR_TYPES: Final = frozenset(t.name for t in ERROR_TYPES if t.is_author_type)


def standard_error_type(raw: object) -> str:
    """
    Reduce what an algorithm gave as its error type to a standard one.

    `SystemExit` and `LoadingError` pass; other platform types are not an author's to claim.

    Source: wire specification, "Algorithm error types", coercion rules.
    """
    if isinstance(raw, str) and (
        raw in AUTHOR_ERROR_TYPES or raw in {"SystemExit", "LoadingError"}
    ):
        return raw
    return DEFAULT_ERROR_TYPE
