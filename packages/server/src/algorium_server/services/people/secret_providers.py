"""
Secret providers: which there are, and administrators who decide that.

Source: wire specification, "Secret store".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from algorium_server.domain.access import Refused
from algorium_server.domain.administration import Action, may_administer
from algorium_server.domain.audit import AuditAction, changed_names
from algorium_server.domain.errors import (
    InvalidInput,
    NotAuthorized,
    SecretNotDeleted,
    SecretProviderDisabled,
    SecretProviderIsDefault,
    SecretProviderNotDefault,
    SecretProviderNotFound,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import SECRET_PROVIDERS_MAX
from algorium_server.domain.secrets import (
    SecretProvider,
    check_configuration,
    check_not_internal,
    check_provider_text,
    kind_of,
)
from algorium_server.services.auditing import record
from algorium_server.services.people.secret_delivery import SlotRenewals
from algorium_server.services.people.secret_stores import SecretStores
from algorium_server.store import secrets as rows
from algorium_server.store.database import AsyncConnection, Database


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedProvider:
    """
    What an administrator says of a provider.

    Attributes:
        configuration: How it is reached; None leaves that as it is.
    """

    name: str
    description: str
    module_name: str
    factory_class_name: str
    interface_version: str
    is_enabled: bool
    is_default: bool
    configuration: Mapping[str, str] | None = field(default=None, repr=False)


class SecretProviders:
    """
    Use cases of secret providers.

    All but `listed` raise `NotAuthorized`: those that return providers, if the caller may not see
    the installation, the others if it is no administrator.

    Args:
        database: Where they are.
        stores: Opens them.
        renewals: Has slots replaced whose secrets they keep.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        database: Database,
        stores: SecretStores,
        renewals: SlotRenewals,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._stores = stores
        self._renewals = renewals
        self._clock = clock

    async def listed(self) -> list[SecretProvider]:
        """Return all providers, the default one first: clients take that."""
        async with self._database.reading() as connection:
            return await rows.providers(connection)

    async def providers(self, principal: Principal) -> list[SecretProvider]:
        """Return the same to those who may see the installation."""
        _check(principal, Action.SEE_ALL)
        return await self.listed()

    async def provider(self, principal: Principal, provider_id: str) -> SecretProvider:
        """
        Return a provider.

        Raises:
            SecretProviderNotFound: There is none.
        """
        _check(principal, Action.SEE_ALL)
        async with self._database.reading() as connection:
            return await _found(connection, provider_id)

    async def to_change(self, principal: Principal, provider_id: str) -> SecretProvider:
        """Return a provider to somebody who may change it; raises as `provider`."""
        _check(principal, Action.DECIDE)
        return await self.provider(principal, provider_id)

    async def create(self, principal: Principal, wanted: WantedProvider) -> SecretProvider:
        """
        Add a provider, if it answers; one that is disabled is not asked.

        Raises:
            InvalidInput: Something about it is wrong, or it may not be reached.
            SecretProviderFailed: It does not answer as it should.
            SecretProviderDisabled: It is to be the default, and disabled.
        """
        _check(principal, Action.DECIDE)
        if wanted.configuration is None:
            raise InvalidInput("configuration is missing")
        now = self._clock()
        provider = self._described(wanted, str(uuid4()), created_at=now)
        if provider.is_enabled:
            await self._stores.try_out(provider)
        async with self._database.transaction() as connection:
            await rows.take_turn(connection)
            if len(await rows.providers(connection)) >= SECRET_PROVIDERS_MAX:
                raise InvalidInput(f"there can be {SECRET_PROVIDERS_MAX} secret providers")
            await rows.put_provider(connection, provider)
            await _record(connection, principal, AuditAction.SECRET_PROVIDER_CREATED, provider)
        return provider

    async def replace(
        self, principal: Principal, provider_id: str, wanted: WantedProvider
    ) -> SecretProvider:
        """
        Replace what is said of a provider; slots that have secrets of it are replaced, too.

        Raises:
            SecretProviderNotFound: There is none.
            SecretProviderFixed: It is the internal one.
            InvalidInput: Something about it is wrong, or it may not be reached.
            SecretProviderFailed: It does not answer as it should.
            SecretProviderNotDefault: The default one stays it, and enabled, until another one is.
        """
        old = await self.to_change(principal, provider_id)
        check_not_internal(old)
        new = self._described(wanted, old.provider_id, created_at=old.created_at, old=old)
        if new.is_enabled:
            await self._stores.try_out(new)
        async with self._database.transaction() as connection:
            await rows.take_turn(connection)
            now = await _found(connection, new.provider_id)
            if now.is_default and not (new.is_default and new.is_enabled):
                raise SecretProviderNotDefault(
                    "this is the default provider: make another one the default first"
                )
            users = await rows.owners_of_secrets(connection, provider_id=new.provider_id)
            await rows.renew_slots(connection, users)
            await rows.put_provider(connection, new)
            # What is in its seal is new each time; of that only whoever gave it knows.
            unsealed = replace(now, sealed=new.sealed, revision=new.revision)
            changed = changed_names(unsealed, replace(new, modified_at=now.modified_at))
            if wanted.configuration is not None:
                changed = ", ".join(filter(None, (changed, "configuration")))
            action = AuditAction.SECRET_PROVIDER_CHANGED
            await _record(connection, principal, action, new, changed=changed)
        await self._renewals.settle()
        return new

    async def make_default(self, principal: Principal, provider_id: str) -> None:
        """
        Make a provider the one for secrets that name none.

        Raises:
            SecretProviderNotFound: There is none.
            SecretProviderDisabled: It is disabled.
        """
        _check(principal, Action.DECIDE)
        async with self._database.transaction() as connection:
            await rows.take_turn(connection)
            provider = await _found(connection, provider_id)
            if not provider.is_enabled:
                raise SecretProviderDisabled(f"the secret provider {provider.name!r} is disabled")
            await rows.set_default_provider(connection, provider.provider_id)
            action = AuditAction.SECRET_PROVIDER_CHANGED
            await _record(connection, principal, action, provider, changed="is_default")

    async def delete(self, principal: Principal, provider_id: str) -> None:
        """
        Delete a provider; nothing changes in what it keeps.

        Raises:
            SecretProviderNotFound: There is none.
            SecretProviderIsDefault: Another one must be the default first.
            SecretNotDeleted: It is the internal one, or keeps secrets.
        """
        _check(principal, Action.DECIDE)
        async with self._database.transaction() as connection:
            await rows.take_turn(connection)
            provider = await _found(connection, provider_id)
            if provider.is_default:
                raise SecretProviderIsDefault(
                    "this is the default provider: make another one the default first"
                )
            if provider.is_internal:
                raise SecretNotDeleted("the internal secret provider stays")
            await rows.remove_provider(connection, provider.provider_id)
            await _record(connection, principal, AuditAction.SECRET_PROVIDER_DELETED, provider)
        await self._stores.leave(provider.provider_id)

    def _described(
        self,
        wanted: WantedProvider,
        provider_id: str,
        *,
        created_at: datetime,
        old: SecretProvider | None = None,
    ) -> SecretProvider:
        kind = kind_of(wanted.factory_class_name)
        if kind is None:
            raise InvalidInput(
                "factoryClassName names none of the providers there are: HashiCorp Vault (with "
                "Vault in the name), Azure Key Vault (with Azure or KeyVault in it)"
            )
        if wanted.configuration is not None:
            given = check_configuration(kind, wanted.configuration)
            sealed = self._stores.sealed_configuration(provider_id, given)
        else:
            if old is None or old.kind is not kind:
                raise InvalidInput("configuration is needed for another kind of provider")
            sealed = old.sealed
        if wanted.is_default and not wanted.is_enabled:
            raise SecretProviderDisabled("a disabled provider cannot be the default")
        return SecretProvider(
            provider_id=provider_id,
            name=check_provider_text(wanted.name, "name"),
            description=check_provider_text(wanted.description, "description"),
            module_name=check_provider_text(wanted.module_name, "moduleName"),
            factory_class_name=check_provider_text(wanted.factory_class_name, "factoryClassName"),
            interface_version=check_provider_text(wanted.interface_version, "interfaceVersion"),
            is_enabled=wanted.is_enabled,
            is_default=wanted.is_default,
            sealed=sealed,
            revision=str(uuid4()),
            created_at=created_at,
            modified_at=self._clock(),
        )


async def _record(
    connection: AsyncConnection,
    principal: Principal,
    action: AuditAction,
    provider: SecretProvider,
    **detail: str,
) -> None:
    target = f"secret_provider:{provider.name}"
    detail["id"] = provider.provider_id
    await record(connection, principal, action, target, detail=detail)


def _check(principal: Principal, action: Action) -> None:
    verdict = may_administer(principal, action)
    if isinstance(verdict, Refused):
        raise NotAuthorized(detail=verdict.reason)


async def _found(connection: AsyncConnection, provider_id: str) -> SecretProvider:
    provider = await rows.provider(connection, provider_id.lower())
    if provider is None:
        raise SecretProviderNotFound(f"there is no secret provider {provider_id[:80]!r}")
    return provider
