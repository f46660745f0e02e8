"""
The old service's own Python client, by its names, on top of this one.

    import algorium.compat as Algorithmia

    client = Algorithmia.client("sim...", "https://algorium.example.com")
    print(client.algo("demo/Hello").pipe("HAL 9000").result)

Code written for `algorithmia` 1.17 to 2.0.5 runs by changing the import. Where not even that can be
done, `install` makes `import Algorithmia` mean this package, and `python -m algorium.compat
program.py` runs a program so. `docs/guides/moving-from-the-official-client.md` has what is
different.

Names, spellings and mutable module attributes are the old package's: nothing in here is an example
for other code.

Source: wire specification, "Client library behaviours"; the behaviour of `algorithmia` 2.0.5.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from algorium.compat import (
    acl,
    adk,
    algo_response,
    algorithm,
    async_response,
    data,
    datadirectory,
    datafile,
    errors,
    insights,
    util,
)
from algorium.compat.adk import ADK
from algorium.compat.client import Client
from algorium.compat.handler import Handler

__all__ = [
    "ADK",
    "Client",
    "Handler",
    "acl",
    "adk",
    "algo",
    "algo_response",
    "algorithm",
    "apiAddress",
    "apiKey",
    "async_response",
    "client",
    "data",
    "datadirectory",
    "datafile",
    "defaultClient",
    "dir",
    "errors",
    "file",
    "getApiAddress",
    "getDefaultClient",
    "handler",
    "insights",
    "install",
    "util",
]

_SUBMODULES = (
    "acl",
    "algo_response",
    "algorithm",
    "async_response",
    "client",
    "data",
    "datadirectory",
    "datafile",
    "errors",
    "handler",
    "insights",
    "util",
)

apiKey: str | None = None  # noqa: N816 - programs assign to these three
apiAddress: str | None = None  # noqa: N816
defaultClient: Client | None = None  # noqa: N816


def algo(algoRef: str) -> algorithm.Algorithm:  # noqa: N803 - the old client's
    """Return an algorithm to call with the default client."""
    return getDefaultClient().algo(algoRef)


def file(dataUrl: str) -> Any:  # noqa: N803 - the old client's
    """Return a file, with the default client."""
    return getDefaultClient().file(dataUrl)


def dir(dataUrl: str) -> Any:  # noqa: A001, N803 - the old client's
    """Return a directory, with the default client."""
    return getDefaultClient().dir(dataUrl)


def client(
    api_key: str | None = None,
    api_address: str | None = None,
    ca_cert: str | bool | None = None,
    bearer_token: str | None = None,
) -> Client:
    """
    Return a client.

    Args:
        api_key: Left out: `ALGORITHMIA_API_KEY`, then the profile.
        api_address: Left out: `Algorithmia.apiAddress`, `ALGORITHMIA_API`, the profile.
        ca_cert: File of certificates to trust.
        bearer_token: In place of a key.

    Raises:
        ConfigurationError: The address or the certificates cannot be used.
    """
    return Client(api_key, api_address, ca_cert, bearer_token)


def handler(apply_func: Callable[..., Any], load_func: Callable[[], Any] = lambda: None) -> Handler:
    """Return the handler of an algorithm; see `Handler`."""
    return Handler(apply_func, load_func)


def getDefaultClient() -> Client:  # noqa: N802 - the old client's
    """Return the default client; another one after `Algorithmia.apiKey` was changed."""
    global defaultClient  # noqa: PLW0603 - the old client's
    if defaultClient is None or defaultClient.apiKey_given != apiKey:
        defaultClient = Client(apiKey)
    return defaultClient


def getApiAddress() -> str | None:  # noqa: N802 - the old client's
    """Return `Algorithmia.apiAddress`, if it was assigned to."""
    return apiAddress


def install() -> None:
    """
    Make `import Algorithmia`, its submodules and `import adk` mean this package from now on.

    For programs that cannot be changed; to be called before they import it.

    Raises:
        RuntimeError: The other package is imported already.
    """
    this = sys.modules[__name__]
    if sys.modules.get("Algorithmia", this) is not this:
        raise RuntimeError("Algorithmia is imported already: install() must come first")
    sys.modules["Algorithmia"] = this
    for name in _SUBMODULES:
        sys.modules[f"Algorithmia.{name}"] = import_module(f"{__name__}.{name}")
    sys.modules["adk"] = adk
