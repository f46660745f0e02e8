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
    from algorium._algorithms import AlgorithmHandle, AsyncAlgorithmHandle
    from algorium._client import Algorium, AsyncAlgorium
    from algorium._data import DataDirectory, DataFile
    from algorium._data_async import AsyncDataDirectory, AsyncDataFile
    from algorium._errors import (
        AccountNotFound,
        AlgorithmError,
        AlgorithmExit,
        AlgorithmNotFound,
        AlgorithmSystemError,
        AlgorithmTimeout,
        AlgoriumError,
        AlreadyExists,
        ApiError,
        ConfigurationError,
        ConnectionFailed,
        ConnectionLost,
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
        ParsingError,
        PartlyDeleted,
        PathNotFound,
        PaymentRequiredError,
        ResponseTimeout,
        ResultTypeError,
        ThirdPartyCredentialError,
        TooLarge,
        TooLargeError,
        TooManyRequests,
        TransportError,
        Unavailable,
        UnexpectedResponse,
        UnsupportedContentType,
        UnsupportedError,
    )
    from algorium._readers import AsyncFileReader, FileReader
    from algorium._responses import AlgoResponse, AsyncReceipt, Metadata
    from algorium.wire.bodies import DataAcl, ReadAcl
    from algorium.wire.refs import AlgorithmRef, RefSyntaxError
    from algorium.wire.uris import DataUri, UriSyntaxError
    from algorium.wire.usage import UsageRecord, UsageTotal

_MODULES = {
    "algorium._algorithms": "AlgorithmHandle AsyncAlgorithmHandle",
    "algorium._client": "Algorium AsyncAlgorium",
    "algorium._data": "DataDirectory DataFile",
    "algorium._data_async": "AsyncDataDirectory AsyncDataFile",
    "algorium._readers": "AsyncFileReader FileReader",
    "algorium._responses": "AlgoResponse AsyncReceipt Metadata",
    "algorium.wire.bodies": "DataAcl ReadAcl",
    "algorium.wire.refs": "AlgorithmRef RefSyntaxError",
    "algorium.wire.uris": "DataUri UriSyntaxError",
    "algorium.wire.usage": "UsageRecord UsageTotal",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "AccountNotFound",
    "AlgoResponse",
    "AlgorithmError",
    "AlgorithmExit",
    "AlgorithmHandle",
    "AlgorithmNotFound",
    "AlgorithmRef",
    "AlgorithmSystemError",
    "AlgorithmTimeout",
    "Algorium",
    "AlgoriumError",
    "AlreadyExists",
    "ApiError",
    "AsyncAlgorithmHandle",
    "AsyncAlgorium",
    "AsyncDataDirectory",
    "AsyncDataFile",
    "AsyncFileReader",
    "AsyncReceipt",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionLost",
    "DataAcl",
    "DataDirectory",
    "DataFile",
    "DataUri",
    "EntityNotFoundError",
    "FeatureNotImplemented",
    "FileReader",
    "InitializationError",
    "InputError",
    "InternalError",
    "InvalidInput",
    "InvalidRequest",
    "LanguageError",
    "LoadingError",
    "MalformedJson",
    "Metadata",
    "MethodNotAllowed",
    "NotAuthenticated",
    "NotAuthorized",
    "NotFound",
    "OutOfGpuMemoryError",
    "OutOfMemoryError",
    "ParsingError",
    "PartlyDeleted",
    "PathNotFound",
    "PaymentRequiredError",
    "ReadAcl",
    "RefSyntaxError",
    "ResponseTimeout",
    "ResultTypeError",
    "ThirdPartyCredentialError",
    "TooLarge",
    "TooLargeError",
    "TooManyRequests",
    "TransportError",
    "Unavailable",
    "UnexpectedResponse",
    "UnsupportedContentType",
    "UnsupportedError",
    "UriSyntaxError",
    "UsageRecord",
    "UsageTotal",
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
