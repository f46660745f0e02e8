"""
Client of Algorium, an open, self-hosted algorithm platform.

    from algorium import Algorium

    client = Algorium()
    print(client.algo("demo/Hello").pipe("HAL 9000").as_string())

Names are loaded when they are first used: the server imports `algorium.wire` from here and must not
pay for an HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from algorium._admin import Admin
    from algorium._admin_async import AsyncAdmin
    from algorium._algorithms import AlgorithmHandle, AsyncAlgorithmHandle
    from algorium._authoring import Algorithms
    from algorium._authoring_async import AsyncAlgorithms, AsyncManagedAlgorithm
    from algorium._client import Algorium
    from algorium._client_async import AsyncAlgorium
    from algorium._connector_flow import (
        ConnectorCheck,
        ConnectorInfo,
        ConnectorReport,
        StorageUse,
    )
    from algorium._connectors import AsyncConnectors, Connectors
    from algorium._data import DataFile
    from algorium._data_async import AsyncDataDirectory, AsyncDataFile
    from algorium._directories import DataDirectory
    from algorium._environments import AsyncEnvironments, Environments
    from algorium._errors import (
        AccountNotFound,
        AlgorithmError,
        AlgorithmExit,
        AlgorithmNameTaken,
        AlgorithmNotFound,
        AlgorithmSystemError,
        AlgorithmTimeout,
        AlgoriumError,
        AlreadyExists,
        ApiError,
        BuildFailed,
        BuildNotFound,
        CallOutcomeUnknown,
        CallUnderWay,
        ConditionFailed,
        ConfigurationError,
        ConnectionFailed,
        ConnectionLost,
        ContentMismatch,
        EntityNotFoundError,
        FeatureNotImplemented,
        IdempotencyKeyReused,
        InitializationError,
        InputError,
        InternalError,
        InvalidInput,
        InvalidRequest,
        LanguageError,
        LoadingError,
        MalformedJson,
        MethodNotAllowed,
        NotAuthenticated,
        NotAuthorized,
        NotFound,
        OutOfGpuMemoryError,
        OutOfMemoryError,
        OutOfSpace,
        ParsingError,
        PartlyDeleted,
        PathNotFound,
        PaymentRequiredError,
        QuotaExceeded,
        RangeNotSatisfiable,
        ResponseTimeout,
        ResultTypeError,
        SourceFailed,
        ThirdPartyCredentialError,
        TooLarge,
        TooLargeError,
        TooManyRequests,
        TransportError,
        Unavailable,
        UnexpectedResponse,
        UnsupportedContentType,
        UnsupportedError,
        VersionAlreadyPublished,
        VersionNotFound,
    )
    from algorium._event_listeners import AsyncEventListeners, EventListeners
    from algorium._file_headers import FileStat
    from algorium._keys import AsyncKeys, Keys
    from algorium._managed import ManagedAlgorithm
    from algorium._map import MapProgress
    from algorium._mirror import SyncReport
    from algorium._notifications import AsyncNotifications, Notifications
    from algorium._organizations import AsyncOrganizations, Organizations
    from algorium._package_sources import AsyncPackageSources, PackageSources
    from algorium._progress import Progress
    from algorium._readers import AsyncFileReader, FileReader
    from algorium._registries import AsyncRegistries, Registries
    from algorium._reports import AsyncReports, Reports
    from algorium._reservations import AsyncReservations, Reservations
    from algorium._responses import AlgoResponse, AsyncReceipt, Metadata
    from algorium._scms import AsyncScms, Scms
    from algorium._secret_providers import AsyncSecretProviders, SecretProviders
    from algorium._secrets import AsyncSecrets, Secrets
    from algorium._sessions import AsyncSessions, Sessions
    from algorium._source_flow import SourceFile, SourceTree
    from algorium._upload_flow import UnfinishedUpload, UploadPart
    from algorium._users import AsyncUsers, Users
    from algorium.wire.accounts import (
        AlgorithmName,
        MemberInfo,
        OrganizationInfo,
        OrganizationType,
        SessionInfo,
        UserInfo,
    )
    from algorium.wire.authoring import (
        AlgorithmInfo,
        BuildInfo,
        CommitInfo,
        EnvironmentInfo,
        FailedCall,
        LanguageInfo,
        ScmStatus,
        VersionInfo,
    )
    from algorium.wire.bodies import DataAcl, ReadAcl
    from algorium.wire.governance import (
        AccountQuotas,
        AuditEntry,
        GovernanceReport,
        LegacyAlgorithm,
        QuotaInfo,
        ReportRow,
    )
    from algorium.wire.installation import FrontendEntry, InviteInfo
    from algorium.wire.keys import KeyInfo, KeyPermissions
    from algorium.wire.operations import (
        EventListenerInfo,
        InsightsConnection,
        NotificationInfo,
        RegistryInfo,
        ReservationInfo,
    )
    from algorium.wire.package_sources import (
        PackageAddress,
        PackageSourcesInfo,
    )
    from algorium.wire.refs import AlgorithmRef, RefSyntaxError
    from algorium.wire.scms import ScmConnection, ScmInfo, ScmMembership
    from algorium.wire.secrets import (
        ProviderInfo,
        SecretInfo,
    )
    from algorium.wire.uris import DataUri, UriSyntaxError
    from algorium.wire.usage import UsageRecord, UsageTotal

_MODULES = {
    "algorium._sessions": "AsyncSessions Sessions",
    "algorium._notifications": "AsyncNotifications Notifications",
    "algorium._event_listeners": "AsyncEventListeners EventListeners",
    "algorium._package_sources": "AsyncPackageSources PackageSources",
    "algorium._secret_providers": "AsyncSecretProviders SecretProviders",
    "algorium._registries": "AsyncRegistries Registries",
    "algorium._reservations": "AsyncReservations Reservations",
    "algorium._reports": "AsyncReports Reports",
    "algorium.wire.operations": (
        "EventListenerInfo InsightsConnection NotificationInfo RegistryInfo ReservationInfo"
    ),
    "algorium.wire.package_sources": "PackageAddress PackageSourcesInfo",
    "algorium._admin": "Admin",
    "algorium._admin_async": "AsyncAdmin",
    "algorium._keys": "AsyncKeys Keys",
    "algorium._map": "MapProgress",
    "algorium._organizations": "AsyncOrganizations Organizations",
    "algorium._scms": "AsyncScms Scms",
    "algorium._users": "AsyncUsers Users",
    "algorium.wire.accounts": (
        "AlgorithmName MemberInfo OrganizationInfo OrganizationType SessionInfo UserInfo"
    ),
    "algorium.wire.governance": (
        "AccountQuotas AuditEntry GovernanceReport LegacyAlgorithm QuotaInfo ReportRow"
    ),
    "algorium.wire.installation": "FrontendEntry InviteInfo",
    "algorium.wire.keys": "KeyInfo KeyPermissions",
    "algorium.wire.scms": "ScmConnection ScmInfo ScmMembership",
    "algorium._algorithms": "AlgorithmHandle AsyncAlgorithmHandle",
    "algorium._authoring": "Algorithms",
    "algorium._authoring_async": "AsyncAlgorithms AsyncManagedAlgorithm",
    "algorium._client": "Algorium",
    "algorium._client_async": "AsyncAlgorium",
    "algorium._connector_flow": "ConnectorCheck ConnectorInfo ConnectorReport StorageUse",
    "algorium._connectors": "AsyncConnectors Connectors",
    "algorium._data": "DataFile",
    "algorium._data_async": "AsyncDataDirectory AsyncDataFile",
    "algorium._environments": "AsyncEnvironments Environments",
    "algorium._file_headers": "FileStat",
    "algorium._directories": "DataDirectory",
    "algorium._managed": "ManagedAlgorithm",
    "algorium._mirror": "SyncReport",
    "algorium._progress": "Progress",
    "algorium._readers": "AsyncFileReader FileReader",
    "algorium._responses": "AlgoResponse AsyncReceipt Metadata",
    "algorium._secrets": "AsyncSecrets Secrets",
    "algorium._source_flow": "SourceFile SourceTree",
    "algorium._upload_flow": "UnfinishedUpload UploadPart",
    "algorium.wire.authoring": (
        "AlgorithmInfo BuildInfo CommitInfo EnvironmentInfo FailedCall LanguageInfo ScmStatus "
        "VersionInfo"
    ),
    "algorium.wire.bodies": "DataAcl ReadAcl",
    "algorium.wire.refs": "AlgorithmRef RefSyntaxError",
    "algorium.wire.secrets": "ProviderInfo SecretInfo",
    "algorium.wire.uris": "DataUri UriSyntaxError",
    "algorium.wire.usage": "UsageRecord UsageTotal",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "AccountNotFound",
    "AccountQuotas",
    "Admin",
    "AlgoResponse",
    "AlgorithmError",
    "AlgorithmExit",
    "AlgorithmHandle",
    "AlgorithmInfo",
    "AlgorithmName",
    "AlgorithmNameTaken",
    "AlgorithmNotFound",
    "AlgorithmRef",
    "AlgorithmSystemError",
    "AlgorithmTimeout",
    "Algorithms",
    "Algorium",
    "AlgoriumError",
    "AlreadyExists",
    "ApiError",
    "AsyncAdmin",
    "AsyncAlgorithmHandle",
    "AsyncAlgorithms",
    "AsyncAlgorium",
    "AsyncConnectors",
    "AsyncDataDirectory",
    "AsyncDataFile",
    "AsyncEnvironments",
    "AsyncEventListeners",
    "AsyncFileReader",
    "AsyncKeys",
    "AsyncManagedAlgorithm",
    "AsyncNotifications",
    "AsyncOrganizations",
    "AsyncPackageSources",
    "AsyncReceipt",
    "AsyncRegistries",
    "AsyncReports",
    "AsyncReservations",
    "AsyncScms",
    "AsyncSecretProviders",
    "AsyncSecrets",
    "AsyncSessions",
    "AsyncUsers",
    "AuditEntry",
    "BuildFailed",
    "BuildInfo",
    "BuildNotFound",
    "CallOutcomeUnknown",
    "CallUnderWay",
    "CommitInfo",
    "ConditionFailed",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionLost",
    "ConnectorCheck",
    "ConnectorInfo",
    "ConnectorReport",
    "Connectors",
    "ContentMismatch",
    "DataAcl",
    "DataDirectory",
    "DataFile",
    "DataUri",
    "EntityNotFoundError",
    "EnvironmentInfo",
    "Environments",
    "EventListenerInfo",
    "EventListeners",
    "FailedCall",
    "FeatureNotImplemented",
    "FileReader",
    "FileStat",
    "FrontendEntry",
    "GovernanceReport",
    "IdempotencyKeyReused",
    "InitializationError",
    "InputError",
    "InsightsConnection",
    "InternalError",
    "InvalidInput",
    "InvalidRequest",
    "InviteInfo",
    "KeyInfo",
    "KeyPermissions",
    "Keys",
    "LanguageError",
    "LanguageInfo",
    "LegacyAlgorithm",
    "LoadingError",
    "MalformedJson",
    "ManagedAlgorithm",
    "MapProgress",
    "MemberInfo",
    "Metadata",
    "MethodNotAllowed",
    "NotAuthenticated",
    "NotAuthorized",
    "NotFound",
    "NotificationInfo",
    "Notifications",
    "OrganizationInfo",
    "OrganizationType",
    "Organizations",
    "OutOfGpuMemoryError",
    "OutOfMemoryError",
    "OutOfSpace",
    "PackageAddress",
    "PackageSources",
    "PackageSourcesInfo",
    "ParsingError",
    "PartlyDeleted",
    "PathNotFound",
    "PaymentRequiredError",
    "Progress",
    "ProviderInfo",
    "QuotaExceeded",
    "QuotaInfo",
    "RangeNotSatisfiable",
    "ReadAcl",
    "RefSyntaxError",
    "Registries",
    "RegistryInfo",
    "ReportRow",
    "Reports",
    "ReservationInfo",
    "Reservations",
    "ResponseTimeout",
    "ResultTypeError",
    "ScmConnection",
    "ScmInfo",
    "ScmMembership",
    "ScmStatus",
    "Scms",
    "SecretInfo",
    "SecretProviders",
    "Secrets",
    "SessionInfo",
    "Sessions",
    "SourceFailed",
    "SourceFile",
    "SourceTree",
    "StorageUse",
    "SyncReport",
    "ThirdPartyCredentialError",
    "TooLarge",
    "TooLargeError",
    "TooManyRequests",
    "TransportError",
    "Unavailable",
    "UnexpectedResponse",
    "UnfinishedUpload",
    "UnsupportedContentType",
    "UnsupportedError",
    "UploadPart",
    "UriSyntaxError",
    "UsageRecord",
    "UsageTotal",
    "UserInfo",
    "Users",
    "VersionAlreadyPublished",
    "VersionInfo",
    "VersionNotFound",
]


def __getattr__(name: str) -> Any:
    """Load a public name; everything without a module of its own is an exception."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "algorium._errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return [*globals(), *__all__]
