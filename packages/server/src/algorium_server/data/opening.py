"""How obstore's stores are opened, alike for all kinds: time, trust, and no environment."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from algorium_server.domain.connectors import ConnectorOptions
from algorium_server.domain.limits import (
    SOURCE_CONNECT_S,
    SOURCE_RETRY_S,
    SOURCE_STALL_S,
    SOURCE_TRANSFER_S_MAX,
    SOURCE_TRIES_MAX,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_PROVIDERS: Final = ("AWS_", "AZURE_", "GOOGLE_", "SERVICE_ACCOUNT")


def forget_providers() -> None:
    """
    Take what configures object stores out of this process's environment.

    obstore reads it for every store, whatever it is given: an endpoint or a key of the operator's
    would be used for the connectors of users. To be called once whatever is the operator's own is
    open, before any connector is.
    """
    for name in [name for name in os.environ if name.startswith(_PROVIDERS)]:
        del os.environ[name]


def client_options(options: ConnectorOptions) -> "ClientConfig":
    """Return how connections are made."""
    config: ClientConfig = {
        "allow_http": options.allow_http,
        "connect_timeout": timedelta(seconds=SOURCE_CONNECT_S),
        "read_timeout": timedelta(seconds=SOURCE_STALL_S),
        "timeout": timedelta(seconds=SOURCE_TRANSFER_S_MAX),
    }
    if options.ca_certificate:
        config["root_certificate"] = options.ca_certificate
    return config


def retry_config() -> "RetryConfig":
    """Return how often a request is sent again that failed for now."""
    return {
        "max_retries": SOURCE_TRIES_MAX,
        "retry_timeout": timedelta(seconds=SOURCE_RETRY_S),
        "backoff": {
            "init_backoff": timedelta(milliseconds=200),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }
