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
        ConditionFailed,
        ConfigurationError,
        ConnectionFailed,
        ConnectionLost,
        ContentMismatch,
        EntityNotFoundError,
        FeatureNotImplemented,
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
    from algorium._file_headers import FileStat
    from algorium._keys import AsyncKeys, Keys
    from algorium._managed import ManagedAlgorithm
    from algorium._map import MapProgress
    from algorium._mirror import SyncReport
    from algorium._organizations import AsyncOrganizations, Organizations
    from algorium._progress import Progress
    from algorium._readers import AsyncFileReader, FileReader
    from algorium._responses import AlgoResponse, AsyncReceipt, Metadata
    from algorium._scms import AsyncScms, Scms
    from algorium._secrets import AsyncSecrets, Secrets
    from algorium._source_flow import SourceFile, SourceTree
    from algorium._upload_flow import UnfinishedUpload, UploadPart
    from algorium._users import AsyncUsers, Users
    from algorium.wire.accounts import (
        AlgorithmName,
        MemberInfo,
        OrganizationInfo,
        OrganizationType,
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
    from algorium.wire.governance import AccountQuotas, AuditEntry, QuotaInfo
    from algorium.wire.installation import FrontendEntry, InviteInfo
    from algorium.wire.keys import KeyInfo, KeyPermissions
    from algorium.wire.refs import AlgorithmRef, RefSyntaxError
    from algorium.wire.scms import ScmConnection, ScmInfo, ScmMembership
    from algorium.wire.secrets import SecretInfo
    from algorium.wire.uris import DataUri, UriSyntaxError
    from algorium.wire.usage import UsageRecord, UsageTotal

_MODULES = {
    "algorium._admin": "Admin",
    "algorium._admin_async": "AsyncAdmin",
    "algorium._keys": "AsyncKeys Keys",
    "algorium._map": "MapProgress",
    "algorium._organizations": "AsyncOrganizations Organizations",
    "algorium._scms": "AsyncScms Scms",
    "algorium._users": "AsyncUsers Users",
    "algorium.wire.accounts": "AlgorithmName MemberInfo OrganizationInfo OrganizationType UserInfo",
    "algorium.wire.governance": "AccountQuotas AuditEntry QuotaInfo",
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
    "algorium.wire.secrets": "SecretInfo",
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
    "AsyncFileReader",
    "AsyncKeys",
    "AsyncManagedAlgorithm",
    "AsyncOrganizations",
    "AsyncReceipt",
    "AsyncScms",
    "AsyncSecrets",
    "AsyncUsers",
    "AuditEntry",
    "BuildFailed",
    "BuildInfo",
    "BuildNotFound",
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
    "FailedCall",
    "FeatureNotImplemented",
    "FileReader",
    "FileStat",
    "FrontendEntry",
    "InitializationError",
    "InputError",
    "InternalError",
    "InvalidInput",
    "InvalidRequest",
    "InviteInfo",
    "KeyInfo",
    "KeyPermissions",
    "Keys",
    "LanguageError",
    "LanguageInfo",
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
    "OrganizationInfo",
    "OrganizationType",
    "Organizations",
    "OutOfGpuMemoryError",
    "OutOfMemoryError",
    "OutOfSpace",
    "ParsingError",
    "PartlyDeleted",
    "PathNotFound",
    "PaymentRequiredError",
    "Progress",
    "QuotaExceeded",
    "QuotaInfo",
    "RangeNotSatisfiable",
    "ReadAcl",
    "RefSyntaxError",
    "ResponseTimeout",
    "ResultTypeError",
    "ScmConnection",
    "ScmInfo",
    "ScmMembership",
    "ScmStatus",
    "Scms",
    "SecretInfo",
    "Secrets",
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
