"""
Secrets of an algorithm, and what keeps them: every operation once, as in `_flow.py`.

Source: wire specification, "Secret store".
"""

from collections.abc import Mapping
from typing import Any, Final

from algorium._account_flow import path_to
from algorium._algorithm_flow import json_request, path_of, read, read_each, read_list
from algorium._answers import check, unexpected
from algorium._errors import AlgorithmNotFound, NotFound
from algorium._messages import Request
from algorium._retry import Flow
from algorium.wire.refs import AlgorithmRef
from algorium.wire.secrets import ProviderInfo, SecretInfo

_PROVIDERS: Final = "/v1/admin/secret-provider"


def secrets(ref: AlgorithmRef) -> Flow[list[SecretInfo]]:
    """
    Read the secrets of an algorithm, without their values.

    Raises:
        AlgorithmNotFound: There is none.
    """
    response = yield Request(method="GET", path=path_of(ref, "secrets"))
    check(response, missing=AlgorithmNotFound)
    told = response.json()
    if not isinstance(told, dict) or not isinstance(told.get("secrets"), list):
        raise unexpected(response, "no list of secrets")
    return read_each(response, told["secrets"], SecretInfo.from_json)


def put(
    ref: AlgorithmRef,
    variable: str,
    value: str | None,
    *,
    name: str | None,
    description: str | None,
    provider_id: str,
) -> Flow[SecretInfo]:
    """
    Change the secret of a variable, or add it if there is none; what is None stays as it is.

    Raises:
        AlgorithmNotFound: There is none.
        ApiError: The server refuses it; the message says why.
    """
    known = {each.variable: each for each in (yield from secrets(ref))}.get(variable)
    body: dict[str, Any] = {
        "short_name": name if name is not None else known.name if known else variable,
        "description": description
        if description is not None
        else known.description
        if known
        else "",
        "secret_key": variable,
    }
    if value is not None:
        body["secret_value"] = value
    if known is not None:
        response = yield json_request("PUT", path_of(ref, "secrets", known.secret_id), body)
    else:
        body["owner_type"] = "algorithm"
        if provider_id:
            body["provider_id"] = provider_id
        response = yield json_request("POST", path_of(ref, "secrets"), body)
    check(response, missing=AlgorithmNotFound)
    return read(response, SecretInfo.from_json)


def delete(ref: AlgorithmRef, variable: str) -> Flow[None]:
    """
    Delete the secret of a variable.

    Raises:
        AlgorithmNotFound: There is no such algorithm.
        NotFound: It has no such secret.
    """
    for each in (yield from secrets(ref)):
        if each.variable == variable:
            path = path_of(ref, "secrets", each.secret_id)
            check((yield Request(method="DELETE", path=path)))
            return
    raise NotFound(f"The algorithm has no secret {variable}.")


def recycle(ref: AlgorithmRef) -> Flow[None]:
    """
    Have the warm slots of an algorithm replaced.

    Raises:
        AlgorithmNotFound: There is none.
    """
    response = yield Request(method="POST", path=path_of(ref, "recycle"))
    check(response, missing=AlgorithmNotFound)


def offered_providers() -> Flow[list[ProviderInfo]]:
    """Read what secrets can be kept by; the default comes first."""
    response = yield Request(method="GET", path="/v1/secret-provider")
    check(response)
    return read_list(response, ProviderInfo.from_json)


def providers() -> Flow[list[ProviderInfo]]:
    """Read all providers, those included that are switched off."""
    response = yield Request(method="GET", path=_PROVIDERS)
    check(response)
    return read_list(response, ProviderInfo.from_json)


def provider(provider_id: str) -> Flow[ProviderInfo]:
    """
    Read a provider.

    Raises:
        NotFound: There is none.
    """
    response = yield Request(method="GET", path=path_to("admin", "secret-provider", provider_id))
    check(response, missing=NotFound)
    return read(response, ProviderInfo.from_json)


def create_provider(wish: Mapping[str, Any]) -> Flow[ProviderInfo]:
    """
    Add a provider.

    Raises:
        InvalidInput: It is not known, or does not answer.
    """
    response = yield json_request("POST", _PROVIDERS, wish)
    check(response)
    return read(response, ProviderInfo.from_json)


def update_provider(provider_id: str, wish: Mapping[str, Any]) -> Flow[ProviderInfo]:
    """Change a provider; what *wish* leaves out stays as it is. Raises as `provider`."""
    known = yield from provider(provider_id)
    body = {
        "name": known.name,
        "description": known.description,
        "factoryClassName": known.kind,
        "isEnabled": known.is_enabled,
        "isDefault": known.is_default,
        **wish,
    }
    path = path_to("admin", "secret-provider", provider_id)
    response = yield json_request("POST", path, body)
    check(response, missing=NotFound)
    return read(response, ProviderInfo.from_json)


def delete_provider(provider_id: str) -> Flow[None]:
    """Delete a provider that keeps no secrets; raises as `provider`."""
    path = path_to("admin", "secret-provider", provider_id)
    check((yield Request(method="DELETE", path=path)), missing=NotFound)


def make_provider_default(provider_id: str) -> Flow[None]:
    """Make a provider the one for secrets that name none; raises as `provider`."""
    path = path_to("admin", "plugins", "secret-provider", provider_id, "default")
    check((yield Request(method="POST", path=path)), missing=NotFound)
