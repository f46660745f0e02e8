"""
Secrets of algorithms and their providers over HTTP, and warm slots replaced on request.

    /v1/algorithms/{algorithm_id}/secrets
    /v1/algorithms/{algorithm_id}/recycle
    /v1/secret-provider
    /v1/admin/secret-provider
    /v1/admin/plugins/secret-provider

No answer holds a value, or how a provider is reached. The old service ran providers as Java modules
that administrators uploaded; here they are part of the server, and `factoryClassName` picks one.

Source: wire specification, "Secret store".
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from algorium_server.api.algorithm_objects import timestamp
from algorium_server.api.document import described_body
from algorium_server.api.management import KNOWN, Answer, Asking, Body, body_of
from algorium_server.api.references import Ref, on_algorithm
from algorium_server.domain.errors import (
    InvalidInput,
    InvalidRequest,
    MalformedJson,
    SecretRequestMalformed,
)
from algorium_server.domain.secrets import SecretProvider, StoredSecret, check_not_internal
from algorium_server.services.people.secret_delivery import SlotRenewals
from algorium_server.services.people.secret_providers import SecretProviders, WantedProvider
from algorium_server.services.people.secrets import Secrets, WantedSecret

M = TypeVar("M", bound=BaseModel)

_ADMIN = "/v1/admin/secret-provider"
_PLUGINS = "/v1/admin/plugins/secret-provider"


class SecretBody(Body):
    """A secret; its value is only ever sent."""

    short_name: str
    description: str
    secret_key: str | None = None
    secret_value: str | None = Field(default=None, repr=False)
    owner_type: str | None = None
    owner_id: str | None = None
    provider_id: str | None = None


class SecretObject(BaseModel):
    """A secret without its value; `default_secret_value_id` is another one for each value."""

    id: str
    short_name: str
    description: str
    secret_key: str
    owner_type: str
    owner_id: str
    provider_id: str
    default_secret_value_id: str
    created: str
    modified: str


class SecretList(BaseModel):
    """All secrets of an algorithm, twice: clients look in both places."""

    secrets: list[SecretObject]
    results: list[SecretObject]


class ProviderBody(Body):
    """A provider; how it is reached is only ever sent."""

    name: str
    factoryClassName: str  # noqa: N815 - the wire's
    description: str = ""
    moduleName: str = ""  # noqa: N815 - the wire's
    interfaceVersion: str = "1.0"  # noqa: N815 - the wire's
    isEnabled: bool = True  # noqa: N815 - the wire's
    isDefault: bool = False  # noqa: N815 - the wire's
    configuration: dict[str, str] | None = Field(default=None, repr=False)


class ProviderObject(BaseModel):
    """A provider without how it is reached."""

    id: str
    name: str
    description: str
    moduleName: str  # noqa: N815 - the wire's
    factoryClassName: str  # noqa: N815 - the wire's
    interfaceVersion: str  # noqa: N815 - the wire's
    isEnabled: bool  # noqa: N815 - the wire's
    isDefault: bool  # noqa: N815 - the wire's
    created: str
    modified: str


def secret_routes(secrets: Secrets, renewals: SlotRenewals) -> APIRouter:
    """Return the routes of one algorithm; *secrets* and *renewals* do the work."""
    routes = APIRouter(tags=["secrets"])
    sent = _body_or_malformed(SecretBody)

    @on_algorithm(routes, "GET", "/secrets", response_model=SecretList)
    async def listed(ref: Ref, principal: Asking) -> Response:
        """List the secrets of an algorithm, without their values."""
        found = [secret_object(each) for each in await secrets.secrets(principal, ref)]
        return Answer({"secrets": found, "results": found})

    @on_algorithm(routes, "POST", "/secrets", response_model=SecretObject)
    async def create(ref: Ref, principal: Asking, body: Annotated[SecretBody, sent]) -> Response:
        """Add a secret: a variable that slots of the algorithm find from the next call on."""
        if body.secret_key is None:
            raise SecretRequestMalformed("secret_key is missing")
        return Answer(secret_object(await secrets.create(principal, ref, _wanted(body))))

    @on_algorithm(routes, "PUT", "/secrets/{secret_id}", response_model=SecretObject)
    async def change(
        ref: Ref, secret_id: str, principal: Asking, body: Annotated[SecretBody, sent]
    ) -> Response:
        """Change what a secret is called, and its value if one is sent."""
        changed = await secrets.change(principal, ref, secret_id, _wanted(body))
        return Answer(secret_object(changed))

    @on_algorithm(routes, "DELETE", "/secrets/{secret_id}", status_code=204)
    async def remove(ref: Ref, secret_id: str, principal: Asking) -> Response:
        """Delete a secret with its value."""
        await secrets.delete(principal, ref, secret_id)
        return Response(status_code=204)

    @on_algorithm(routes, "POST", "/recycle", status_code=204)
    async def recycle(ref: Ref, principal: Asking) -> Response:
        """Replace the warm slots of an algorithm: they load anew; calls under way go on."""
        await renewals.recycle(principal, ref)
        return Response(status_code=204)

    return routes


def secret_provider_routes(providers: SecretProviders) -> APIRouter:
    """Return the routes of providers; *providers* does the work."""
    routes = APIRouter(tags=["secret providers"])
    sent = body_of(ProviderBody)

    @routes.get("/v1/secret-provider", response_model=list[ProviderObject], dependencies=[KNOWN])
    async def offered() -> Response:
        """List what secrets can be kept by; the default comes first."""
        return Answer([provider_object(each) for each in await providers.listed()])

    @routes.get(_ADMIN, response_model=list[ProviderObject])
    async def listed(principal: Asking) -> Response:
        """List the providers; for administrators."""
        return Answer([provider_object(each) for each in await providers.providers(principal)])

    @routes.post(_ADMIN, response_model=ProviderObject)
    async def create(principal: Asking, body: Annotated[ProviderBody, sent]) -> Response:
        """Add a provider that answers; for administrators."""
        return Answer(provider_object(await providers.create(principal, _provider(body))))

    @routes.get(_ADMIN + "/{provider_id}", response_model=ProviderObject)
    async def shown(provider_id: str, principal: Asking) -> Response:
        """Show a provider; for administrators."""
        return Answer(provider_object(await providers.provider(principal, provider_id)))

    @routes.post(_ADMIN + "/{provider_id}", response_model=ProviderObject)
    async def replace(
        provider_id: str, principal: Asking, body: Annotated[ProviderBody, sent]
    ) -> Response:
        """Replace what is said of a provider; without `configuration`, that stays."""
        replaced = await providers.replace(principal, provider_id, _provider(body))
        return Answer(provider_object(replaced))

    @routes.delete(_ADMIN + "/{provider_id}", status_code=204)
    async def remove(provider_id: str, principal: Asking) -> Response:
        """Delete a provider that keeps no secrets; for administrators."""
        await providers.delete(principal, provider_id)
        return Response(status_code=204)

    @routes.get(_PLUGINS + "/{provider_id}", response_class=Response)
    async def module(provider_id: str, principal: Asking) -> Response:
        """Say that there is no module to download: providers are part of the server."""
        await providers.to_change(principal, provider_id)
        raise InvalidInput("no module was uploaded: providers are part of this server")

    @routes.post(_PLUGINS + "/{provider_id}", response_class=Response)
    async def upload(provider_id: str, principal: Asking) -> Response:
        """Refuse a module: this server runs no foreign code where secrets are open."""
        check_not_internal(await providers.to_change(principal, provider_id))
        raise InvalidInput(
            "modules are not run here: providers are part of this server",
            hint="factoryClassName and configuration of the provider are all that it takes.",
        )

    @routes.post(_PLUGINS + "/{provider_id}/default", status_code=204)
    async def make_default(provider_id: str, principal: Asking) -> Response:
        """Make a provider the one for secrets that name none; for administrators."""
        await providers.make_default(principal, provider_id)
        return Response(status_code=204)

    return routes


def secret_object(secret: StoredSecret) -> dict[str, Any]:
    """Return a secret as clients know it."""
    return SecretObject(
        id=secret.secret_id,
        short_name=secret.short_name,
        description=secret.description,
        secret_key=secret.secret_key,
        owner_type="algorithm",
        owner_id=secret.algorithm_id,
        provider_id=secret.provider_id,
        default_secret_value_id=secret.value_id,
        created=timestamp(secret.created_at),
        modified=timestamp(secret.modified_at),
    ).model_dump()


def provider_object(provider: SecretProvider) -> dict[str, Any]:
    """Return a provider as clients know it."""
    return ProviderObject(
        id=provider.provider_id,
        name=provider.name,
        description=provider.description,
        moduleName=provider.module_name,
        factoryClassName=provider.factory_class_name,
        interfaceVersion=provider.interface_version,
        isEnabled=provider.is_enabled,
        isDefault=provider.is_default,
        created=timestamp(provider.created_at),
        modified=timestamp(provider.modified_at),
    ).model_dump()


def _wanted(body: SecretBody) -> WantedSecret:
    return WantedSecret(
        short_name=body.short_name,
        description=body.description,
        secret_key=body.secret_key,
        owner_type=body.owner_type,
        owner_id=body.owner_id,
        provider_id=body.provider_id,
        value=body.secret_value,
    )


def _provider(body: ProviderBody) -> WantedProvider:
    return WantedProvider(
        name=body.name,
        description=body.description,
        module_name=body.moduleName,
        factory_class_name=body.factoryClassName,
        interface_version=body.interfaceVersion,
        is_enabled=body.isEnabled,
        is_default=body.isDefault,
        configuration=body.configuration,
    )


def _body_or_malformed(shape: type[M]) -> Any:
    """Return what reads a body as `body_of` does, with the code that this family of routes has."""
    read: Callable[[Request], Awaitable[M]] = body_of(shape).dependency

    async def read_or_refuse(request: Request) -> M:
        try:
            return await read(request)
        except (InvalidInput, InvalidRequest, MalformedJson) as error:
            raise SecretRequestMalformed(error.message) from error

    return Depends(described_body(read_or_refuse, shape))
